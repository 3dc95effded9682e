"""Rows that users have already: taken in as they are, weeded, judged, frozen, in one run with what is grown."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from benchmarks.mock_server import running
from flows import crew
from flows.run import read
from tests.answering import answering, grown
from tests.asked import sql
from tests.test_run import facts, recipe, seedbed, start

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
NO_MODEL = {"engine": "http", "base_url": "http://127.0.0.1:9/v1", "model": "asked-nothing"}  # nobody listens there


def chat(n: int, answer: str = "", **more: object) -> dict[str, object]:
    turns = [
        {"role": "user", "content": f"Why is the number {n} so well liked by people?"},
        {"role": "assistant", "content": answer or f"Because {n} is easy to say, to draw and to remember."},
    ]
    return {"messages": turns, "topic": f"numbers/{n % 3}", **more}


def write(folder: Path, rows: list[dict[str, object]], name: str = "chats.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def own(folder: Path, curate: list[object], name: str = "own", **options: object) -> Path:
    """A recipe that takes in rows and asks no model."""
    step = {"rows": {"from": "chats.jsonl", "leaf": "topic", **options}}
    told = {"name": name, "model": NO_MODEL, "generate": [step], "curate": curate}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(told))
    return path


def exported(home: Path, name: str, path: Path) -> bytes:
    done = seedbed("export", name, path, "--split", "all", home=home)
    assert done.returncode == 0, done.stderr
    return path.read_bytes()


def test_rows_are_taken_in_without_a_model_and_each_that_does_not_fit_is_named(tmp_path):
    rows = [chat(n) for n in range(20)]
    rows[5] = {"messages": rows[5]["messages"][:1], "topic": "numbers/2"}  # type: ignore[index]  # a chat
    write(tmp_path, rows)
    with (tmp_path / "chats.jsonl").open("a") as file:
        file.write('{"messages": [\n')
    home = tmp_path / "home"
    found = facts("run", own(tmp_path, ["exact_duplicates", "rules"]), home=home)
    assert found["status"] == "done" and found["run"]["calls"] == 0
    assert {name: found["run"][name] for name in ("made", "kept", "dropped", "failed", "pending")} == {
        "made": 21,
        "kept": 19,
        "dropped": 0,
        "failed": 2,
        "pending": 0,
    }
    failed = sql("SELECT reason, error FROM samples WHERE status = 'failed' ORDER BY position", home)
    assert [row["reason"] for row in failed] == ["does not fit: no answer", "does not fit: it cannot be read"]
    assert "chats.jsonl, line 6" in failed[0]["error"] and "chats.jsonl, line 21" in failed[1]["error"]
    leaves = sql("SELECT leaf, count(*) AS n FROM samples WHERE status = 'kept' GROUP BY leaf ORDER BY leaf", home)
    assert [(row["leaf"], row["n"]) for row in leaves] == [("numbers/0", 7), ("numbers/1", 7), ("numbers/2", 5)]
    again = facts("run", tmp_path / "own.yaml", home=home)
    assert again["run"]["made"] == 21 and sql("SELECT count(*) AS n FROM versions", home) == [{"n": 1}]


def test_the_same_prompt_with_another_answer_is_no_duplicate_unless_the_recipe_says_so(tmp_path):
    same = chat(1, "  BECAUSE 1 is easy to say, to draw\n and to remember. ")
    write(tmp_path, [chat(1), chat(1, "It is the first of them all, and the least."), same])
    home = tmp_path / "home"
    assert facts("run", own(tmp_path, ["exact_duplicates"]), home=home)["run"]["kept"] == 2
    by_prompt = own(tmp_path, [{"exact_duplicates": {"by": "prompt"}}], "prompts")
    assert facts("run", by_prompt, home=home)["run"]["kept"] == 1


def test_another_recipe_on_the_same_rows_keeps_them_unless_it_is_to_look_across(tmp_path):
    write(tmp_path, [chat(n) for n in range(4)])
    home = tmp_path / "home"
    assert facts("run", own(tmp_path, ["exact_duplicates"]), home=home)["run"]["kept"] == 4
    assert facts("run", own(tmp_path, ["exact_duplicates"], "renamed"), home=home)["run"]["kept"] == 4
    write(tmp_path, [chat(n) for n in range(6)])
    across = own(tmp_path, [{"exact_duplicates": {"across": True}}], "across")
    assert facts("run", across, home=home)["run"]["kept"] == 2


def test_many_processes_make_the_rows_that_one_makes(tmp_path, monkeypatch):
    rows = [chat(n % 300, "" if n % 7 else "I'm sorry, but I can't assist with that request.") for n in range(1000)]
    write(tmp_path, rows)
    path, columns = own(tmp_path, ["exact_duplicates", "rules"]), "position, sample_id, status, step, reason, row_key"
    homes = []
    for worth in (10**9, 1):
        monkeypatch.setattr(crew, "WORTH_IT", worth)
        homes.append(tmp_path / f"home{worth}")
        outcome = grown(path, homes[-1])
        assert outcome.status == "done"
    one, many = (sql(f"SELECT {columns} FROM base.samples ORDER BY position", home) for home in homes)
    assert one == many and len(one) == 1000
    said = "SELECT sample_id, step, keep, reason FROM base.verdicts ORDER BY sample_id, rowid"
    assert sql(said, homes[0]) == sql(said, homes[1])


def test_a_run_that_is_killed_amid_a_source_goes_on_and_exports_the_same(tmp_path, monkeypatch):
    write(tmp_path, [chat(n) for n in range(60_000)])
    path, home, calm = own(tmp_path, ["exact_duplicates", "rules"]), tmp_path / "home", tmp_path / "calm"
    process = start("run", path, home=home)
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.3)
        if (home / "seedbed.duckdb").exists() and sql("SELECT count(*) AS n FROM base.samples", home)[0]["n"]:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert seedbed("run", path, home=home).returncode == 0
    assert seedbed("run", path, home=calm).returncode == 0
    assert sql("SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM samples", home) == [
        {"n": 60_000, "ids": 60_000}
    ]
    assert exported(home, "own", tmp_path / "a.jsonl") == exported(calm, "own", tmp_path / "b.jsonl")


def test_judges_see_the_whole_conversation(tmp_path):
    turns = [
        {"role": "system", "content": "Speak as a sailor."},
        {"role": "user", "content": "What is a knot?"},
        {"role": "assistant", "content": "A mile of the sea in an hour, matey."},
        {"role": "user", "content": "And a fathom?"},
        {"role": "assistant", "content": "Six feet of water under your keel, and no less."},
    ]
    write(tmp_path, [{"messages": turns, "topic": "sea"}])
    with answering() as server:
        path = own(tmp_path, ["rules", "critique"])
        told = yaml.safe_load(path.read_text())
        told["model"] = {"engine": "http", "base_url": server.base_url, "model": "m"}
        path.write_text(yaml.safe_dump(told))
        outcome = grown(path, tmp_path / "home")
        assert outcome.status == "done" and outcome.progress.kept == 1
    calls = sql("SELECT prompt FROM calls", tmp_path / "home")
    assert calls and all(
        "Speak as a sailor." in row["prompt"] and "A mile of the sea" in row["prompt"] for row in calls
    )


@pytest.mark.skipif(not SHARED.exists(), reason="the real data are beside a checkout of ours only")
def test_a_taxonomy_documents_and_rows_go_into_one_run_one_coverage_and_one_version(tmp_path):
    write(tmp_path, [chat(n) for n in range(5)])
    (tmp_path / "phoenix.md").write_text((SHARED / "documents" / "phoenix.md").read_text())
    home = tmp_path / "home"
    steps = [
        {"skills": {"per_leaf": 1}},
        {"knowledge": {"per_leaf": 1}},
        {"knowledge": {"documents": "*.md", "per_leaf": 2}},
        {"rows": {"from": "chats.jsonl", "leaf": "topic"}},
    ]
    with running() as base_url:
        path = recipe(tmp_path, base_url, generate=steps, curate=["exact_duplicates", {"coverage": {"attempts": 3}}])
        told = yaml.safe_load(path.read_text())
        told["taxonomy"] = str(SHARED / "instructlab_taxonomy")
        path.write_text(yaml.safe_dump(told))
        assert len([leaf for leaf in read(path).leaves if leaf.kind in ("skill", "knowledge")]) == 17
        done = seedbed("run", path, home=home)
    assert done.returncode == 0, done.stderr
    kept = sql("SELECT method, count(DISTINCT leaf) AS leaves FROM samples WHERE status = 'kept' GROUP BY method", home)
    assert {row["method"] for row in kept} >= {"skills", "knowledge-2", "rows"}
    covered = {row["leaf"] for row in sql("SELECT leaf FROM coverage", home)}
    assert {"documents/phoenix.md", "numbers/0", "numbers/1", "numbers/2"} <= covered and len(covered) == 16 + 1 + 3
    [version] = sql("SELECT samples FROM versions", home)
    assert version["samples"] == sql("SELECT count(*) AS n FROM samples WHERE status = 'kept'", home)[0]["n"]


def test_check_reads_everything_and_says_what_does_not_fit_without_a_store(tmp_path):
    write(tmp_path, [*(chat(n) for n in range(3)), {"text": "nothing known"}])
    path = own(tmp_path, [])
    done = seedbed("check", path, "--json", home=tmp_path / "home")
    [source] = json.loads(done.stdout)["sources"]
    assert done.returncode == 0 and (source["rows"], source["fit"]) == (4, 3)
    [odd] = source["misfits"]
    assert odd["rows"] == 1 and odd["first"][0]["line"] == 4 and "text" in odd["first"][0]["what"]
    assert not (tmp_path / "home").exists()
    write(tmp_path, [{"text": "nothing known"}])
    assert seedbed("check", path, home=tmp_path / "home").returncode == 1


def test_a_preview_shows_ten_rows_as_they_were_understood(tmp_path):
    write(tmp_path, [chat(n) for n in range(30)])
    found = facts("preview", own(tmp_path, ["rules"]), home=tmp_path / "home")
    assert [row["line"] for row in found["understood"]] == list(range(1, 11))
    assert found["understood"][0]["turns"][0]["text"] == "Why is the number 0 so well liked by people?"
    assert len(found["samples"]) == 4


def test_a_source_that_is_not_there_is_a_plain_error(tmp_path):
    done = seedbed("run", own(tmp_path, []), home=tmp_path / "home")
    assert done.returncode == 2 and "chats.jsonl" in done.stderr and "there is no such file" in done.stderr


def test_a_pair_whose_worse_answer_is_a_call_of_a_tool_goes_from_file_to_version(tmp_path):
    call = {"type": "function", "function": {"name": "bus", "arguments": {}}}
    pair = {
        "prompt": [{"role": "user", "content": "When does the next bus leave?"}],
        "chosen": [{"role": "assistant", "content": "At ten past nine, from the station."}],
        "rejected": [{"role": "assistant", "content": "", "tool_calls": [call]}],
        "topic": "town",
    }
    write(tmp_path, [pair])
    home = tmp_path / "home"
    facts("run", own(tmp_path, ["exact_duplicates", "rules"]), home=home)
    assert sql("SELECT samples FROM versions", home) == [{"samples": 1}]
    [row] = [json.loads(line) for line in exported(home, "own", tmp_path / "out.jsonl").splitlines()]
    assert row["rejected"][0]["tool_calls"][0]["function"]["name"] == "bus"


def test_what_is_there_to_be_wrong_is_not_dropped_for_being_wrong(tmp_path):
    refusal = "I'm sorry, but I can't assist with that request."
    corrected: dict[str, object] = {
        "question": "Why?",
        "answer": refusal,
        "corrected": "Because it rains there.",
        "topic": "a",
    }
    labelled: dict[str, object] = {"prompt": "Why not?", "completion": refusal, "label": False, "topic": "a"}
    praised = {**labelled, "prompt": "Why then?", "label": True}
    write(tmp_path, [corrected, labelled, praised])
    home = tmp_path / "home"
    facts("run", own(tmp_path, ["rules"]), home=home)
    states = sql("SELECT kind, label, status FROM samples ORDER BY position", home)
    assert [(row["kind"], row["label"], row["status"]) for row in states] == [
        ("correction", None, "kept"),
        ("labelled", False, "kept"),
        ("labelled", True, "dropped"),
    ]


def test_one_file_may_be_read_twice_in_two_ways(tmp_path):
    write(tmp_path, [{"a": "What is a fathom?", "b": "Six feet of water."}])
    steps = [
        {"rows": {"from": "chats.jsonl", "columns": {"question": "a", "answer": "b"}}},
        {"rows": {"from": "chats.jsonl", "columns": {"question": "b", "answer": "a"}}},
    ]
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump({"name": "both", "model": NO_MODEL, "generate": steps}))
    assert facts("run", path, home=tmp_path / "home")["run"]["kept"] == 2
    questions = {row["question"] for row in sql("SELECT question FROM samples", tmp_path / "home")}
    assert questions == {"What is a fathom?", "Six feet of water."}


def test_a_parquet_file_that_is_damaged_amid_its_rows_gives_those_before_and_names_the_others(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"question": f"Why {n}?", "answer": f"Because of {n}."} for n in range(3000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=1000, compression="zstd")
    whole = bytearray((tmp_path / "rows.parquet").read_bytes())
    middle = pq.read_metadata(tmp_path / "rows.parquet").row_group(1).column(0).data_page_offset
    whole[middle + 20 : middle + 400] = b"\xff" * 380
    (tmp_path / "rows.parquet").write_bytes(whole)
    path = tmp_path / "damaged.yaml"
    step = {"rows": {"from": "rows.parquet"}}
    path.write_text(yaml.safe_dump({"name": "damaged", "model": NO_MODEL, "generate": [step]}))
    found = facts("run", path, home=tmp_path / "home")
    assert found["run"]["made"] == 3000 and found["run"]["kept"] == 1000 and found["run"]["failed"] == 2000
