"""Rows of files: lazily, in order, each with its place; what cannot be read is told and does not end the reading."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedbed.sources.files import open_source
from seedbed.sources.raw import MOST_ROW
from seedbed.yamlfile import BadInput
from tests.fake_hub import FakeHub
from tests.test_push import environment

ROWS = [{"question": f"Why {n}?", "answer": f"Because {n}."} for n in range(5)]


def write(path, rows):
    """The rows as a file of the kind that its name says."""
    lines = [json.dumps(row) for row in rows]
    match path.name.removesuffix(".gz").rpartition(".")[2]:
        case "jsonl":
            content = "\n".join(lines).encode()
        case "json":
            content = f"[{','.join(lines)}]".encode()
        case "csv":
            cells = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
            content = "\n".join(cells).encode()
        case _:
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
            return path
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path, start=0):
    return list(open_source(path.name, path.parent).rows(start))


def refused(spec, folder):
    with pytest.raises(BadInput) as refusal:
        open_source(spec, folder)
    return str(refusal.value)


NAMES = ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.jsonl.gz", "a.json.gz", "a.csv.gz"]


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_file_gives_the_same_rows_from_any_number_on(tmp_path, name):
    path = write(tmp_path / name, ROWS)
    found = read(path)
    assert [raw.row for raw in found] == ROWS and [raw.number for raw in found] == list(range(5))
    assert {raw.file for raw in found} == {name} and not any(raw.problem for raw in found)
    for start in range(7):
        assert read(path, start) == found[start:]
    assert open_source(name, tmp_path).count() == 5


def test_a_folder_is_its_files_in_the_order_of_their_names_and_says_what_it_leaves_out(tmp_path):
    for n, name in enumerate(("b/train.jsonl", "a.csv", "c.parquet")):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "data" / name, ROWS[n : n + 2])
    (tmp_path / "data/README.md").write_text("#")
    (tmp_path / "data/.cache.jsonl").write_text("{}")
    source = open_source("./data/", tmp_path)
    assert source.name == "data" and source.left_out == ("data/README.md",)
    found = list(source.rows())
    assert [raw.file for raw in found] == [
        name for name in ("data/a.csv", "data/b/train.jsonl", "data/c.parquet") for _ in "12"
    ]
    for start in range(7):
        assert list(source.rows(start)) == found[start:]
    assert source.count() == 6 and [raw.row for raw in open_source("data/*.csv", tmp_path).rows()] == ROWS[1:3]


def test_a_digest_changes_with_what_is_in_the_files_and_with_nothing_else(tmp_path):
    path = write(tmp_path / "a.jsonl", ROWS)
    before = open_source("a.jsonl", tmp_path).digest()
    path.touch()
    assert open_source("a.jsonl", tmp_path).digest() == before
    write(path, ROWS[:4])
    assert open_source("a.jsonl", tmp_path).digest() != before


def test_a_line_that_is_no_row_is_told_with_its_place_and_the_next_one_is_read(tmp_path):
    lines = [b'{"a": 1}', b"", b"{bad", b"[1]", b'"x"', b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"  ", b'{"a": 2}']
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    found = read(path)
    assert [raw.line for raw in found] == [1, 3, 4, 5, 6, 7, 9], "blank lines are no rows"
    assert [raw.row for raw in found if not raw.problem] == [{"a": 1}, {"a": 2}]
    said = [raw.problem for raw in found if raw.problem]
    for problem, word in zip(said, ["no JSON", "a list", "a text", "byte 0xff", "surrogate"], strict=True):
        assert word in problem
    assert open_source("a.jsonl", tmp_path).count() == 7


def test_every_cell_of_a_csv_is_the_text_that_stands_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfq,a\n042,true\n2024-01-01,""\n"two\nlines, ""quoted""",1.50\n\nNA,null\n')
    found = read(path)
    assert [tuple(raw.row.values()) for raw in found] == [
        ("042", "true"),
        ("2024-01-01", None),
        ('two\nlines, "quoted"', "1.50"),
        ("NA", "null"),
    ]
    assert [raw.line for raw in found] == [2, 3, 4, 7]


def test_a_row_of_a_csv_that_is_none_is_told_and_the_next_one_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'q,a\n1\n1,2,3\n\xff,x\n"a"b,c\nfine,row\n"never closed,\n')
    found = read(path)
    assert [raw.row for raw in found if not raw.problem] == [{"q": "fine", "a": "row"}]
    said = [raw.problem for raw in found if raw.problem]
    for problem, word in zip(said, ["1 cells", "3 cells", "line 4 is not UTF-8", "no CSV", "no CSV"], strict=True):
        assert word in problem
    path.write_text("q,q\n1,2\n")
    assert "two columns are called 'q'" in refused("a.csv", tmp_path)


def test_types_of_parquet_are_those_of_its_schema_and_what_json_lacks_is_text_or_told(tmp_path):
    day, price = datetime.date(2024, 1, 1), decimal.Decimal("1.50")
    rows = [{"n": 1, "day": day, "price": price, "nested": [{"at": day}], "picture": None}]
    pq.write_table(pa.Table.from_pylist([*rows, {**rows[0], "picture": b"\x89PNG"}]), tmp_path / "a.parquet")
    plain, odd = read(tmp_path / "a.parquet")
    told = {"n": 1, "day": "2024-01-01", "price": "1.50", "nested": [{"at": "2024-01-01"}], "picture": None}
    assert plain.row == told and odd.problem == "column picture: bytes, which are no text" and odd.line == 2


def test_a_text_of_parquet_that_is_not_utf_8_costs_its_own_row(tmp_path):
    column = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    pq.write_table(pa.table({"q": column}), tmp_path / "a.parquet")
    assert [raw.problem or raw.row["q"] for raw in read(tmp_path / "a.parquet")] == [
        "a",
        "a text of it is not UTF-8",
        "c",
    ]


def test_a_json_file_may_be_a_list_or_lines_and_is_read_as_far_as_it_can_be(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\n[\n{"a":\n1.50},\n7,\n{"a": 2}\n]\n')
    found = read(path)
    assert [(raw.line, raw.row) for raw in found] == [(3, {"a": 1.5}), (5, {}), (6, {"a": 2})]
    assert "a number" in found[1].problem and found[0].text == b'{"a":\n1.50}'
    for broken, good in {'[{"a": 1}, {"a"': 1, '[{"a": 1} {"a": 2}]': 1, '[{"a": 1}]]': 1, "[": 0}.items():
        path.write_text(broken)
        *rows, last = read(path)
        assert [raw.row for raw in rows] == [{"a": 1}] * good and last.problem, broken
    path.write_text('{"a": 1}\n{"a": 2}\n')
    assert [raw.row for raw in read(path)] == [{"a": 1}, {"a": 2}]
    path.write_text("[]")
    assert read(path) == []


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.json.gz"])
def test_a_packed_file_that_was_cut_off_says_so_behind_its_rows(tmp_path, name):
    path = write(tmp_path / name, ROWS * 9999)
    path.write_bytes(path.read_bytes()[:-1000])
    *rows, last = read(path)
    assert last.problem and all(not raw.problem for raw in rows) and (rows or name == "a.json.gz")


def test_a_line_over_the_bound_is_passed_by(tmp_path):
    for name, head in {"a.jsonl": b"", "a.csv": b"a\n"}.items():
        long = b"x" * (MOST_ROW * 2)
        tail = b'{"a": "1"}\n' if name == "a.jsonl" else b"1\n"
        (tmp_path / name).write_bytes(head + tail + long + b"\n" + tail)
        first, over, last = read(tmp_path / name)
        assert first.row == last.row == {"a": "1"} and "longer than 16 MiB" in over.problem


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("absent.jsonl", "there is no such file"),
        ("a.txt", "ends in '.txt'"),
        ("a.parquet.gz", "ends in '.gz'"),
        ("notes", "no file in it holds rows: x.md"),
        ("*.jsonl", "there is no such file"),
        (".hidden/a.jsonl", "begins with a dot"),
        ("cut.parquet", "it cannot be read"),
        ("**/../a.jsonl", "it goes up by .."),
        ("hf://datasets/me", "no name of a data set"),
    ],
)
def test_what_cannot_be_read_at_all_is_refused_with_the_way_out(tmp_path, spec, said):
    for name in ("a.txt", "a.parquet.gz", "cut.parquet"):
        (tmp_path / name).write_text("PAR1 ")
    for folder in ("notes", ".hidden"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.md").write_text("#")
    assert said in refused(spec, tmp_path)


HUB_ROWS = """
import json, sys
from pathlib import Path
from seedbed.sources.files import open_source
from seedbed.yamlfile import BadInput
for spec in sys.argv[1:]:
    try:
        source = open_source(spec, Path("."))
        rows = [(raw.file, raw.line, raw.row, raw.problem) for raw in source.rows()]
        print(json.dumps([source.name, source.revision, source.count(), source.digest(), rows]))
    except BadInput as error:
        print(json.dumps(str(error)))
"""


def from_hub(hub, home, *specs):
    """In a process of its own, for the Hub's address is read when it is imported."""
    command = [sys.executable, "-c", HUB_ROWS, *specs]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(hub, home))
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_data_set_of_the_hub_is_read_at_its_commit_with_its_types_as_they_stand(tmp_path):
    card = b"---\nconfigs:\n- config_name: sums\n  data_files: sums.csv\n---\n"
    chats = b'{"question": "When?", "answer": "2024-01-01"}\n{bad\n{"question": "6 x 7?", "answer": 42}\n'
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    parquet = (tmp_path / "rows.parquet").read_bytes()
    with FakeHub("hf_" + "CanaryToBeSeenInNoPlaceWhatsoever1").running() as hub:
        repo = hub.repo("me/chats")
        first = repo.commit({"data/train.jsonl": chats, "data/test.jsonl": b'{"question": "Why?"}\n'})
        hub.repo("me/sums").commit({"sums.csv": b"question,answer\n6 x 7?,042\n", "README.md": card})
        hub.repo("me/rows").commit({"data/train-00000-of-00001.parquet": parquet})
        name = "hf://datasets/me/chats"
        train, test, sums, rows = from_hub(
            hub, tmp_path, name, f"{name}/test", "hf://datasets/me/sums/sums/train", "hf://datasets/me/rows"
        )
        repo.commit({"data/train.jsonl": b'{"question": "New?"}\n'})
        old, new = from_hub(hub, tmp_path, f"{name}@{first}", name)
        absent, split, config = from_hub(
            hub, tmp_path, "hf://datasets/me/absent", f"{name}@{first}/dev", "hf://datasets/me/sums/b/train"
        )
    assert train[:3] == [name, first, 3]
    assert [row[2].get("answer") for row in train[4]] == ["2024-01-01", None, 42] and "no JSON" in train[4][1][3]
    assert train[4][2][:2] == ["data/train.jsonl", 3]
    assert test[4][0][2] == {"question": "Why?"} and sums[4][0][2] == {"question": "6 x 7?", "answer": "042"}
    assert [row[2] for row in rows[4]] == ROWS and rows[2] == 5
    assert old[1:3] == train[1:3] and new[1] != first and new[3] != train[3] and new[4][0][2] == {"question": "New?"}
    assert "Not Found" in absent and "no split 'dev'. Known: test, train" in " ".join(split.split())
    assert "'b' not found" in config


def test_a_hub_that_cannot_be_reached_is_told_with_what_to_do(tmp_path):
    hub = FakeHub()
    with hub.running():
        pass
    [said] = from_hub(hub, tmp_path, "hf://datasets/me/chats")
    assert "it cannot be opened" in said and "put a copy of its files here" in said
