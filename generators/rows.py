"""Rows that the user has already: from files, folders or a data set of the Hub, taken in as they are.

No model is asked. A row that does not fit is a failed row with its line and reason: nothing is guessed, and nothing of
it goes further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from seedbed.engines import Engines
from seedbed.records import Draft, Frozen, Leaf, Unit
from seedbed.sources.columns import UNASSIGNED, Columns
from seedbed.sources.files import open_source
from seedbed.sources.forms import understand
from seedbed.sources.misfit import Misfit
from seedbed.sources.raw import Raw
from seedbed.sources.source import Source

KIND = "instruction"  # of a row of which nobody knows what it is


class Rows(Frozen):
    """Where rows come from, which of their columns is what, and on which leaf each stands."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    source: str = Field(
        alias="from",
        min_length=1,
        description="A file (.jsonl, .json, .csv, .parquet), a folder or pattern of them from the recipe's folder, or "
        "hf://datasets/OWNER/NAME.",
    )
    columns: Columns = Field(
        default=Columns(), description="Which column is what, where the usual names do not say; then nothing else is."
    )
    leaf: str | None = Field(default=None, description=f"The column of a row's leaf; left out, {UNASSIGNED}.")
    leaves: Mapping[str, str] = Field(
        default={}, description="The leaf of each value of that column, where it is not the value itself."
    )

    @cached_property
    def told(self) -> Columns:
        """The columns with the one of the leaf among them."""
        given = self.columns.model_dump(exclude_unset=True)
        given |= {"leaf": self.leaf} if self.leaf else {}
        return Columns.model_validate(given | ({"leaves": self.leaves} if self.leaves else {}))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self.told  # noqa: B018 # raises what is wrong with the two together
        return self


def opened(options: Rows, folder: Path) -> Source:
    """The source, looked at but not read. Raises BadInput."""
    return open_source(options.source, folder)


def leaves(taxonomy: Sequence[Leaf], options: Rows) -> list[Leaf]:
    """The source as the place that this method's rows come from."""
    return [leaf for leaf in taxonomy if leaf.source is not None and leaf.pattern == options.source]


def wanted(leaf: Leaf, options: Rows) -> int:
    """How many rows the source has."""
    return leaf.source.count() if leaf.source else 0


async def rows(unit: Unit, engines: Engines, options: Rows) -> Draft:
    """One row of the source. Raises Misfit."""
    return row(unit, options)


def _place(leaf: Leaf, raw: Raw) -> str:
    """Where a row stands: its file and line; of a data set of the Hub behind its name and commit."""
    within = f"{leaf.path}@{leaf.revision}" if leaf.revision else "rows"
    return f"{within}/{raw.file}#{raw.line}"


def row(unit: Unit, options: Rows) -> Draft:
    """One row of the source. Raises Misfit where it is no row of any kind, naming its file, line and fault."""
    raw = unit.item
    if raw is None:
        raise ValueError("a unit of a source has a row")
    if raw.problem:
        raise Misfit("it cannot be read", f"{raw.file}, line {raw.line}: {raw.problem}")
    try:
        found = understand(raw.row, options.told, text=raw.text)
    except Misfit as misfit:
        raise Misfit(misfit.reason, f"{raw.file}, line {raw.line}: {misfit}") from misfit
    return Draft(
        content=found.content,
        kind=found.kind,
        parents=(_place(unit.leaf, raw),),
        author=found.author,
        leaf=found.leaf,
    )
