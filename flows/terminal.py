"""What the commands share: options, the store, and how they print. Imports stay inside: the help answers at once.

Whatever reaches stdout or stderr goes through `console()`, `say` or `print_json`, where text of others loses its power
over the terminal (seedbed/visible.py).
"""

from __future__ import annotations

import io
import logging
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from seedbed.visible import in_json, visible

if TYPE_CHECKING:
    from flows.screen import Screen
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


def as_utf8(text: str) -> str:
    """An argument as it was typed, also where the locale has no characters for it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    return text


def open_store(home: Path) -> Store:
    """The store of a home folder that is there. Raises InputError."""
    from flows.show import home_of

    return home_of(home)


def console() -> Screen:
    """Where results go."""
    from flows.screen import Screen

    return Screen()


def say(text: str, err: bool = False) -> None:
    """Print a line, or several."""
    _write(visible(text).expandtabs(), sys.stderr if err else sys.stdout)


def print_csv(lines: Iterable[str]) -> None:
    """Print CSV: to the byte, in UTF-8, into a file or pipe; as it may be shown on a terminal."""
    if sys.stdout.isatty():
        for told in lines:
            say(told)
        return
    sys.stdout.flush()
    for told in lines:
        sys.stdout.buffer.write(f"{told}\n".encode())


def print_json(value: object) -> None:
    """Print a result for programs."""
    from flows.show import as_json

    _write(in_json(as_json(value), sys.stdout.encoding), sys.stdout)


def _write(text: str, stream: TextIO) -> None:
    """In the stream's own encoding: `typer.echo` writes UTF-8 where that is ASCII, bytes that a terminal may obey."""
    stream.write(f"{text}\n")
    stream.flush()


def make_ready() -> None:
    """Let stdout and stderr show what they have no character for as an escape, and the log what is not ours."""
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where a test or a notebook put something else
            stream.reconfigure(errors="backslashreplace")
    logging.setLogRecordFactory(_record)


def _nowhere() -> TextIO:
    """What a stream that was closed before we began is open on: its place must not go to the store's file."""
    return io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")


def _record(*about: object, **more: object) -> logging.LogRecord:
    record = logging.LogRecord(*about, **more)  # type: ignore[arg-type]  # as logging hands them on
    if record.name.startswith("uvicorn"):  # its own formatter takes the parts, which are its own words
        return record
    with suppress(TypeError, ValueError):  # a message that does not fit its parts is for logging to report
        record.msg, record.args = visible(record.getMessage()), ()
    if record.exc_info and record.exc_info[0]:
        record.exc_text = visible("".join(traceback.format_exception(*record.exc_info)).rstrip())
    return record
