"""The command line. Results on stdout, progress on stderr; exit 0 done, 1 failed, 2 usage, 3 budget, 130 interrupted.

Each command imports what it needs when it runs: `seedbed --help` answers at once.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from rich.console import Console

    from flows.run import Outcome
    from seedbed.store import Store

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Grow, weed and keep alignment data.")

Home = Annotated[Path, typer.Option("--home", envvar="SEEDBED_HOME", help="Folder of the store.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RecipePath = Annotated[Path, typer.Argument(help="A recipe, such as recipes/starter.yaml.")]
HOME = Path(".seedbed")


@app.command()
def run(recipe: RecipePath, home: Home = HOME, as_json: Json = False) -> None:
    """Grow a recipe: generate, curate and store until every leaf has its target or its tries are spent.

    The same command goes on where a stopped run left off, and costs nothing when there is nothing left to do.
    """
    from flows.report import facts, show
    from flows.run import EXIT_CODES

    outcome = _grow(recipe, home, None)
    store = _store(home)
    if as_json:
        _print_json({"status": outcome.status, "message": outcome.message, **facts(store, outcome.plan.run_id)})
    else:
        show(_console(), store, outcome, _program(), shlex.join(sys.argv[1:]), _here(home))
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
    found = facts(_store(home), outcome)
    if as_json:
        _print_json(found)
    else:
        show(_console(), found, f"{_program()} run {shlex.quote(str(recipe))}{_here(home)}")
    raise typer.Exit(EXIT_CODES[outcome.status])


@app.command()
def status(home: Home = HOME, as_json: Json = False) -> None:
    """All runs, and the leaves of the latest."""
    from flows.show import runs, show_runs

    store = _store(home)
    found = runs(store)
    if as_json:
        _print_json(found)
    else:
        show_runs(_console(), store, found)


@app.command()
def why(
    sample_id: Annotated[str, typer.Argument(help="A sample's id, or its beginning.")],
    home: Home = HOME,
    full: Annotated[bool, typer.Option("--full", help="Show the prompts and raw answers too.")] = False,
    as_json: Json = False,
) -> None:
    """A sample's whole life: where it came from, what was said of it, what it cost."""
    from flows.show import life, show_life

    lives = life(_store(home), sample_id)
    if as_json:
        _print_json(lives)
    else:
        show_life(_console(), lives, full)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One read-only statement.")], home: Home = HOME, as_json: Json = False
) -> None:
    """Ask the store anything; also while a run writes."""
    from flows.show import show_rows
    from flows.show import sql as ask

    rows = ask(_store(home), statement)
    if as_json:
        _print_json(rows)
    else:
        show_rows(_console(), rows)


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="A recipe's name (its latest run) or a run's id.")],
    path: Annotated[Path, typer.Argument(help="The file to write: .jsonl or .parquet.")],
    form: Annotated[str, typer.Option(help="messages or prompt-completion, as TRL reads them.")] = "messages",
    home: Home = HOME,
) -> None:
    """Write the kept samples of a run for a trainer, in the plan's order: the same run gives the same bytes."""
    from exporters.formats import export as write
    from seedbed.errors import InputError
    from seedbed.store.runs import find_run, kept_batches

    store = _store(home)
    run_id = find_run(store, name)
    try:
        rows = write(kept_batches(store, run_id), path, form)
    except ValueError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        why = f"cannot write {path}: {error.strerror}"
        raise InputError(
            f"{why}. Name a file in a folder that is there, has room, and that you may write in"
        ) from error
    state = store.rows("SELECT status FROM runs WHERE run_id = ?", [run_id])[0]["status"]
    note = "" if state == "done" else f" (the run is {state}: this is what it has kept so far)"
    typer.echo(f"{rows} rows of run {run_id} in {path}{note}")


@app.command()
def schema() -> None:
    """The JSON schema of a recipe, for editors."""
    from flows.methods import methods
    from seedbed.recipe import recipe_schema

    known = methods()
    _print_json(recipe_schema(known.generator_options(), known.curator_options()))


@app.command()
def doctor(
    recipe: Annotated[Path | None, typer.Argument(help="Also check the models that this recipe asks for.")] = None,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """What is installed, what works, and what to do about the rest."""
    from flows.doctor import examine, show

    checks = examine(home, recipe)
    if as_json:
        _print_json([check._asdict() for check in checks])
    else:
        show(_console(), checks)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def main() -> NoReturn:
    """Run the command line; every error we know says what, where and what to do next."""
    try:
        app(standalone_mode=True)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        typer.echo(str(error), err=True)
        sys.exit(code)
    sys.exit(0)


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error that its message explains; None for a bug, whose traceback is wanted."""
    from seedbed.engines import EngineError
    from seedbed.errors import InputError
    from seedbed.journal import RunBusy
    from seedbed.prompts import BadPrompt
    from seedbed.store import StoreError
    from seedbed.yamlfile import BadInput

    if isinstance(error, BadInput | InputError | BadPrompt):
        return 2
    return 1 if isinstance(error, StoreError | EngineError | RunBusy | OSError) else None


def _grow(recipe: Path, home: Path, rows: int | None) -> Outcome:
    from flows.run import grow, prefect_api, read

    try:
        if prefect_api():
            from flows.tracked import grow_tracked

            return _in_loop(grow_tracked(str(recipe), str(home), rows))
        from flows.display import watch

        return _in_loop(grow(read(recipe), home, rows, watch=watch))
    except KeyboardInterrupt:  # a second Ctrl-C, or one before the run was under way
        typer.echo("Interrupted. Nothing is lost: the same command goes on from here.", err=True)
        raise typer.Exit(130) from None


def _program() -> str:
    """How to call us again: by name where the shell finds us, else by the path that was typed."""
    typed = Path(sys.argv[0])
    if shutil.which("seedbed") or typed.name != "seedbed":
        return "seedbed"
    return shlex.quote(os.path.relpath(typed))


def _here(home: Path) -> str:
    """What a further command needs to find the same store."""
    return "" if home == HOME else f" --home {shlex.quote(str(home))}"


def _in_loop(work: Coroutine[None, None, Outcome]) -> Outcome:
    try:
        import uvloop
    except ImportError:  # Windows
        import asyncio

        return asyncio.run(work)
    return uvloop.run(work)


def _store(home: Path) -> Store:
    from flows.show import home_of

    return home_of(home)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def _print_json(value: object) -> None:
    from flows.show import as_json

    typer.echo(as_json(value))
