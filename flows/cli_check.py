"""The command that reads everything a recipe names, and asks no model."""

from __future__ import annotations

import typer

from flows.terminal import Json, RecipePath, console, print_json


def check(recipe: RecipePath, as_json: Json = False) -> None:
    """Read a recipe and all that it names, without a model: taxonomy, documents, and every row of its sources.

    Rows that do not fit are counted by reason, with their lines. Exit code 1 where a source has no row that fits.
    """
    from flows.methods import methods
    from flows.run import read
    from flows.understood import show, sources_of, understood

    seedbed = read(recipe)
    kinds = {kind: sum(leaf.kind == kind for leaf in seedbed.leaves) for kind in ("skill", "knowledge", "requests")}
    found = [understood(plot) for plot in sources_of(seedbed.recipe, seedbed.leaves, methods())]
    if as_json:
        print_json({"recipe": seedbed.recipe.name, "leaves": kinds, "sources": [one.facts() for one in found]})
    else:
        screen = console()
        told = ", ".join(f"{n:,} of {kind}" for kind, n in kinds.items() if n) or "none"
        state = "is sound" if all(one.fit for one in found) else "can be read, but has a source of which no row fits"
        screen.print(f"{recipe}: the recipe {seedbed.recipe.name} {state}; leaves of taxonomy and documents: {told}")
        for one in found:
            show(screen, one)
    raise typer.Exit(0 if all(one.fit for one in found) else 1)
