"""What `seedbed push` shows: the tree, the card's head, what was looked at, what would change, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from exporters.hub import Changes, Pushed
from flows.publish import Built
from flows.screen import Screen, line
from flows.tables import Column, show_table

CARD_LINES = 24
PATHS_SHOWN = 8


def facts(built: Built, pushed: Pushed | None) -> dict[str, object]:
    """A build and, if it was pushed, the push, as plain values."""
    told = asdict(built) | {"publication": built.publication.model_dump(), "folder": str(built.folder)}
    return told | {"pushed": asdict(pushed) if pushed else None}


def show_built(console: Screen, built: Built, command: str) -> None:
    """Print a dry run, and the command that would publish."""
    console.print(f"{built.version} in {built.folder}, nothing was sent")
    _files(console, built)
    console.heading("card")
    lines = built.card.splitlines()
    console.print("\n".join(lines[:CARD_LINES]))
    if len(lines) > CARD_LINES:
        console.print(f"… {len(lines) - CARD_LINES} more lines in README.md", style="dim")
    console.heading("checks")
    for note in built.notes:
        console.print(line(("ok  ", "green"), f" {note}"))
    for problem in built.problems:
        console.print(line(("bad ", "red"), f" {problem}"))
    console.heading(built.publication.repo or "the Hub")
    for told in told_changes(built):
        console.print(told)
    refusals = built.changes.refusals if built.changes else ()
    for refusal in refusals:
        console.print(line(("bad ", "red"), f" {refusal}"))
    console.heading("next")
    if built.problems or refusals:
        console.print("Mend what is marked bad, then try again; nothing can be pushed before.")
    else:
        console.print(line((command, "bold"), "  publishes exactly this"), soft_wrap=True)


def show_pushed(console: Screen, built: Built, pushed: Pushed) -> None:
    """Print what is now on the Hub."""
    what = "published" if pushed.committed else "nothing to do, the Hub has it already"
    console.print(f"{built.version}: {what}, revision {pushed.revision}; {pushed.tag}")
    console.print(pushed.url)


def _files(console: Screen, built: Built) -> None:
    columns = [Column("file", "name"), Column("rows", "number"), Column("bytes", "number")]
    rows = [[file.path, "" if file.rows is None else f"{file.rows:,}", f"{file.size:,}"] for file in built.files]
    show_table(console, columns, rows)


def told_changes(built: Built) -> Iterator[str]:
    """What a push would do to the repository, line by line."""
    changes = built.changes
    if changes is None:
        yield f"not asked what is there: {built.unasked}"
        return
    seen = "public" if built.publication.public else "private"
    if not changes.head:
        yield f"no such data set yet, or the token may not see it: it would be made, {seen}"
    elif changes.none:
        yield f"at revision {changes.head}: exactly this tree, so there is nothing to do"
    else:
        yield f"at revision {changes.head}; one commit on it would"
    yield from _lists(changes)


def _lists(changes: Changes) -> Iterator[str]:
    for what, paths in (
        ("add", changes.added),
        ("change", changes.changed),
        ("remove (ours, of an older version)", changes.removed),
        ("leave alone (not ours)", changes.left),
    ):
        if paths:
            more = f" and {len(paths) - PATHS_SHOWN} more" if len(paths) > PATHS_SHOWN else ""
            yield f"  {what}: {', '.join(paths[:PATHS_SHOWN])}{more}"
