"""The command line. Results on stdout, progress on stderr; exit 0 done, 1 failed, 2 usage, 3 budget, 130 interrupted.

Each command imports what it needs when it runs: `seedbed --help` answers at once.
"""

from __future__ import annotations

import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from flows.cli_ablate import ablate
from flows.cli_check import check
from flows.cli_publish import push
from flows.cli_review import review
from flows.cli_schedule import schedule
from flows.cli_training import evaluate, train
from flows.cli_versions import diff, export, refilter, versions
from flows.terminal import (
    HOME,
    Home,
    Json,
    RecipePath,
    as_utf8,
    console,
    here,
    make_ready,
    open_store,
    print_csv,
    print_json,
    program,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from flows.run import Outcome

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print what an error holds as it is
    help="Grow, weed and keep alignment data.",
)


@app.command()
def run(
    recipe: RecipePath,
    home: Home = HOME,
    only_new: Annotated[bool, typer.Option("--only-new", help="Only new documents and changed leaves.")] = False,
    max_tokens: Annotated[int | None, typer.Option(help="Stop after so many tokens, in and out.", min=1)] = None,
    max_usd: Annotated[float | None, typer.Option(help="Stop after so many US dollars.", min=1e-6)] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes.", min=1e-6)] = None,
    as_json: Json = False,
) -> None:
    """Grow a recipe: generate, curate and store until every leaf has its target or its tries are spent.

    The same command goes on where a stopped run left off, and costs nothing when there is nothing left to do. Limits
    count from its start, go before those of the recipe's budget, and stop it between calls, with exit code 3.
    """
    from flows.report import Call, facts, show
    from flows.run import EXIT_CODES

    given = {"tokens": max_tokens, "usd": max_usd, "minutes": max_minutes}
    outcome = _grow(recipe, home, None, only_new, {name: limit for name, limit in given.items() if limit is not None})
    store = open_store(home)
    if outcome.status == "unchanged":
        found = {"status": outcome.status, "message": outcome.message, "version": outcome.version}
        print_json(found) if as_json else say(f"{outcome.message}; the latest version is {outcome.version}")
    elif as_json:
        print_json({"status": outcome.status, "message": outcome.message, **facts(store, outcome.plan)})
    else:
        typed = shlex.join(sys.argv[1:])
        show(console(), store, outcome, Call(program(), here(home), typed, shlex.quote(str(recipe))))
    raise typer.Exit(EXIT_CODES[outcome.status])


@app.command()
def preview(
    recipe: RecipePath,
    rows: Annotated[int, typer.Option(help="How many rows to make.", min=1, max=200)] = 4,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Make a few rows and show them whole, with the cost and time of the full run estimated from them."""
    from flows.preview import facts, show
    from flows.run import EXIT_CODES

    outcome = _grow(recipe, home, rows)
    store = open_store(home)
    if as_json:
        print_json(facts(store, outcome))
    else:
        show(console(), store, outcome, f"{program()} run {shlex.quote(str(recipe))}{here(home)}")
    raise typer.Exit(EXIT_CODES[outcome.status])


@app.command()
def status(
    run: Annotated[str, typer.Argument(help="One run: its id or the beginning of it, or its recipe.")] = "",
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """All runs, and the leaves of the latest; or one run, and its leaves."""
    from flows.report import Call
    from flows.show import show_runs
    from seedbed.standing import runs
    from seedbed.store.runs import find_run

    store = open_store(home)
    named = find_run(store, run) if run else ""
    found = [one for one in runs(store) if named in ("", one["run_id"])]
    if as_json:
        print_json(found)
    else:
        show_runs(console(), store, found, Call(program(), here(home)))


@app.command()
def why(
    sample_id: Annotated[str, typer.Argument(help="A sample's id, or its beginning.", callback=as_utf8)],
    home: Home = HOME,
    full: Annotated[bool, typer.Option("--full", help="Show the prompts and raw answers too.")] = False,
    as_json: Json = False,
) -> None:
    """A sample's whole life: where it came from, what was said of it, what it cost."""
    from flows.show import life, show_life

    lives = life(open_store(home), sample_id)
    if as_json:
        print_json(lives)
    else:
        show_life(console(), lives, full)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One statement that reads.", callback=as_utf8)],
    home: Home = HOME,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Let it do more than read the store: read and write files, say.")
    ] = False,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV for programs, in UTF-8.")] = False,
    limit: Annotated[
        int | None, typer.Option(help="Rows to print; left out: 100, or 20 that are too wide for a table.", min=1)
    ] = None,
) -> None:
    """Ask the store anything; also while a run writes.

    A table cuts long values and says so; --json and --csv have every value whole. CSV into a file or pipe holds the
    data exactly as they are, also what a spreadsheet would take for a formula or a terminal for a command.
    """
    from flows import show_rows
    from flows.show import sql as ask
    from seedbed.errors import InputError

    if as_json and as_csv:
        raise InputError("--json and --csv are two forms of one answer: choose one")
    answer = ask(open_store(home), statement, unsafe)
    if as_json:
        print_json(show_rows.as_objects(answer.slice(0, limit)))
    elif as_csv:
        print_csv(show_rows.as_csv(answer.slice(0, limit)))
    else:
        show_rows.show_rows(console(), answer, limit)


@app.command()
def schema() -> None:
    """The JSON schema of a recipe, for editors."""
    from flows.methods import methods
    from seedbed.recipe import recipe_schema

    known = methods()
    print_json(recipe_schema(known.generator_options(), known.curator_options()))


@app.command()
def doctor(
    recipe: Annotated[Path | None, typer.Argument(help="Also check the models that this recipe asks for.")] = None,
    home: Home = HOME,
    rescue: Annotated[
        bool, typer.Option("--rescue", help="Save what can be read of a damaged store into a new one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What is installed, what works, and what to do about the rest."""
    from flows.doctor import examine, show

    if rescue:
        from flows.cli_rescue import save

        save(home, as_json)
        return
    checks = examine(home, recipe)
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        show(console(), checks)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def main() -> NoReturn:
    """Run the command line; every error we know says what, where and what to do next, and a bug its traceback."""
    make_ready()
    try:
        app(standalone_mode=True)
    except Exception as error:
        code = _exit_code(error)
        say("".join(traceback.format_exception(error)).rstrip() if code is None else str(error), err=True)
        sys.exit(1 if code is None else code)
    sys.exit(0)


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error that its message explains; None for a bug, whose traceback is wanted."""
    from exporters.hub_client import HubError
    from seedbed.engines import EngineError
    from seedbed.errors import InputError
    from seedbed.journal import RunBusy
    from seedbed.prompts import BadPrompt
    from seedbed.store import StoreError
    from seedbed.yamlfile import BadInput
    from trainer.process import TrainingFailed

    if isinstance(error, BadInput | InputError | BadPrompt):
        return 2
    ours = StoreError | EngineError | RunBusy | HubError | TrainingFailed | OSError
    return 1 if isinstance(error, ours) else None


def _grow(
    recipe: Path, home: Path, rows: int | None, only_new: bool = False, limits: dict[str, float] | None = None
) -> Outcome:
    from flows.run import grow, grow_new, prefect_api, read

    try:
        if prefect_api():
            from flows.tracked import grow_tracked

            return _in_loop(grow_tracked(str(recipe), str(home), rows, only_new, limits))
        from flows.display import watch

        if only_new:
            return _in_loop(grow_new(read(recipe, limits), home, watch=watch))
        return _in_loop(grow(read(recipe, limits), home, rows, watch=watch))
    except KeyboardInterrupt:  # a second Ctrl-C, or one before the run was under way
        say("Interrupted. Nothing is lost: the same command goes on from here.", err=True)
        raise typer.Exit(130) from None


def _in_loop(work: Coroutine[None, None, Outcome]) -> Outcome:
    try:
        import uvloop
    except ImportError:  # Windows
        import asyncio

        return asyncio.run(work)
    return uvloop.run(work)


for command in (check, export, versions, diff, refilter, review, train, evaluate, push, ablate, schedule):
    app.command()(command)
