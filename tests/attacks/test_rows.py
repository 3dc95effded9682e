"""Rows of strangers: whatever they hold, memory is bounded, no link is followed, and no name becomes data."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedbed.sources.files import open_source
from seedbed.sources.forms import Misfit, understand
from seedbed.yamlfile import BadInput
from tests.test_run import ROOT

BOUNDED = """
import resource, sys
from pathlib import Path
from seedbed.sources.files import open_source
resource.setrlimit(resource.RLIMIT_AS, (500 << 20, 500 << 20))
rows = problems = 0
for raw in open_source(sys.argv[1], Path(".")).rows():
    rows, problems = rows + 1, problems + bool(raw.problem)
print(rows, problems)
"""


@pytest.mark.parametrize("folder", ["prompt=evil", "answer=evil/question=evil", "a*[b]", "~"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_no_name_of_a_folder_becomes_a_column(tmp_path, folder, name):
    path = tmp_path / "data" / folder / name
    path.parent.mkdir(parents=True)
    row = {"prompt": "one", "response": "1st"}
    content = {".jsonl": orjson.dumps(row), ".csv": b"prompt,response\none,1st\n"}
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        path.write_bytes(content[path.suffix])
    for spec in ("data", f"data/{folder}", f"data/{folder}/{name}"):
        [raw] = open_source(spec, tmp_path).rows()
        assert raw.row == row and raw.file == f"data/{folder}/{name}"


def test_no_link_that_leads_out_is_read(tmp_path):
    (tmp_path / "key.jsonl").write_text('{"question": "secret"}\n')
    data = tmp_path / "data"
    data.mkdir()
    (data / "fine.jsonl").write_text("{}\n")
    (data / "link.jsonl").symlink_to("../key.jsonl")
    for spec in ("link.jsonl", "*.jsonl", "."):
        with pytest.raises(BadInput, match=r"a link that leads out of .*, and such links are not followed"):
            open_source(spec, data)
    (data / "up").symlink_to("..")
    with pytest.raises(BadInput, match="a link that leads out"):
        open_source("up", data)


def test_what_never_ends_is_no_file_of_rows(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    (tmp_path / "b.csv").symlink_to("/dev/zero")
    for name in ("a.jsonl", "b.csv"):
        with pytest.raises(BadInput):
            open_source(name, tmp_path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "b.json"])
@pytest.mark.parametrize("depth", [200, 1_000, 100_000])
def test_a_row_that_is_nested_without_end_is_told_and_the_next_is_read(tmp_path, name, depth):
    deep = b'{"question": "a", "answer": "b", "x": ' + b"[" * depth + b"]" * depth + b"}"
    rows = [b'{"question": "first"}', deep, b'{"question": "last"}']
    content = b"[" + b",".join(rows) + b"]" if name == "b.json" else b"\n".join(rows)
    (tmp_path / name).write_bytes(content)
    first, odd, *last = open_source(name, tmp_path).rows()
    assert first.row == {"question": "first"}
    assert name == "b.json" or last[0].row == {"question": "last"}
    if not odd.problem:
        with pytest.raises(Misfit, match="nested more than 100 deep"):
            understand(odd.row)


BOMBS = {
    "one line": (b"", b"x" * (1 << 20)),
    "a quote that is not closed": (b'q\n"', b"x" * (1 << 20)),
    "a quote over many lines": (b'q\n"', b"x\n" * (1 << 19)),
    "cells over many lines": (b"q\n", b'"\n",' * (1 << 18)),
}


@pytest.mark.parametrize(("head", "block"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_takes_no_more_memory_than_a_row_may(tmp_path, head, block):
    """600 MiB in a few; the process may have 500."""
    path = tmp_path / ("a.csv.gz" if head else "a.jsonl.gz")
    with gzip.open(path, "wb", 1) as file:
        file.write(head)
        for _ in range(600):
            file.write(block)
    command = [sys.executable, "-c", BOUNDED, path.name]
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=given)
    assert done.returncode == 0, done.stderr
    rows, problems = map(int, done.stdout.split())
    assert 1 <= problems <= rows
