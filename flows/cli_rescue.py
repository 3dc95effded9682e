"""What `seedbed doctor --rescue` prints: what was saved of a damaged store, what was lost, and what to do now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flows.screen import Screen
from flows.tables import Column, show_table
from flows.terminal import console, here, print_json, program, say
from seedbed.rescue import Rescued, rescue
from seedbed.store.salvage import Copied


def save(home: Path, as_json: bool) -> None:
    """Rescue the store of a home and tell of it. Raises InputError and StoreError as `rescue` does."""
    done = rescue(home)
    if as_json:
        print_json(_facts(done))
        return
    out = console()
    say(str(done.damage))
    _show_tables(out, done)
    for told in _lines(done, f"{program()} run RECIPE{here(home)}"):
        say(told)


def _facts(done: Rescued) -> dict[str, object]:
    return {
        "damage": done.damage.why,
        "means": done.means,
        "tables": [
            {"table": copied.table, "kept": copied.kept, "lost": copied.lost, "without": dict(copied.without)}
            for copied in done.tables
        ],
        "runs": [run for run, _ in done.aftermath.runs],
        "versions": done.aftermath.versions,
        "old": str(done.old),
        "taken_in": done.taken_in,
    }


def _show_tables(out: Screen, done: Rescued) -> None:
    columns = [Column("table", "name"), Column("saved", "number"), Column("lost", "number")]
    rows = [
        [copied.table, f"{copied.kept:,}", _lost(copied)] for copied in done.tables if copied.kept or copied.lost != 0
    ]
    if rows:
        show_table(out, columns, rows)


def _lost(copied: Copied) -> str:
    return "all, nobody knows how many" if copied.lost is None else f"{copied.lost:,}"


def _lines(done: Rescued, run_again: str) -> Iterator[str]:
    if done.means is None:
        yield "Nothing could open it, so the new store is empty."
    elif done.means:
        yield f"It was opened {done.means}."
    for copied in done.tables:
        for column, rows in copied.without.items():
            yield f"{rows:,} rows of {copied.table} are without their {column}; their answers are there."
    yield f"The old file is {done.old}, as it was."
    if done.taken_in:
        yield f"{done.taken_in:,} calls were taken in from the journals of killed runs."
    yield from _what_now(done, run_again)


def _what_now(done: Rescued, run_again: str) -> Iterator[str]:
    for run, recipe in done.aftermath.runs:
        yield f"Run {run} of {recipe or 'an unknown recipe'} lacks rows. Run its recipe again: {run_again}"
    for version in done.aftermath.versions:
        yield f"Version {version} lacks rows, which come back with those of its runs where they do."
    if backups := sorted(path.name for path in done.old.parent.glob("*-backup")):
        yield f"Copies from before updates, with what was in the store then: {', '.join(backups)}"
    yield "What is recorded is not paid for again; calls that were lost are made again when they are needed."
