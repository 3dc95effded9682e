"""What the commands share: options, the store, and how they print. Imports stay inside: the help answers at once."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from seedbed.store import Store

HOME = Path(".seedbed")
Home = Annotated[Path, typer.Option("--home", envvar="SEEDBED_HOME", help="Folder of the store.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RecipePath = Annotated[Path, typer.Argument(help="A recipe, such as recipes/starter.yaml.")]


def program() -> str:
    """How to call us again: by name where the shell finds us, else by the path that was typed."""
    typed = Path(sys.argv[0])
    if shutil.which("seedbed") or typed.name != "seedbed":
        return "seedbed"
    return shlex.quote(os.path.relpath(typed))


def here(home: Path) -> str:
    """What a further command needs to find the same store."""
    return "" if home == HOME else f" --home {shlex.quote(str(home))}"


def open_store(home: Path) -> Store:
    """The store of a home folder that is there. Raises InputError."""
    from flows.show import home_of

    return home_of(home)


def console() -> Console:
    """Where results go."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def print_json(value: object) -> None:
    """Print a result for programs."""
    from flows.show import as_json

    typer.echo(as_json(value))
