"""What a round has to do, cut into shards: places of leaves to be filled, and rows of sources, read as they come.

A part of a round knows how many units it has before it makes any: shards are numbered and announced at once, and the
rows of a source are read when their shard's turn comes, in order, so that no list of them all is ever made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flows.plan import Plan, Plot
from seedbed.errors import InputError
from seedbed.records import Unit
from seedbed.sources.raw import Raw
from seedbed.store import Store
from seedbed.store.runs import open_places, open_rows

Units = tuple[tuple[Unit, Plot], ...]
ROWS_AT_ONCE = 8192  # of a source, in a shard of which no step asks a model


@dataclass(frozen=True, slots=True)
class Shard:
    """A slice of the plan: the places from position `first` on."""

    number: int
    first: int
    units: Units

    @property
    def rows(self) -> str:
        """Which rows of the run these are, as people count."""
        return told_rows(self.first, len(self.units))


def told_rows(first: int, n: int) -> str:
    """The rows from position `first` on, as people count."""
    return f"rows {first + 1} to {first + n}" if n > 1 else f"row {first + 1}"


class Places:
    """Places of leaves, each to be filled by a generator."""

    def __init__(self, plan: Plan, places: pa.Table, attempt: int) -> None:
        self._plan, self._places, self._attempt = plan, places, attempt
        self.size, self.a_shard = places.num_rows, plan.shard_rows

    async def take(self, at: int, n: int) -> Units:
        """The units of these places."""
        places = self._places.slice(at, n)
        columns = (places[name].to_pylist() for name in ("method", "leaf", "ordinal", "spent"))
        recipe, plots = self._plan.recipe.name, self._plan.plots
        return tuple(
            (Unit(recipe, method, plots[method, leaf].leaf, ordinal, self._attempt, spent), plots[method, leaf])
            for method, leaf, ordinal, spent in zip(*columns, strict=True)
        )


class RowsOf:
    """Rows of a source, by their numbers in ascending order; asked for in order.

    Where no step asks a model (`at_once`) they are taken in many at a time, as they stand in the file.
    """

    def __init__(self, plan: Plan, plot: Plot, numbers: npt.NDArray[np.int64], attempt: int) -> None:
        self.plot, self.attempt, self.at_once = plot, attempt, plan.asks_nothing
        self.size, self.a_shard = len(numbers), ROWS_AT_ONCE if self.at_once else plan.shard_rows
        self._recipe, self._numbers = plan.recipe.name, numbers
        self._reading: Iterator[Raw] | None = None
        self._next = 0

    async def take(self, at: int, n: int) -> Units:
        """The units of these rows."""
        method, leaf = self.plot.method, self.plot.leaf
        raws = await self.raws(at, n)
        return tuple((Unit(self._recipe, method, leaf, raw.number, self.attempt, 0, raw), self.plot) for raw in raws)

    async def raws(self, at: int, n: int) -> list[Raw]:
        """The rows themselves, read in a thread; lines of JSON are left as text where they are taken in at once.

        Raises InputError where the source has lost rows.
        """
        return await asyncio.to_thread(self._read, self._numbers[at : at + n].tolist())

    def _read(self, numbers: Sequence[int]) -> list[Raw]:
        source = self.plot.leaf.source
        if source is None or not numbers:
            return []
        if self._reading is None or not 0 <= numbers[0] - self._next < ROWS_AT_ONCE:
            self._reading = source.rows(numbers[0], lazily=self.at_once)
        wanted, found = set(numbers), list[Raw]()
        for raw in self._reading:
            if raw.number in wanted:
                found.append(raw)
            if raw.number >= numbers[-1]:
                break
        self._next = numbers[-1] + 1
        if len(found) < len(numbers):
            raise InputError(f"{source.name} has lost rows since the run began: run it again, on the file as it is now")
        return found


Part = Places | RowsOf


class Slice(NamedTuple):
    """Where a shard lies: in which part, and where there; its number, and the position of its first row."""

    part: Part
    at: int
    n: int
    number: int
    first: int


def parts_of(plan: Plan, store: Store, attempt: int) -> list[Part]:
    """What is to be done in a round: rows of sources first, which cost nothing, then places that are open."""
    parts: list[Part] = []
    for plot in plan.plots.values():
        if plot.leaf.source is not None:
            numbers = np.arange(plot.wanted) if attempt == 0 else open_rows(store, plan.run_id, plot.method, attempt)
            parts.append(RowsOf(plan, plot, numbers, attempt))
    parts.append(Places(plan, open_places(store, plan.run_id, attempt, plan.attempts), attempt))
    return [part for part in parts if part.size]


def slices_of(parts: Sequence[Part], number: int, position: int) -> list[Slice]:
    """The parts cut into shards, numbered from `number` on, their rows from `position` on."""
    found = []
    for part in parts:
        for at in range(0, part.size, part.a_shard):
            n = min(part.a_shard, part.size - at)
            found.append(Slice(part, at, n, number, position))
            number, position = number + 1, position + n
    return found


def entries_of(slices: Sequence[Slice]) -> list[tuple[int, int, int]]:
    """(number, first position, rows) of each, as the store announces them."""
    return [(one.number, one.first, one.n) for one in slices]
