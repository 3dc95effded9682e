"""Whatever a folder is called, a file in it is read as it is: no name of a folder says anything of the rows."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedbed.engines import EngineError
from seedbed.journal import lease
from seedbed.ledger import Ledger
from seedbed.recorded import Recorded
from seedbed.request_file import read_requests
from seedbed.store import Store, StoreError
from tests.test_ledger import ASK, Counting, talk
from trainer.rows import COLUMNS, read_rows

FOLDERS = [
    "lr=0.1",
    "response=none",
    "status=final/call_id=x",
    "prompt=a/b",
    "it's [1]*",
    "a{b,c}#%20",
    " é\n",
    "[",
    "~",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_calls_of_a_killed_run_come_back_as_they_were_from_a_home_of_any_name(tmp_path, folder):
    first, _ = talk(tmp_path / folder, Counting(), lambda e: e.chat(ASK, step="question"), close=False)
    again, tally = talk(tmp_path / folder, Counting(), lambda e: e.chat(ASK, step="question"), run="run2")
    assert again == first and tally.replayed == 1
    [row] = Store(tmp_path / folder).rows("SELECT call_id, response, status, prompt FROM calls")
    assert row == {
        "call_id": first.call_id,
        "response": first.text,
        "status": "ok",
        "prompt": orjson.dumps(ASK).decode(),
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_calls_that_a_run_commits_are_as_they_were_in_a_home_of_any_name(tmp_path, folder):
    first, _ = talk(tmp_path / folder, Counting(), lambda e: e.chat(ASK, step="question"))
    assert Store(tmp_path / folder).rows("SELECT response FROM calls") == [{"response": first.text}]


@pytest.mark.parametrize("home", [":memory:", "~", "~/x", "md:x", "s3:x", "file:x", "duckdb:x"])
def test_a_relative_home_is_where_its_name_says_and_nowhere_else(tmp_path, monkeypatch, home):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    Store(Path(home)).close()
    assert (tmp_path / home / "seedbed.duckdb").exists() and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("name", "what"),
    [("a\\b", "a backslash"), ("\\", "a backslash"), ("why?", "a question mark"), (b"\xff", "no UTF-8")],
)
def test_a_home_that_duckdb_cannot_use_is_refused_for_its_name_and_not_for_the_disk(tmp_path, name, what):
    home = tmp_path / os.fsdecode(name)
    with pytest.raises(StoreError, match=what) as refused:
        Store(home)
    assert "--home" in str(refused.value) and "disk" not in str(refused.value)
    assert not list(tmp_path.iterdir()), "nothing was made, here or elsewhere"


ROWS = [{"prompt": "one", "answer": "1st"}, {"prompt": "two", "answer": "2nd"}]


@pytest.mark.parametrize("folder", ["prompt=evil", "answer=evil", "model=evil/question=evil", "a*[b]"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_requests_are_those_of_the_file_whatever_its_folder_is_called(tmp_path, folder, suffix):
    path = tmp_path / folder / f"requests{suffix}"
    path.parent.mkdir(parents=True)
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        lines = [orjson.dumps(row) for row in ROWS]
        csv = b"prompt,answer\n" + b"".join(f"{row['prompt']},{row['answer']}\n".encode() for row in ROWS)
        path.write_bytes({".jsonl": b"\n".join(lines), ".json": orjson.dumps(ROWS), ".csv": csv}[suffix])
    found = read_requests(path)
    assert [(r.question, [(a.text, a.author) for a in r.answers]) for r in found] == [
        ("one", [("1st", "")]),
        ("two", [("2nd", "")]),
    ]


def test_rows_to_train_on_are_those_of_the_file_whatever_its_folder_is_called(tmp_path):
    path = tmp_path / "answer=evil" / "rows.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({name: [None if name == "rest" else "true"] for name in COLUMNS}), path)
    assert [row.content.answer for row in read_rows(path)] == ["true"]


def test_a_link_to_a_store_that_is_not_there_is_told_and_left(tmp_path):
    (tmp_path / "seedbed.duckdb").symlink_to(tmp_path / "unmounted" / "seedbed.duckdb")
    with pytest.raises(StoreError, match=r"leads to .*unmounted.* not there"):
        Store(tmp_path)
    assert (tmp_path / "seedbed.duckdb").is_symlink()


def test_a_call_of_any_size_that_can_be_recorded_is_read_again_and_one_that_cannot_fails_alone(tmp_path):
    """DuckDB reads no JSON object over 16 MiB unless it is told to; a prompt may hold long documents."""

    class Long(Counting):
        async def chat(self, messages, *_, **more):
            return (await super().chat(messages, **more))._replace(text="\x01" * 7 * 2**20)

    async def scene():
        with lease(tmp_path, "run1"):
            recorded = Recorded(Long(), Ledger(Store(tmp_path), "run1"), "run1", 4)
            long = await recorded.chat([{"role": "user", "content": '"' * 7 * 2**20}], step="q")
            with pytest.raises(EngineError, match="17 MiB, more than any model reads"):
                await recorded.chat([{"role": "user", "content": "x" * 17 * 2**20}], step="q")
            return long

    long = asyncio.run(scene())
    [again] = Store(tmp_path).rows("SELECT count(*) AS n FROM calls")
    talk(tmp_path, engine := Counting(), lambda e: e.chat(ASK, step="question"), run="run2")
    assert again == {"n": 0} and engine.calls == 1
    with duckdb.connect(str(tmp_path / "seedbed.duckdb")) as db:
        assert db.execute("SELECT length(response) FROM calls WHERE call_id = ?", [long.call_id]).fetchall() == [
            (7 * 2**20,)
        ]
