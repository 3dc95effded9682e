"""What the version commands show: the versions, the difference of two."""

from __future__ import annotations

from collections import Counter

import orjson

from flows.report import Row
from flows.screen import Screen, line
from flows.tables import Column, show_table
from seedbed.store.versions import Version

VERSIONS_SHOWN, TEXT_SHOWN = 50, 60  # versions, and characters of a question


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
