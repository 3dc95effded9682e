"""What the version commands show: what may be exported, the versions, the difference of two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import orjson
import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.report import Row
from seedbed.store import Store
from seedbed.store.runs import find_run, kept_batches
from seedbed.store.versions import Version, find_version, version_batches


class Kept(NamedTuple):
    """What an export may write: a version, or what a run that has not ended has kept so far."""

    what: str
    batches: Iterator[pa.Table]
    kinds: dict[str, int]
    note: str

    @property
    def form(self) -> str:
        """Pairs where there is nothing else, chats otherwise."""
        return "preference" if set(self.kinds) == {"preference"} else "messages"

    def rest(self, form: str) -> str:
        """What else is to be said: the state of the run, and how to write the samples of other kinds."""
        pairs = self.kinds.get("preference", 0)
        others = sum(self.kinds.values()) - pairs
        left, way = (others, "messages") if form == "preference" else (pairs, "preference")
        return self.note + (f"; {left} others with --form {way}" if left else "")


def kept_of(store: Store, name: str) -> Kept:
    """The samples of a version, or of the latest one of a recipe or run; those kept so far where there is none."""
    run_id = _run_or_none(store, name)
    running = run_id and store.rows(
        "SELECT status FROM runs WHERE run_id = ? AND run_id NOT IN (SELECT run_id FROM versions)", [run_id]
    )
    if running:
        kinds = "SELECT kind, count(*) AS n FROM samples WHERE run_id = ? AND status = 'kept' GROUP BY kind"
        counts = {str(row["kind"]): int(str(row["n"])) for row in store.rows(kinds, [run_id])}
        note = f" (the run is {running[0]['status']}: this is what it has kept so far)"
        return Kept(f"run {run_id}", kept_batches(store, run_id), counts, note)
    version = find_version(store, name)
    kinds = "SELECT kind, count(*) AS n FROM version_samples WHERE version = ? AND kept GROUP BY kind"
    counts = {str(row["kind"]): int(str(row["n"])) for row in store.rows(kinds, [version])}
    return Kept(version, version_batches(store, version), counts, "")


def _run_or_none(store: Store, name: str) -> str:
    if store.rows("SELECT 1 AS one FROM base.versions WHERE version = ?", [name]):
        return ""
    return find_run(store, name)


def show_versions(console: Console, found: list[Row], begin: str) -> None:
    """Print the versions, latest first."""
    if not found:
        console.print(f"No version yet: a run that ends makes one. Begin with:  [bold]{escape(begin)}[/]")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("version", "samples", "left out", "parent", "thresholds", "reviews", "made"):
        table.add_column(name, justify="right" if name in ("samples", "left out", "reviews") else "left")
    for row in found:
        cuts = ", ".join(f"{step}={cut:g}" for step, cut in orjson.loads(str(row["thresholds"])).items())
        cells = (row["version"], row["samples"], row["left_out"], row["parent"] or "-", cuts or "the recipe's")
        table.add_row(*map(str, cells), str(row["reviews"]), f"{row['created_at']:%Y-%m-%d %H:%M}")
    console.print(table)


def show_diff(console: Console, names: tuple[str, str], found: list[Row], rows: int) -> None:
    """Print the counts by what and why, then the first rows."""
    console.print(f"from {names[0]} to {names[1]}")
    if not found:
        console.print("no difference")
        return
    for (what, why), n in Counter((str(row["what"]), str(row["why"])) for row in found).most_common():
        console.print(f"{n:6} {what:8} {why}", markup=False)
    for row in found[:rows]:
        text = " ".join(str(row["question"]).split())
        console.print(f"{row['what']:8} {row['sample_id']} {row['leaf']}: {text[:60]} ({row['why']})", markup=False)
    if len(found) > rows:
        console.print(f"and {len(found) - rows} more (--rows, or --json for all)", style="dim")


def show_refiltered(console: Console, parent: str, made: Version, compare: str) -> None:
    """Print what a refilter made, and how to see the difference."""
    if not made.new:
        console.print(f"nothing changed: {parent} is what these thresholds and the reviews so far choose")
        return
    console.print(f"{made.version}: {made.samples} samples, {made.left_out} left out; no model was called")
    console.print(f"[bold]{escape(compare)}[/]  what came and went, and why")
