"""A row as it stands in a source, with its place; and the bounds of what is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MOST_ROW = 16 << 20  # bytes of a row: more than any model reads
MOST_BYTES = 1 << 30  # of a file that is read whole

Row = Mapping[str, Any]
_NO_ROW: Row = {}


class Found(NamedTuple):
    """What a reader finds at a place of a file: a row, or the problem with one, and its JSON where it has one.

    `line` is counted from 1; of Parquet it is the row.
    """

    line: int
    row: Row = _NO_ROW
    problem: str = ""
    text: bytes = b""


class Raw(NamedTuple):
    """Row `number` of a source, counted from 0, with its place. `problem` says why there is no row, "" if there is one.

    `text` is the row's own JSON, where it stands in JSON: it has the numbers as they are spelled. Values may be nested
    up to 1,024 deep, more than `orjson.dumps` writes.
    """

    number: int
    file: str
    line: int
    row: Row
    problem: str = ""
    text: bytes = b""


Rows = Iterator[Found]
