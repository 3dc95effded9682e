"""The command that asks whether a dear way of judging earns its tokens."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from flows.terminal import HOME, Home, Json, RecipePath, console, print_json, say


def ablate(
    method: Annotated[Literal["debate"], typer.Argument(help="What to weigh: debate.")],
    recipe: RecipePath,
    rows: Annotated[int, typer.Option(help="Answers to judge, half of them with a planted fault.", min=2)] = 40,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Compare one judge, a vote of k and debate at equal tokens, on the taxonomy's own answers with faults planted."""
    import asyncio

    from flows.ablate import ablate as compare
    from flows.ablate import facts, show
    from flows.run import EXIT_CODES, INTERRUPTED, read
    from seedbed.ledger import Stopped

    try:
        table = asyncio.run(compare(read(recipe), home, rows))
    except Stopped as stop:
        say(f"Stopped: {stop}. Nothing is lost: the same command goes on from here.", err=True)
        raise typer.Exit(EXIT_CODES["interrupted" if str(stop) == INTERRUPTED else "budget"]) from None
    if as_json:
        print_json(facts(table))
    else:
        show(console(), table)
