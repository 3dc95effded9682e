"""Export files: what readers get is what was kept, whole, with where it is from, and the same bytes each time."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest

from exporters.formats import LINEAGE, Manner, Sides, beside, export
from seedbed.conversation import Content

SUFFIXES = (".jsonl", ".parquet", ".csv")
FORMS = {"messages": "instruction", "prompt-completion": "instruction", "preference": "preference"}
SCORE = {"step": "critique", "curator": "critique", "judge": "judge-70b", "score": 4.25, "threshold": None}


def form_for(suffix: str) -> str:
    return "standard" if suffix == ".csv" else "messages"


def rows(n, kind="instruction"):
    return [
        {
            "question": f"Question {i} about “{i}”?",
            "answer": f"Answer {i}.\nSecond line, 中文 \U0001f600",
            "context": f"Context {i}." if i % 2 else "",
            "kind": kind,
            "rejected": f"Worse {i}." if kind == "preference" else "",
            "leaf": "writing/letters",
            "method": "skills",
            "model": "writer-8b",
            "split": "test" if i % 10 == 3 else "train",
            "parents": ["documents/a#1", f"seed {i}"] if i % 2 else [],
            "scores": [SCORE] if i % 2 else [],
            "sample_id": f"{i:020d}",
        }
        for i in range(n)
    ]


def batches(n, size=400, kind="instruction"):
    made = pa.Table.from_pylist(rows(n, kind))
    return [made.slice(start, size) for start in range(0, n, size)]


def expected(n, form):
    result = []
    for i, row in enumerate(rows(n, FORMS[form])):
        content = Content(question=row["question"], answer=row["answer"], context=row["context"])
        user = {"role": "user", "content": content.prompt()}
        assistant = {"role": "assistant", "content": row["answer"]}
        worse = {"role": "assistant", "content": f"Worse {i}."}
        forms = {
            "messages": {"messages": [user, assistant]},
            "prompt-completion": {"prompt": [user], "completion": [assistant]},
            "preference": {"prompt": [user], "chosen": [assistant], "rejected": [worse]},
        }
        result.append(forms[form])
    return result


def load(path: Path, cache: Path):
    import datasets

    builder = {".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}[path.suffix]
    return datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=str(cache))


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
@pytest.mark.parametrize("form", FORMS)
def test_datasets_loads_exactly_the_rows_and_features(tmp_path, form, suffix):
    from datasets import Features, List, Value

    path = tmp_path / f"train{suffix}"
    assert export(batches(1201, kind=FORMS[form]), path, Manner(form, bare=True)).rows == 1201
    loaded = load(path, tmp_path / "cache")
    turns = List({"role": Value("string"), "content": Value("string")})
    assert loaded.features == Features(dict.fromkeys(expected(1, form)[0], turns))
    assert loaded.to_list() == expected(1201, form)


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
@pytest.mark.parametrize("form", FORMS)
def test_every_row_says_where_it_is_from_unless_the_file_is_to_be_bare(tmp_path, form, suffix):
    path = tmp_path / f"train{suffix}"
    export(batches(1201, kind=FORMS[form]), path, Manner(form))
    loaded = load(path, tmp_path / "cache").to_list()
    assert [{name: row.pop(name) for name in LINEAGE} for row in loaded] == [
        {
            **{name: row[name] for name in ("leaf", "kind", "method", "model", "split", "scores")},
            "id": row["sample_id"],
            "source": ", ".join(row["parents"]),
        }
        for row in rows(1201, FORMS[form])
    ]
    assert loaded == expected(1201, form)


def test_a_spreadsheet_holds_the_same_with_lists_as_json(tmp_path):
    export(batches(20), tmp_path / "a.csv", Manner("standard"))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [list(row) for row in read[:1]] == [[*LINEAGE, "prompt", "completion"]]
    assert [row["completion"] for row in read] == [row["answer"] for row in rows(20)]
    assert [orjson.loads(row["scores"]) for row in read] == [row["scores"] for row in rows(20)]
    assert load(tmp_path / "a.csv", tmp_path / "cache").num_rows == 20


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_cell_of_a_spreadsheet_is_a_formula(tmp_path, sign):
    evil = f'{sign}HYPERLINK("http://evil.example","ok")'
    texts = dict.fromkeys(("question", "answer", "sample_id", "leaf", "model"), evil)
    made = pa.Table.from_pylist([{**rows(1)[0], **texts, "parents": [evil]}])
    export([made], tmp_path / "a.csv", Manner("standard"))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert all(row[name] == f"'{evil}" for name in ("prompt", "completion", "id", "leaf", "model", "source"))
    export([made], tmp_path / "a.jsonl", Manner("standard"))
    assert orjson.loads((tmp_path / "a.jsonl").read_bytes())["prompt"] == evil, "elsewhere nothing is changed"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_rows_give_the_same_bytes_however_they_come_in(tmp_path, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in "abc"]
    for path, size in zip(paths, (400, 7, 2500), strict=True):
        export(batches(2500, size), path, Manner(form_for(suffix)), "apart")
    assert len({path.read_bytes() for path in paths}) == len({beside(path).read_bytes() for path in paths}) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_held_out_rows_are_in_a_file_of_their_own(tmp_path, suffix):
    def ids(path):
        return [int(str(row["id"])) for row in load(path, tmp_path / f"cache-{path.name}")]

    path, form = tmp_path / f"desk.v1{suffix}", Manner(form_for(suffix))
    held = list(range(3, 1201, 10))
    written = export(batches(1201), path, form, "apart")
    assert (written.rows, written.held_out) == (1081, 120) and beside(path).name == f"desk.v1.test{suffix}"
    assert ids(beside(path)) == held and ids(path) == sorted(set(range(1201)) - set(held))
    sides: dict[Sides, Sequence[int]] = {
        "all": range(1201),
        "train": sorted(set(range(1201)) - set(held)),
        "test": held,
    }
    for side, wanted in sides.items():
        path = tmp_path / f"{side}{suffix}"
        assert export(batches(1201), path, form, side).rows == len(wanted) and ids(path) == list(wanted)
        assert not beside(path).exists()


def test_parquet_can_be_read_a_page_at_a_time(tmp_path):
    export(batches(2500), tmp_path / "a.parquet", Manner())
    meta = pyarrow.parquet.ParquetFile(tmp_path / "a.parquet").metadata
    assert b"huggingface" in meta.metadata, "the features that datasets reads"
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [1000, 1000, 500]
    column = meta.row_group(0).column(0)
    assert column.compression == "ZSTD" and column.has_offset_index and column.has_column_index


def test_jsonl_is_one_object_a_line(tmp_path):
    export(batches(3), tmp_path / "a.jsonl", Manner("prompt-completion", bare=True))
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line) for line in lines] == expected(3, "prompt-completion")


def test_pairs_and_other_samples_go_to_files_of_their_own(tmp_path):
    both = [*batches(3), *batches(2, kind="preference")]
    chats = export(both, tmp_path / "a.jsonl", Manner())
    assert chats.rows == 3 and chats.told() == ["2 others with --form preference"]
    pairs = export(both, tmp_path / "b.jsonl", Manner("preference"))
    assert pairs.rows == 2 and pairs.told() == ["3 others with --form messages"]
    assert orjson.loads((tmp_path / "b.jsonl").read_bytes().splitlines()[1])["rejected"][0]["content"] == "Worse 1."


def test_a_missing_context_is_no_context(tmp_path):
    row = rows(1)[0] | {"context": None}
    export([pa.Table.from_pylist([row], schema=batches(2)[0].schema)], tmp_path / "a.jsonl", Manner())
    assert orjson.loads((tmp_path / "a.jsonl").read_bytes())["messages"][0]["content"] == row["question"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_crash_in_the_middle_leaves_the_old_files(tmp_path, suffix):
    path, manner = tmp_path / f"train{suffix}", Manner(form_for(suffix))
    export(batches(5), path, manner, "apart")
    before = path.read_bytes(), beside(path).read_bytes()

    def breaks_off():
        yield from batches(3000)
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError, match="went away"):
        export(breaks_off(), path, manner, "apart")
    assert (path.read_bytes(), beside(path).read_bytes()) == before
    assert {one.name for one in tmp_path.iterdir()} == {path.name, beside(path).name}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_export_replaces_what_was_there(tmp_path, suffix):
    path = tmp_path / f"train{suffix}"
    path.write_bytes(b"old")
    reading = path.open("rb")
    export(batches(2), path, Manner(form_for(suffix)))
    assert reading.read() == b"old", "whoever was reading keeps what they opened"
    reading.close()
    assert load(path, tmp_path / "cache").num_rows == 2
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("nothing", [[], [pa.Table.from_pylist(rows(1)).slice(0, 0)]])
def test_an_empty_export_says_where_to_look_and_leaves_nothing(tmp_path, suffix, nothing):
    with pytest.raises(ValueError, match=r"no sample is kept.*seedbed status"):
        export(nothing, tmp_path / f"a{suffix}", Manner(form_for(suffix)))
    assert list(tmp_path.iterdir()) == []


def test_a_side_without_a_row_is_told_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no row is held out"):
        export(batches(3), tmp_path / "a.jsonl", Manner(), "test")
    held_out = pa.Table.from_pylist(rows(4)[3:])
    with pytest.raises(ValueError, match=r"all 1 rows are held out. Lower --held-out, or use --split all"):
        export([held_out], tmp_path / "a.jsonl", Manner(), "apart")
    with pytest.raises(ValueError, match="nothing to export as preference: 3 others with --form messages"):
        export(batches(3), tmp_path / "a.jsonl", Manner("preference"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "manner", "said"),
    [
        ("a.xlsx", Manner(), r"a\.xlsx.*\.jsonl, \.parquet or \.csv"),
        ("a.jsonl", Manner("vicuna"), r"unknown form 'vicuna': use messages, openai,.* or kto-standard"),
        ("a.csv", Manner(), r"a spreadsheet cannot hold messages: use standard, alpaca,.* or write \.jsonl"),
        ("a.jsonl", Manner("standard", reasoning=True), "standard has no place for reasoning"),
    ],
)
def test_what_cannot_be_written_names_what_can(tmp_path, name, manner, said):
    with pytest.raises(ValueError, match=said):
        export(batches(1), tmp_path / name, manner)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_cannot_be_written_is_the_callers_to_tell(tmp_path, suffix):
    with pytest.raises(OSError):
        export(batches(1), tmp_path / "absent" / f"a{suffix}", Manner(form_for(suffix)))


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_no_part_behind(tmp_path, suffix):
    """A limit on the size of files stands in for a full disk: write() fails in the same way."""
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError):
            export(batches(3000), tmp_path / f"a{suffix}", Manner(form_for(suffix)), "apart")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_rows_are_read_as_they_are_written(tmp_path):
    """Memory stays small because no batch is asked for before those before it are in the file."""
    sizes = []

    def watched():
        for batch in batches(8000, size=1000):
            sizes.append(sum(part.stat().st_size for part in tmp_path.glob(".*.part")))
            yield batch

    export(watched(), tmp_path / "a.jsonl", Manner())
    assert sizes[0] == 0 and sizes == sorted(sizes) and sizes[-1] > sizes[2]
