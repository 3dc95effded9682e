"""Export files: what trainers read is what was kept, whole, and the same bytes each time."""

import os
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest

from exporters.formats import FORMATS, export
from seedbed.records import Content

SUFFIXES = (".jsonl", ".parquet")


def rows(n, form="messages"):
    return [
        {
            "question": f"Question {i} about “{i}”?",
            "answer": f"Answer {i}.\nSecond line, 中文 \U0001f600",
            "context": f"Context {i}." if i % 2 else "",
            "kind": "preference" if form == "preference" else "instruction",
            "rejected": f"Worse {i}." if form == "preference" else "",
            "leaf": "writing/letters",
            "sample_id": f"{i:020d}",
        }
        for i in range(n)
    ]


def batches(n, size=400, form="messages"):
    return pa.Table.from_pylist(rows(n, form)).to_batches(max_chunksize=size)


def expected(n, form):
    result = []
    for i, row in enumerate(rows(n, form)):
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

    builder = {".jsonl": "json", ".parquet": "parquet"}[path.suffix]
    return datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=str(cache))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", FORMATS)
def test_datasets_loads_exactly_the_rows_and_features(tmp_path, form, suffix):
    from datasets import Features, List, Value

    path = tmp_path / f"train{suffix}"
    assert export(batches(1201, form=form), path, form) == 1201
    loaded = load(path, tmp_path / "cache")
    turns = List({"role": Value("string"), "content": Value("string")})
    assert loaded.features == Features(dict.fromkeys(FORMATS[form], turns))
    assert loaded.to_list() == expected(1201, form)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", FORMATS)
def test_trl_takes_the_rows_as_conversations(tmp_path, form, suffix):
    trl = pytest.importorskip("trl.data_utils")
    path = tmp_path / f"train{suffix}"
    export(batches(3, form=form), path, form)
    loaded = load(path, tmp_path / "cache")
    assert trl.is_conversational(loaded[0])
    templated = [trl.maybe_apply_chat_template(row, tokenizer()) for row in loaded]
    whole = {"messages": ("text",), "prompt-completion": ("prompt", "completion"), "preference": ("prompt", "chosen")}
    prompts = ["".join(row[name] for name in whole[form]) for row in templated]
    assert prompts[1] == (
        "<user>Context 1.\n\nQuestion 1 about “1”?</user><assistant>Answer 1.\nSecond line, 中文 \U0001f600</assistant>"
    )


def tokenizer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, unk_token="?")))
    made.chat_template = (
        "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}</{{ turn.role }}>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    return made


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", FORMATS)
def test_the_same_rows_give_the_same_bytes_however_they_come_in(tmp_path, form, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in "abc"]
    export(batches(2500, form=form), paths[0], form)
    export(batches(2500, 7, form), paths[1], form)
    export([pa.Table.from_pylist(rows(2500, form))], paths[2], form)
    assert len({path.read_bytes() for path in paths}) == 1


def test_parquet_can_be_read_a_page_at_a_time(tmp_path):
    export(batches(2500), tmp_path / "a.parquet", "messages")
    meta = pyarrow.parquet.ParquetFile(tmp_path / "a.parquet").metadata
    assert b"huggingface" in meta.metadata, "the features that datasets reads"
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [1000, 1000, 500]
    column = meta.row_group(0).column(0)
    assert column.compression == "ZSTD" and column.has_offset_index and column.has_column_index


def test_jsonl_is_one_object_a_line(tmp_path):
    export(batches(3), tmp_path / "a.jsonl", "prompt-completion")
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line) for line in lines] == expected(3, "prompt-completion")


def test_pairs_and_other_samples_go_to_files_of_their_own(tmp_path):
    both = [*batches(3), *batches(2, form="preference")]
    assert export(both, tmp_path / "a.jsonl", "messages") == 3
    assert export(both, tmp_path / "b.jsonl", "preference") == 2
    assert orjson.loads((tmp_path / "b.jsonl").read_bytes().splitlines()[1])["rejected"][0]["content"] == "Worse 1."


def test_a_missing_context_is_no_context(tmp_path):
    row = rows(1)[0] | {"context": None}
    export([pa.Table.from_pylist([row], schema=batches(1)[0].schema)], tmp_path / "a.jsonl", "messages")
    assert orjson.loads((tmp_path / "a.jsonl").read_bytes())["messages"][0]["content"] == row["question"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_crash_in_the_middle_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"train{suffix}"
    export(batches(5), path, "messages")
    before = path.read_bytes()

    def breaks_off():
        yield from batches(3000)
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError, match="went away"):
        export(breaks_off(), path, "messages")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_export_replaces_what_was_there(tmp_path, suffix):
    path = tmp_path / f"train{suffix}"
    path.write_bytes(b"old")
    reading = path.open("rb")
    export(batches(2), path, "messages")
    assert reading.read() == b"old", "whoever was reading keeps what they opened"
    reading.close()
    assert load(path, tmp_path / "cache").num_rows == 2
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("nothing", [[], [pa.Table.from_pylist(rows(1)).slice(0, 0)]])
def test_an_empty_export_says_where_to_look_and_leaves_nothing(tmp_path, suffix, nothing):
    with pytest.raises(ValueError, match=r"no sample is kept.*seedbed status"):
        export(nothing, tmp_path / f"a{suffix}", "messages")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suffix_or_format_names_those_that_are_known(tmp_path):
    with pytest.raises(ValueError, match=r"a\.csv.*\.jsonl or \.parquet"):
        export(batches(1), tmp_path / "a.csv", "messages")
    with pytest.raises(ValueError, match=r"'alpaca'.*messages or prompt-completion"):
        export(batches(1), tmp_path / "a.jsonl", "alpaca")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_cannot_be_written_is_the_callers_to_tell(tmp_path, suffix):
    with pytest.raises(OSError):
        export(batches(1), tmp_path / "absent" / f"a{suffix}", "messages")


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
            export(batches(3000), tmp_path / f"a{suffix}", "messages")
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

    export(watched(), tmp_path / "a.jsonl", "messages")
    assert sizes[0] == 0 and sizes == sorted(sizes) and sizes[-1] > sizes[2]
