"""The files that rows are written to, one row after the other: JSON lines, Parquet, and CSV for spreadsheets.

The same rows give the same bytes, however they come in. JSON lines and Parquet hold every value exactly. In CSV, lists
are JSON, and a cell that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, "CSV injection").
"""

from __future__ import annotations

import csv
import io
from typing import BinaryIO, Protocol

import orjson
import pyarrow as pa

from exporters.forms import EMPTY, Column, Columns, Row, features_of

GROUP = 1000  # rows of one row group: what a reader of a single page must load
# The last four are the first four in full width, which East Asian spreadsheets take for them.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Writer(Protocol):
    """What writes rows to an open file: `add` each, then `close`, which leaves the file itself open."""

    def add(self, row: Row) -> None:
        """Take a row. Columns that it lacks are empty in it."""

    def close(self) -> None:
        """Write what still waits."""


class JsonLines:
    """One object a line."""

    def __init__(self, file: BinaryIO, columns: Columns, loose: bool) -> None:
        self._file = file
        self._empty = {name: EMPTY.get(column) for name, column in columns.items()}

    def add(self, row: Row) -> None:
        """Take a row."""
        whole = row if len(row) == len(self._empty) else {**self._empty, **row}
        self._file.write(orjson.dumps(whole, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Nothing waits."""


class Parquet:
    """Row groups of `GROUP` rows with a page index, and the features of `datasets`, so that loading guesses nothing."""

    def __init__(self, file: BinaryIO, columns: Columns, loose: bool) -> None:
        import pyarrow.parquet

        self._columns, self._loose = columns, loose
        self._schema = schema_of(columns, loose)
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd", write_page_index=True)
        self._waiting: list[Row] = []

    def add(self, row: Row) -> None:
        """Take a row; groups are counted here, so that the bytes do not depend on how the rows came in."""
        self._waiting.append(row)
        if len(self._waiting) == GROUP:
            self._write()

    def close(self) -> None:
        """Write the last group and the footer."""
        try:
            if self._waiting:
                self._write()
        finally:
            self._writer.close()

    def _write(self) -> None:
        self._writer.write_table(as_table(self._waiting, self._columns, self._loose))
        self._waiting = []


class Csv:
    """The names first; lists are JSON, and no cell is a formula."""

    def __init__(self, file: BinaryIO, columns: Columns, loose: bool) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="")
        self._columns = columns
        self._writer = csv.DictWriter(self._text, columns, lineterminator="\n")
        self._writer.writeheader()

    def add(self, row: Row) -> None:
        """Take a row."""
        empty = {name: EMPTY.get(column) for name, column in self._columns.items()}
        self._writer.writerow({name: _cell(value, self._columns[name]) for name, value in (empty | row).items()})

    def close(self) -> None:
        """Give the file back, with all that was written to it."""
        self._text.flush()
        self._text.detach()


def _cell(value: object, column: Column) -> str:
    if column != "text":
        return "" if value is None else orjson.dumps(value).decode()
    text = str(value or "")
    return f"'{text}" if text.startswith(_FORMULA) else text


def schema_of(columns: Columns, loose: bool) -> pa.Schema:
    """The columns in Arrow, with the features of `datasets` in it."""
    schema: pa.Schema = features_of(columns, loose).arrow_schema
    return schema


def as_table(rows: list[Row], columns: Columns, loose: bool) -> pa.Table:
    """Rows as Arrow.

    Raises:
        ValueError: a row has more than the columns hold.
    """
    if any(not row.keys() <= columns.keys() for row in rows):
        raise ValueError(f"a row has other columns than {', '.join(columns)}")
    stored = [{name: _stored(row.get(name), column, loose) for name, column in columns.items()} for row in rows]
    schema = schema_of(columns, loose)
    bare = pa.schema([pa.field(one.name, _in_storage(one.type)) for one in schema])
    return pa.Table.from_pylist(stored, schema=bare).cast(schema)


def _stored(value: object, column: Column, loose: bool) -> object:
    """A value as Arrow takes it: what has keys of its own is JSON there, as the feature `Json` wants it."""
    if value is None:
        return EMPTY.get(column)
    if column == "schemas" or (column == "chat" and loose):
        return [orjson.dumps(one).decode() for one in value]  # type: ignore[attr-defined]  # lists both
    if column == "chat" and any(len(message) != 2 for message in value):  # type: ignore[attr-defined]
        raise ValueError("a message has tools or reasoning, for which these columns have no place")
    return value


def _in_storage(kind: pa.DataType) -> pa.DataType:
    """The type below JSON, which Arrow makes no array of by itself."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    return pa.list_(_in_storage(kind.value_type)) if pa.types.is_list(kind) else kind
