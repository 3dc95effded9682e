"""Decontamination: what a benchmark has is found however it is dressed up, and nothing else is."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from pydantic import ValidationError

from benchmarks.mock_server import running
from curators.decontaminate import Decontaminate, decontaminate
from flows.methods import methods
from flows.run import read
from seedbed.engines import Engines
from seedbed.recipe import recipe_schema
from seedbed.records import Content, Sample
from seedbed.store import Store
from seedbed.taxonomy import read_taxonomy
from seedbed.yamlfile import BadInput
from tests.scripted import Scripted
from tests.test_run import facts, recipe

REAL = Path(__file__).parents[2] / "shared" / "data"
needs_benchmarks = pytest.mark.skipif(
    not (REAL / "benchmarks").is_dir(), reason="needs the real benchmarks in ../shared/data beside the checkout"
)
DUCKS = (
    "Janet's ducks lay sixteen eggs per day. She eats three for breakfast every morning, and bakes muffins for her "
    "friends every day with four."
)
SHORT = "Name the three longest rivers of South America."


def options(folder: Path, **benchmarks: str) -> Decontaminate:
    for name, text in benchmarks.items():
        (folder / f"{name}.jsonl").write_text(json.dumps({"id": 1, "turns": [{"content": text}]}) + "\n")
    return Decontaminate.model_validate({"against": ["*.jsonl"]}, context={"folder": folder})


def judged(options: Decontaminate, **texts: str):
    content = Content(**{"question": "What is new?", "answer": "Nothing.", **texts}, rest=None)
    sample = Sample(sample_id="a", kind="instruction", method="skills", leaf="a", ordinal=0, attempt=0, content=content)
    engine = Scripted()
    verdict = asyncio.run(decontaminate(sample, Engines(engine, engine), options))
    assert engine.calls == [], "no model is asked"
    return verdict


@pytest.mark.parametrize(
    "text",
    [
        DUCKS,
        DUCKS.upper().replace(" ", "\n  ").replace(",", ""),
        DUCKS.replace("'", "\u2019").replace(".", "!"),
        DUCKS.replace("sixteen", "seventeen"),
        f"Solve this for me, step by step, please: {DUCKS} Now tell me how many are left over.",
    ],
    ids=["verbatim", "case, space and punctuation", "other signs", "one word changed", "inside other text"],
)
@pytest.mark.parametrize("where", ["question", "answer", "context", "rejected"])
def test_a_planted_passage_is_found_wherever_it_stands(tmp_path, text, where):
    verdict = judged(options(tmp_path, ducks=DUCKS, other=SHORT), **{where: text})
    assert not verdict.keep and verdict.reason == "shares a passage with ducks.jsonl"
    assert "she eats three for breakfast every morning and bakes muffins for her friends" in verdict.transcript


def test_thirteen_words_in_a_row_count_and_twelve_do_not(tmp_path):
    words, known = DUCKS.split(), options(tmp_path, ducks=DUCKS)
    assert judged(known, answer=" ".join(words[3:15])).keep
    verdict = judged(known, answer=" ".join(words[3:16]) + " and nothing more")
    assert not verdict.keep and len(verdict.transcript.split()) == 13


def test_a_shorter_text_of_a_benchmark_counts_as_a_whole(tmp_path):
    (tmp_path / "rivers.txt").write_text(f"{SHORT}\nName three long rivers, please.\n")
    known = Decontaminate.model_validate({"against": ["*.txt"]}, context={"folder": tmp_path})
    assert not judged(known, question=f"Hello! {SHORT} Thank you.").keep
    assert judged(known, question="Name the three longest rivers of North America.").keep
    assert judged(known, question="Name three long rivers, please.").keep, "five words are too few to tell"


def test_every_kind_of_file_is_read_with_all_its_texts(tmp_path):
    rows = [{"number": 1, "note": "x", "deep": {"turns": ["a b", DUCKS]}}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(rows[0]).encode()))
    (tmp_path / "c.csv").write_text(f'number,question\n1,"{DUCKS}"\n')
    (tmp_path / "d.txt").write_text(f"a line\n{DUCKS}\n")
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    for name in ("a.json", "b.jsonl.gz", "c.csv", "d.txt", "e.parquet"):
        known = Decontaminate.model_validate({"against": [name]}, context={"folder": tmp_path})
        assert judged(known, answer=DUCKS).reason == f"shares a passage with {name}"


def test_a_benchmarks_own_scaffold_and_rows_of_zeros_are_no_passage(tmp_path):
    head = "You are given a question with four options, choose the right one and give its letter only:"
    lines = [json.dumps({"q": f"{head} question number {n} of this set about birds"}) for n in range(20)]
    (tmp_path / "scaffold.jsonl").write_text("\n".join([*lines, json.dumps({"q": "0 " * 40})]))
    known = options(tmp_path, ducks=DUCKS)
    assert judged(known, question=f"{head} what is a bird?", answer="0 " * 30).keep
    assert not judged(known, question=f"{head} question number 7 of this set about birds").keep


def test_chinese_counts_by_its_characters(tmp_path):
    text = "请用三句话说明为什么天空在白天是蓝色的而在傍晚变成红色"
    known = options(tmp_path, sky=text)
    assert not judged(known, question=f"老师说{text[3:20]}吗").keep
    assert judged(known, question=f"老师说{text[3:12]}吗").keep


@pytest.mark.parametrize(
    ("content", "against", "said"),
    [
        ("{", ["a.jsonl"], "a.jsonl cannot be read"),
        ('{"a": "too short"}', ["a.jsonl"], "has no text of 8 words"),
        ("{}", ["none.jsonl"], "no file matches 'none.jsonl'"),
        ("{}", "a.jsonl", "this is no list of files"),
        ("{}", [], "at least 1 item"),
        ("{}", ["a.xlsx"], "a.xlsx is no file of texts that is known.*.jsonl"),
    ],
)
def test_a_benchmark_that_cannot_be_used_is_told_before_anything_starts(tmp_path, content, against, said):
    for name in ("a.jsonl", "a.xlsx"):
        (tmp_path / name).write_text(content)
    with pytest.raises(ValidationError, match=said):
        Decontaminate.model_validate({"against": against}, context={"folder": tmp_path})
    path = recipe(tmp_path, "http://127.0.0.1:9/v1", curate=[{"decontaminate": {"against": against}}])
    with pytest.raises(BadInput, match=said) as told:
        read(path)
    assert re.match(r"\S+recipe.yaml:\d+: ", str(told.value))


def test_a_recipe_says_which_files_by_name_and_content_and_not_where_they_are(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    one, other = options(tmp_path / "here", ducks=DUCKS), options(tmp_path / "there", ducks=DUCKS)
    assert one.model_dump() == other.model_dump() and str(tmp_path) not in one.model_dump_json()
    changed = options(tmp_path / "there", ducks=f"{DUCKS} More.")
    assert changed.model_dump() != one.model_dump()


def test_a_run_drops_what_a_benchmark_has_and_keeps_the_passage(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, curate=["rules"]), home=home)
        [asked] = Store(home).rows("SELECT question FROM samples WHERE status = 'kept' LIMIT 1")
        (tmp_path / "test_set.txt").write_text(str(asked["question"]) + "\n")
        path = recipe(tmp_path, base_url, curate=["rules", {"decontaminate": {"against": ["*.txt"]}}])
        found = facts("run", path, home=home)
    [dropped] = Store(home).rows("SELECT * FROM verdicts WHERE step = 'decontaminate' AND NOT keep")
    assert dropped["reason"] == "shares a passage with test_set.txt" and len(str(dropped["transcript"]).split()) >= 13
    assert {row["step"] for row in found["funnel"]} >= {"rules", "decontaminate"}


@needs_benchmarks
def test_real_benchmarks_are_found_and_the_seeds_of_instructlab_are_not():
    known = Decontaminate.model_validate({"against": [str(REAL / "benchmarks" / "*")]})
    gsm8k = [json.loads(line) for line in (REAL / "benchmarks" / "gsm8k_test.jsonl").open()]
    with gzip.open(REAL / "benchmarks" / "HumanEval.jsonl.gz") as file:
        human_eval = [json.loads(line) for line in file]
    planted = {row["question"]: "gsm8k_test.jsonl" for row in gsm8k[::20]}
    planted |= {row["prompt"]: "HumanEval.jsonl.gz" for row in human_eval[::10]}
    found = {text: judged(known, question=f"Please: {text.upper()} Thanks").reason for text in planted}
    assert found == {text: f"shares a passage with {name}" for text, name in planted.items()}
    seeds = [seed for leaf in read_taxonomy(REAL / "instructlab_taxonomy") for seed in leaf.seeds]
    assert len(seeds) > 80
    for seed in seeds:
        assert judged(known, question=seed.question, answer=seed.answer, context=seed.context).keep


@needs_benchmarks
def test_edited_questions_of_gsm8k_are_found_and_written_anew_they_are_not():
    known = Decontaminate.model_validate({"against": [str(REAL / "benchmarks" / "gsm8k_test.jsonl")]})
    gsm8k = [json.loads(line)["question"] for line in (REAL / "benchmarks" / "gsm8k_test.jsonl").open()]
    long = [text.split() for text in gsm8k if len(text.split()) >= 40][::25]
    edited = [" ".join(["Suppose", *words[1:20], "roughly", *words[21:]]) for words in long]
    assert not any(judged(known, question=text).keep for text in edited)
    anew = [" ".join(word for n, word in enumerate(words) if n % 7) for words in long]
    assert all(judged(known, question=text).keep for text in anew), "no thirteen words of it are left in a row"


def test_the_schema_asks_for_file_names():
    known = methods()
    schema = recipe_schema(known.generator_options(), known.curator_options())
    against = schema["$defs"]["Decontaminate"]["properties"]["against"]
    assert against["items"] == {"type": "string"} and "recipe's folder" in against["description"]
