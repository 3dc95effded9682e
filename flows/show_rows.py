"""What `seedbed sql` answers: for people a table, or where that is too wide each row as a record; for programs CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import orjson
import pyarrow as pa
from rich.table import Table

from flows.figures import number
from flows.screen import Screen
from flows.tables import GAP, Column, as_columns, fits
from seedbed.errors import InputError
from seedbed.visible import on_one_line

ROWS_SHOWN, RECORDS_SHOWN = 100, 20
CELL_CHARACTERS, CELL_LINES = 1600, 20  # about a screenful
NAMES = ("leaf", "version", "recipe", "run", "parent")  # and whatever ends in _id: what names a row is never folded


def show_rows(console: Screen, answer: pa.Table, limit: int | None) -> None:
    """Print the first `limit` rows; where it is None, about as many as a person reads."""
    if not answer.num_rows:
        console.print("no rows", style="dim")
        return
    columns = [Column(console.shown(on_one_line(field.name)), _kind(field)) for field in answer.schema]
    values = (column.to_pylist() for column in answer.slice(0, limit or ROWS_SHOWN).columns)
    rows = list(zip(*([console.shown(_cut(_told(value))) for value in column] for column in values), strict=True))
    if fits(console, columns, rows):
        console.print(as_columns(columns, rows, [""] * len(rows)))
    else:
        rows = rows[: limit or RECORDS_SHOWN]
        _show_records(console, columns, rows)
    if more := answer.num_rows - len(rows):
        console.print(f"… and {more:,} more rows: --limit N shows N, --json and --csv have all")


def as_csv(answer: pa.Table) -> Iterator[str]:
    """Lines of CSV, the names first, values whole: NULL is an empty field, an empty text is `""`, lists are JSON."""
    yield _line(answer.column_names)
    for batch in answer.to_batches():
        columns = (column.to_pylist() for column in batch.columns)
        yield from (_line(row) for row in zip(*columns, strict=True))


def as_objects(answer: pa.Table) -> list[dict[str, object]]:
    """The rows by column name. Raises InputError where two columns have one name: JSON would lose one of them."""
    twice = [name for name, n in Counter(answer.column_names).items() if n > 1]
    if twice:
        raise InputError(
            f"several columns are called {', '.join(twice)}: give each a name of its own with AS, or --csv"
        )
    rows: list[dict[str, object]] = answer.to_pylist()
    return rows


def _kind(field: pa.Field) -> Literal["name", "number", "words"]:
    is_number = pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal
    if any(is_one(field.type) for is_one in is_number):
        return "number"
    return "name" if field.name in NAMES or field.name.endswith("_id") else "words"


def _show_records(console: Screen, columns: list[Column], rows: list[tuple[str, ...]]) -> None:
    """As psql's expanded mode: a heading a row, a line a column."""
    for n, row in enumerate(rows, start=1):
        console.heading(f"row {n}")
        record = Table.grid(padding=(0, GAP, 0, 0))
        record.add_column(style="dim", overflow="fold", max_width=console.width // 3)
        record.add_column(overflow="fold")
        for column, cell in zip(columns, row, strict=True):
            record.add_row(column.title, cell)
        console.print(record)


def _told(value: object) -> str:
    """A value for people: floats with the digits that they mean, also inside lists and structs."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return number(value)
        case list():
            return f"[{', '.join(map(_told, value))}]"
        case dict():
            return f"{{{', '.join(f'{key}: {_told(part)}' for key, part in value.items())}}}"
    return str(value)


def _cut(text: str) -> str:
    kept = "\n".join(text.split("\n", CELL_LINES)[:CELL_LINES])[:CELL_CHARACTERS]
    left = len(text) - len(kept)
    return f"{kept}… ({left:,} more characters: --json or --csv has them)" if left else text


def _line(values: Sequence[object]) -> str:
    return ",".join(map(_field, values))


def _field(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            text = str(value).lower()
        case list() | dict():
            text = orjson.dumps(value, default=str).decode()
        case bytes():
            text = value.hex()
        case _:
            text = str(value)
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if not text or any(sign in text for sign in ',"\r\n') else text
