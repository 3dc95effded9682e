"""Tables that keep what names their rows, however narrow the terminal is.

Where names and numbers are whole and the words still have room, rows stand under their columns. Where they have not,
each row is told: its names on a line, and under them every other value behind its column's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table

from flows.screen import Screen
from seedbed.visible import on_one_line

GAP = 2  # columns between columns
WORDS_WIDTH, WORDS_LINES = 24, 6  # columns that a text needs to be read in, if it is so long, and lines at most
INDENT = 4
Row = Sequence[str]


class Column(NamedTuple):
    """`name`: what names the row, never folded in a table; `number`: to the right; `words`: fold in what is left."""

    title: str
    kind: Literal["name", "number", "words"] = "words"


def show_table(console: Screen, columns: Sequence[Column], rows: Sequence[Row], styles: Sequence[str] = ()) -> None:
    """Print rows of short texts; `styles`, where given, are those of the rows."""
    told = [[console.shown(on_one_line(cell)) for cell in row] for row in rows]
    styles = styles or [""] * len(rows)
    if fits(console, columns, told):
        console.print(as_columns(columns, told, styles))
        return
    widths = [max(cell_len(row[n]) for row in told) for n in range(len(columns))]
    for row, style in zip(told, styles, strict=True):
        _tell(console, columns, row, widths, style)


def fits(console: Screen, columns: Sequence[Column], rows: Sequence[Row]) -> bool:
    """Whether the terminal is wide enough for every column to be read."""
    needed = [
        max(min(width, WORDS_WIDTH), width // WORDS_LINES) if column.kind == "words" else width
        for column, width in zip(columns, widths_of(columns, rows), strict=True)
    ]
    return sum(needed) + GAP * (len(needed) - 1) <= console.width


def widths_of(columns: Sequence[Column], rows: Sequence[Row]) -> list[int]:
    """How wide each column would like to be, its title included."""
    lines = [[column.title, *(line for row in rows for line in row[n].split("\n"))] for n, column in enumerate(columns)]
    return [max(map(cell_len, column)) for column in lines]


def as_columns(columns: Sequence[Column], rows: Sequence[Row], styles: Sequence[str]) -> Table:
    """The rows under their titles; only words are folded."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column in columns:
        whole = column.kind != "words"
        table.add_column(
            column.title, justify="right" if column.kind == "number" else "left", no_wrap=whole, overflow="fold"
        )
    for row, style in zip(rows, styles, strict=True):
        table.add_row(*row, style=style)
    return table


def _tell(console: Screen, columns: Sequence[Column], row: Row, widths: Sequence[int], style: str) -> None:
    about = list(zip(columns, row, widths, strict=True))
    console.print("  ".join(cell for column, cell, _ in about if column.kind == "name"), style=style)
    numbers = [f"{column.title} {cell:>{width}}" for column, cell, width in about if column.kind == "number"]
    words = [f"{column.title}: {cell}" for column, cell, _ in about if column.kind == "words" and cell]
    told = "\n".join(_flowing([*numbers, *words], console.width - INDENT))
    console.print(Padding(told, (0, 0, 0, INDENT), expand=False), style=style)


def _flowing(parts: Sequence[str], width: int) -> list[str]:
    """The parts in lines, each part on one where it fits."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}{' ' * GAP}{part}" if lines[-1] else part
        lines = [*lines[:-1], longer] if cell_len(longer) <= width or not lines[-1] else [*lines, part]
    return lines
