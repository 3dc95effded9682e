"""Commands about what was kept: export, versions, diff, refilter."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from flows.terminal import HOME, Home, Json, as_utf8, console, here, open_store, print_json, program, say

NAME = "A version, or a recipe or run (its latest version); the beginning of a version or run will do."
Name = Annotated[str, typer.Argument(help=NAME, callback=as_utf8)]


def export(
    name: Name,
    path: Annotated[Path, typer.Argument(help="The file to write: .jsonl or .parquet.")],
    form: Annotated[str, typer.Option(help="messages, prompt-completion or preference, as TRL reads them.")] = "",
    home: Home = HOME,
) -> None:
    """Write a version's samples for a trainer, in its order: the same version gives the same bytes.

    A run that has not ended has no version; what it has kept so far is written then.
    """
    from exporters.formats import export as write
    from exporters.formats import without_keys
    from flows.keys import keys_in_use
    from flows.show_versions import kept_of
    from seedbed.errors import InputError

    store = open_store(home)
    kept = kept_of(store, name)
    form = form or kept.form
    try:
        rows = write(without_keys(kept.batches, keys_in_use(store)), path, form)
    except ValueError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        why = f"cannot write {path}: {error.strerror}"
        raise InputError(
            f"{why}. Name a file in a folder that is there, has room, and that you may write in"
        ) from error
    say(f"{rows:,} rows of {kept.what} in {path}{kept.rest(form)}")


def versions(home: Home = HOME, as_json: Json = False) -> None:
    """All versions: what was frozen, from what, under which thresholds and reviews."""
    from flows.show_versions import show_versions

    found = open_store(home).rows("SELECT * EXCLUDE (recipe_json) FROM versions ORDER BY entry DESC")
    if as_json:
        print_json(found)
    else:
        show_versions(console(), found, f"{program()} run recipes/starter.yaml{here(home)}")


def diff(
    old: Name,
    new: Name,
    home: Home = HOME,
    rows: Annotated[int, typer.Option(help="How many rows to list; the counts are of all.", min=0)] = 20,
    as_json: Json = False,
) -> None:
    """What came, went and changed from one version to another, and why."""
    from flows.show_versions import show_diff
    from seedbed.store.versions import diff as compare
    from seedbed.store.versions import find_version

    store = open_store(home)
    old, new = find_version(store, old), find_version(store, new)
    found = compare(store, old, new)
    if as_json:
        print_json({"old": old, "new": new, "rows": found})
    else:
        show_diff(console(), (old, new), found, rows)


def refilter(
    name: Name,
    thresholds: Annotated[list[str] | None, typer.Argument(help="STEP=NUMBER, such as critique=4.")] = None,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Make another version under other thresholds and with the reviews so far; no model is called."""
    from flows.edits import check_edits
    from flows.show_versions import show_refiltered
    from seedbed.store.versions import find_version
    from seedbed.store.versions import refilter as make

    store = open_store(home)
    parent = find_version(store, name)
    check_edits(store)
    made = make(store, parent, dict(map(_threshold, thresholds or [])))
    if as_json:
        print_json({"version": made.version, "parent": parent, "samples": made.samples, "new": made.new})
    else:
        show_refiltered(console(), made, f"{program()} diff {parent} {made.version}{here(home)}")


def _threshold(text: str) -> tuple[str, float]:
    from seedbed.errors import InputError

    step, _, number = text.partition("=")
    try:
        cut = float(number)
    except ValueError:
        cut = math.nan
    if not math.isfinite(cut):
        raise InputError(f"{text!r} is no threshold: write STEP=NUMBER, such as critique=4")
    return step, cut
