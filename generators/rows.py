"""Rows that the user has already: from files, folders or a data set of the Hub, taken in as they are.

No model is asked. A row that does not fit is a failed row with its line and reason: nothing is guessed, and nothing of
it goes further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ConfigDict, Field

from seedbed.engines import Engines
from seedbed.records import Draft, Frozen, Leaf, Unit
from seedbed.sources import Columns, Source, open_source, understand

UNASSIGNED = "unassigned"


class Rows(Frozen):
    """Where rows come from, which of their columns is what, and on which leaf each stands."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    source: str = Field(
        alias="from",
        min_length=1,
        description="A file (.jsonl, .json, .csv, .parquet), a folder or pattern of them from the recipe's folder, or "
        "hf://datasets/OWNER/NAME.",
    )
    columns: Columns | None = Field(
        default=None, description="Which column is what, where the usual names do not say; then nothing else is read."
    )
    leaf: str | None = Field(default=None, description=f"The column that says a row's leaf; left out, {UNASSIGNED}.")
    leaves: Mapping[str, str] | None = Field(
        default=None, description="The leaf of each value of that column, where it is not the value itself."
    )


def opened(options: Rows, folder: Path) -> Source:
    """The source, looked at but not read. Raises BadInput."""
    return open_source(options.source, folder)


def leaves(taxonomy: Sequence[Leaf], options: Rows) -> list[Leaf]:
    """The source as the place that this method's rows come from."""
    return [leaf for leaf in taxonomy if leaf.source is not None and leaf.path == f"rows/{options.source}"]


def wanted(leaf: Leaf, options: Rows) -> int:
    """How many rows the source has."""
    return leaf.source.count() if leaf.source else 0


async def rows(unit: Unit, engines: Engines, options: Rows) -> Draft:
    """One row of the source. Raises Misfit."""
    return row(unit, options)


def row(unit: Unit, options: Rows) -> Draft:
    """One row of the source. Raises Misfit where it is no row of any kind, naming its file, line and fault."""
    raw = unit.item
    if raw is None:
        raise ValueError("a unit of a source has a row")
    found = understand(raw, options.columns, options.leaf, options.leaves)
    return Draft(
        content=found.content,
        kind=found.kind,
        parents=(f"{unit.leaf.path}#{raw.number}",),
        author=found.author,
        leaf=found.leaf or UNASSIGNED,
    )
