"""What the version commands show: what may be exported, the versions, the difference of two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import orjson
import pyarrow as pa

from flows.report import Row
from flows.screen import Screen, line
from flows.tables import Column, show_table
from seedbed.store import Store
from seedbed.store.runs import find_run, kept_batches
from seedbed.store.versions import Version, find_version, version_batches

VERSIONS_SHOWN, TEXT_SHOWN = 50, 60  # versions, and characters of a question


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
    """The run that is named, whole or by its beginning, or by its recipe; "" where that is a version."""
    known = "SELECT 1 FROM base.runs WHERE $name IN (run_id, recipe)"
    named = f"version = $name OR (starts_with(version, $name) AND NOT EXISTS ({known}))"
    return (
        "" if store.rows(f"SELECT 1 AS one FROM base.versions WHERE {named}", {"name": name}) else find_run(store, name)
    )


def show_versions(console: Screen, found: list[Row], begin: str) -> None:
    """Print the versions, latest first."""
    if not found:
        console.print(line("No version yet: a run that ends makes one. Begin with:  ", (begin, "bold")))
        return
    columns = [Column("version", "name"), Column("samples", "number"), Column("left out", "number"), Column("parent")]
    columns += [Column("thresholds"), Column("reviews", "number"), Column("made")]
    rows = []
    for row in found[:VERSIONS_SHOWN]:
        cuts = ", ".join(f"{step}={cut:g}" for step, cut in orjson.loads(str(row["thresholds"])).items())
        cells = [str(row["version"]), f"{row['samples']:,}", f"{row['left_out']:,}", str(row["parent"] or "-")]
        rows.append([*cells, cuts or "the recipe's", f"{row['reviews']:,}", f"{row['created_at']:%Y-%m-%d %H:%M}"])
    show_table(console, columns, rows)
    if len(found) > len(rows):
        console.print(f"… and {len(found) - len(rows):,} earlier versions: --json has all", style="dim")


def show_diff(console: Screen, names: tuple[str, str], found: list[Row], rows: int) -> None:
    """Print the counts by what and why, then the first rows."""
    console.print(f"from {names[0]} to {names[1]}")
    if not found:
        console.print("no difference")
        return
    for (what, why), n in Counter((str(row["what"]), str(row["why"])) for row in found).most_common():
        console.print(f"{n:6,} {what:8} {why}")
    for row in found[:rows]:
        text = " ".join(str(row["question"]).split())
        text = text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"
        console.print(f"{row['what']:8} {row['sample_id']} {row['leaf']}: {text} ({row['why']})")
    if len(found) > rows:
        console.print(f"and {len(found) - rows:,} more (--rows, or --json for all)", style="dim")


def show_refiltered(console: Screen, made: Version, compare: str) -> None:
    """Print what a refilter made, and how to see the difference."""
    if not made.new:
        console.print(f"nothing changed: {made.version} is what these thresholds and the reviews so far choose")
        return
    console.print(f"{made.version}: {made.samples:,} samples, {made.left_out:,} left out; no model was called")
    console.print(line((compare, "bold"), "  what came and went, and why"), soft_wrap=True)
