"""Commands about what was kept: export, versions, diff, refilter."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.terminal import HOME, Home, Json, as_utf8, console, here, open_store, print_json, program, say
from seedbed.kinds import FORMS

NAME = "A version, or a recipe or run (its latest version); the beginning of a version or run will do."
Split = Literal["train", "test", "all"]
Passages = Literal["prompt", "left-out"]
Name = Annotated[str, typer.Argument(help=NAME, callback=as_utf8)]


def export(
    name: Name,
    path: Annotated[Path, typer.Argument(help="The file to write: .jsonl, .parquet or, for spreadsheets, .csv.")],
    form: Annotated[str, typer.Option(help=f"One of {', '.join(FORMS)}; the usual one if left out.")] = "",
    leaf: Annotated[str, typer.Option(help="Only rows of this leaf of the taxonomy, and of what is under it.")] = "",
    where: Annotated[str, typer.Option(help="Only rows of which this SQL condition holds, such as critique > 4.")] = "",
    split: Annotated[
        Split | None, typer.Option(help="Only one side, or all in one file. Left out, held-out rows go beside FILE.")
    ] = None,
    held_out: Annotated[float, typer.Option(help="Share held out for tests.", min=0, max=1)] = 0.1,
    bare: Annotated[
        bool, typer.Option("--bare", help="The form's columns only: no id, leaf, scores and so on.")
    ] = False,
    reasoning: Annotated[
        bool, typer.Option("--reasoning", help="With the reasoning of models, where there is any.")
    ] = False,
    passages: Annotated[
        Passages, typer.Option(help="Whether the texts that questions are about stand in the prompt.")
    ] = "prompt",
    home: Home = HOME,
) -> None:
    """Write a version's samples for a trainer, in its order: the same version gives the same bytes.

    The held-out rows go to a second file: rows.test.jsonl beside rows.jsonl. A run that has not ended has no version;
    what it has kept so far is written then.
    """
    from flows.export import Asked
    from flows.export import export as write
    from seedbed.store.selection import Only

    only, in_prompt = Only(leaf.strip("/"), where), passages == "prompt"
    asked = Asked(form, split or "apart", only, held_out, bare, reasoning, in_prompt)
    say(write(open_store(home), name, path, asked))


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
    from flows.selections import refiltered
    from flows.show_versions import show_refiltered
    from seedbed.store.versions import find_version

    store = open_store(home)
    parent = find_version(store, name)
    made = refiltered(store, parent, dict(map(_threshold, thresholds or [])))
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
