"""What `seedbed push` shows: the tree, the card's head, what was looked at, what would change, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from exporters.hub import Changes, Pushed
from flows.publish import Built

CARD_LINES = 24
PATHS_SHOWN = 8


def facts(built: Built, pushed: Pushed | None) -> dict[str, object]:
    """A build and, if it was pushed, the push, as plain values."""
    told = asdict(built) | {"publication": built.publication.model_dump(), "folder": str(built.folder)}
    return told | {"pushed": asdict(pushed) if pushed else None}


def show_built(console: Console, built: Built, command: str) -> None:
    """Print a dry run, and the command that would publish."""
    console.print(f"{built.version} in {escape(str(built.folder))}, nothing was sent")
    _files(console, built)
    console.rule("card", align="left", style="dim")
    lines = built.card.splitlines()
    console.print("\n".join(lines[:CARD_LINES]), markup=False)
    if len(lines) > CARD_LINES:
        console.print(f"… {len(lines) - CARD_LINES} more lines in README.md", style="dim")
    console.rule("checks", align="left", style="dim")
    for note in built.notes:
        console.print(f"[green]ok  [/] {escape(note)}")
    for problem in built.problems:
        console.print(f"[red]bad [/] {escape(problem)}")
    console.rule(escape(built.publication.repo or "the Hub"), align="left", style="dim")
    for line in told_changes(built):
        console.print(line, markup=False)
    refusals = built.changes.refusals if built.changes else ()
    for refusal in refusals:
        console.print(f"[red]bad [/] {escape(refusal)}")
    console.rule("next", align="left", style="dim")
    if built.problems or refusals:
        console.print("Mend what is marked bad, then try again; nothing can be pushed before.")
    else:
        console.print(f"[bold]{escape(command)}[/]  publishes exactly this")


def show_pushed(console: Console, built: Built, pushed: Pushed) -> None:
    """Print what is now on the Hub."""
    what = "published" if pushed.committed else "nothing to do, the Hub has it already"
    console.print(f"{built.version}: {what}, revision {pushed.revision}; {pushed.tag}")
    console.print(escape(pushed.url))


def _files(console: Console, built: Built) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("rows", justify="right")
    table.add_column("bytes", justify="right")
    for file in built.files:
        table.add_row(escape(file.path), "" if file.rows is None else f"{file.rows:,}", f"{file.size:,}")
    console.print(table)


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
