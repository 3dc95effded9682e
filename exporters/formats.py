"""Kept samples as files for trainers: the conversational types of TRL, as JSON lines or Parquet.

A file holds the columns of its type and nothing else, because trainers guess the type from the columns. It
appears whole or not at all, and the same rows give the same bytes.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson
import pyarrow as pa

from seedbed.conversation_json import content_of
from seedbed.credentials import holds_key
from seedbed.records import Message

Row = dict[str, list[Message]]
Form = dict[str, tuple[tuple[str, str], ...]]
Write = Callable[[Iterator[Row], str, BinaryIO], int]

FORMATS: dict[str, Form] = {  # column -> its turns in order, as (role, which text)
    "messages": {"messages": (("user", "prompt"), ("assistant", "answer"))},
    "prompt-completion": {"prompt": (("user", "prompt"),), "completion": (("assistant", "answer"),)},
    "preference": {
        "prompt": (("user", "prompt"),),
        "chosen": (("assistant", "answer"),),
        "rejected": (("assistant", "rejected"),),
    },
}
_SHOWN = 5
_READ = ["question", "answer", "context", "rejected", "rest"]
_GROUP = 1000  # rows of one row group: what a reader of a single page must load


def export(batches: Iterable[pa.RecordBatch | pa.Table], path: Path, form: str) -> int:
    """Write the samples that fit the form to `path`, replacing it whole, and say how many.

    The suffix chooses the file format. Preferences fit `preference`, all other samples the other forms.

    Raises:
        ValueError: the form or the suffix is unknown, or there is no sample.
        OSError: the file cannot be written; what was there before still is.
    """
    if form not in FORMATS:
        raise ValueError(f"unknown format {form!r}: use {' or '.join(FORMATS)}")
    if path.suffix not in WRITERS:
        raise ValueError(f"cannot write {path.name!r}: the name must end in {' or '.join(WRITERS)}")
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            written = WRITERS[path.suffix](rows_of(batches, form), form, file)
            if not written:
                raise ValueError("nothing to export: no sample is kept; `seedbed status` shows why they were dropped")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return written


def without_keys(batches: Iterable[pa.Table], keys: Sequence[str]) -> Iterator[pa.Table]:
    """The same batches, none with a key in use. Raises ValueError at the first that has one, naming the samples."""
    for batch in batches:
        texts = [name for name in _READ if name in batch.column_names]
        rows = batch.select(["sample_id", *texts]).to_pylist() if keys else []
        if found := [row["sample_id"] for row in rows if _holds_any(row, keys)]:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise ValueError(
                f"a key that is in use stands in the samples {', '.join(found[:_SHOWN])}{more}. Drop or edit them in "
                "`seedbed review`, then `seedbed refilter`, and export the new version"
            )
        yield batch


def _holds_any(row: Mapping[str, str | None], keys: Sequence[str]) -> bool:
    text = "\n".join(row.get(name) or "" for name in _READ).encode()
    return any(holds_key(text, key) for key in keys)


def rows_of(batches: Iterable[pa.RecordBatch | pa.Table], form: str) -> Iterator[Row]:
    """The samples that fit the form, as its columns."""
    for batch in batches:
        for start in range(0, batch.num_rows, _GROUP):
            for sample in (
                batch.select([name for name in ("kind", *_READ) if name in batch.column_names])
                .slice(start, _GROUP)
                .to_pylist()
            ):
                if (sample["kind"] == "preference") == (form == "preference"):
                    yield row_of(sample, form)


def row_of(sample: Mapping[str, str | None], form: str) -> Row:
    """A sample that fits the form, as its columns."""
    content = content_of(sample)
    said = {"prompt": content.prompt(), "answer": content.answer, "rejected": content.rejected}
    return {
        column: [Message(role=role, content=said[text]) for role, text in turns]
        for column, turns in FORMATS[form].items()
    }


def schema_of(form: str) -> pa.Schema:
    """The form's columns in Arrow, with the features of `datasets` in it, so that loading guesses nothing."""
    from datasets import Features, List, Value

    turns = List({"role": Value("string"), "content": Value("string")})
    schema: pa.Schema = Features(dict.fromkeys(FORMATS[form], turns)).arrow_schema
    return schema


def _write_jsonl(rows: Iterator[Row], form: str, file: BinaryIO) -> int:
    written = 0
    for row in rows:
        file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        written += 1
    return written


def _write_parquet(rows: Iterator[Row], form: str, file: BinaryIO) -> int:
    import pyarrow.parquet

    schema = schema_of(form)
    written = 0
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd", write_page_index=True) as writer:
        # Groups are counted here, so that the bytes do not depend on how the rows came in.
        while group := list(islice(rows, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            written += len(group)
    return written


WRITERS: dict[str, Write] = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
