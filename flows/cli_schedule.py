"""The command that keeps a recipe growing: by a clock, through Prefect."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.terminal import HOME, Home, RecipePath, say


def schedule(
    recipe: RecipePath,
    cron: Annotated[str, typer.Option(help='When, as cron says it: "0 3 * * *" is three every night.')] = "",
    every: Annotated[float, typer.Option(help="Or every so many minutes.", min=0)] = 0,
    timezone: Annotated[str, typer.Option(help="Whose clock cron means, such as Europe/Oslo.")] = "UTC",
    pool: Annotated[str, typer.Option(help="Deploy to this Prefect work pool instead of serving from here.")] = "",
    home: Home = HOME,
) -> None:
    """Grow what is new in a recipe's documents and leaves, by the clock; it needs a Prefect server.

    Serves until Ctrl-C, or with --pool leaves the work to that pool's workers. Overlaps and runs that come late do
    the work once: whoever is first has the recipe's lease, and the others find nothing to do.
    """
    from seedbed.surroundings import stand_apart

    recipe, home = recipe.absolute(), home.absolute()
    stand_apart()  # before Prefect reads its settings
    from flows.scheduled import deploy, serve, timing

    when = timing(cron, every, timezone)
    if pool:
        say(deploy(recipe, home, when, pool))
    else:
        serve(recipe, home, when)
