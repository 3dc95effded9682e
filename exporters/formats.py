"""Kept samples as files for trainers: the conversational types of TRL, as JSON lines or Parquet.

A file holds the columns of its type and nothing else, because trainers guess the type from the columns. It
appears whole or not at all, and the same rows give the same bytes.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson
import pyarrow as pa

from seedbed.records import Content, Message

Row = dict[str, list[Message]]
Form = dict[str, tuple[str, ...]]
Write = Callable[[Iterator[Row], Form, BinaryIO], int]

FORMATS: dict[str, Form] = {  # column -> the roles whose turns it holds, in order
    "messages": {"messages": ("user", "assistant")},
    "prompt-completion": {"prompt": ("user",), "completion": ("assistant",)},
}
_READ = ["question", "answer", "context"]
_GROUP = 1000  # rows of one row group: what a reader of a single page must load


def export(batches: Iterable[pa.RecordBatch | pa.Table], path: Path, form: str) -> int:
    """Write the samples to `path`, replacing it whole, and say how many; the suffix chooses the file format.

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
            written = WRITERS[path.suffix](_rows(batches, FORMATS[form]), FORMATS[form], file)
            if not written:
                raise ValueError("nothing to export: no sample is kept; `seedbed status` shows why they were dropped")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return written


def _rows(batches: Iterable[pa.RecordBatch | pa.Table], form: Form) -> Iterator[Row]:
    for batch in batches:
        for start in range(0, batch.num_rows, _GROUP):
            for sample in batch.select(_READ).slice(start, _GROUP).to_pylist():
                content = Content(**sample | {"context": sample["context"] or ""})
                said = {"user": content.prompt(), "assistant": content.answer}
                yield {
                    column: [Message(role=role, content=said[role]) for role in roles] for column, roles in form.items()
                }


def _write_jsonl(rows: Iterator[Row], form: Form, file: BinaryIO) -> int:
    written = 0
    for row in rows:
        file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        written += 1
    return written


def _write_parquet(rows: Iterator[Row], form: Form, file: BinaryIO) -> int:
    """The schema carries the features of `datasets`, so that loading guesses nothing."""
    import pyarrow.parquet
    from datasets import Features, List, Value

    turns = List({"role": Value("string"), "content": Value("string")})
    schema = Features(dict.fromkeys(form, turns)).arrow_schema
    written = 0
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd", write_page_index=True) as writer:
        # Groups are counted here, so that the bytes do not depend on how the rows came in.
        while group := list(islice(rows, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            written += len(group)
    return written


WRITERS: dict[str, Write] = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
