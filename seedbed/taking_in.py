"""What killed runs left in their journals is committed: every call that is as it was written, and nothing else.

Damage (a turned bit, a torn line, a foreign one, a file that is none) costs the calls that it hit and no others: what
is no call goes into a file beside, `*.damaged`, is told once, and its calls are made again when they are asked for.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import duckdb

from seedbed import private
from seedbed.journal import REMEDY, RunBusy, lease
from seedbed.journal_line import LONGEST, is_whole, sorted_out
from seedbed.store import Store, StoreError
from seedbed.store.rows import load_calls

_log = logging.getLogger(__name__)


class _Found(NamedTuple):
    """What is in a segment: calls that are whole, and how many lines are not."""

    calls: int
    bad: int


def take_in(store: Store, own_run: str) -> int:
    """Commit the calls that killed runs left in journals; how many it found. Runs still at work are left alone.

    Raises StoreError where the disk is full.
    """
    taken = 0
    for run_id, segments in sorted(_by_run(store.home / "journal").items()):
        if run_id == own_run:
            taken += _take(store, segments)
            continue
        try:
            with lease(store.home, run_id, patience=0):
                taken += _take(store, segments)
        except RunBusy:
            continue
    return taken


def _by_run(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        found.setdefault(path.name.split(".")[0], []).append(path)
    return found


def _take(store: Store, segments: list[Path]) -> int:
    taken = 0
    for path in segments:
        try:
            found = _look(path) if path.is_file() else None
        except OSError as error:
            _log.warning("%s cannot be read (%s) and was left where it is", path, error.strerror)
            continue
        taken += _load(store, path, found) if found else _set_whole_aside(path, "it is no file")
    return taken


def _look(path: Path) -> _Found:
    calls = bad = 0
    with path.open("rb") as file:
        for line in _lines(file):
            if is_whole(line):
                calls += 1
            elif line != b"\n":
                bad += 1
    return _Found(calls, bad)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; what is longer than any of ours comes in pieces, of which none is whole."""
    return iter(lambda: file.readline(LONGEST), b"")


def _load(store: Store, path: Path, found: _Found) -> int:
    calls = _mend(path) if found.bad else found.calls
    if calls:
        try:
            with store.writing() as connection:
                load_calls(connection, path, loaded_before=True)
        except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
            return _set_whole_aside(path, f"DuckDB cannot read it: {error}")
    path.unlink()
    return calls


def _mend(path: Path) -> int:
    """Leave the whole calls in a segment and put the rest beside it; how many calls there are.

    The rest is on the disk before the segment is changed, under a name of its own: a crash between loses nothing.
    """
    mended, aside = path.with_name(f"{path.name}.mended"), _beside(path)
    calls = bad = 0
    try:
        with (
            path.open("rb") as damaged,
            private.opened(mended, "wb") as good,
            private.opened(aside, "wb") as rest,
        ):
            for line in _lines(damaged):
                whole, left = sorted_out(line)
                good.writelines(whole)
                rest.write(left)
                calls, bad = calls + len(whole), bad + bool(left.strip(b"\n"))
            for file in (good, rest):
                file.flush()
                os.fsync(file.fileno())
        mended.replace(path)
    except OSError as error:
        raise StoreError(f"could not write in {path.parent}: {error}. {REMEDY}") from error
    _log.warning(
        "damaged lines in %s: %d of %d, set aside in %s. Their calls are made again when they are needed",
        *(path, bad, calls + bad, aside.name),
    )
    return calls


def _set_whole_aside(path: Path, why: str) -> int:
    aside = _beside(path)
    try:
        path.replace(aside)
    except OSError as error:
        raise StoreError(f"could not write in {path.parent}: {error}. {REMEDY}") from error
    _log.warning("%s holds no calls (%s) and was set aside as %s", path, why, aside.name)
    return 0


def _beside(path: Path) -> Path:
    """The next free name for what is set aside of a file."""
    free, n = path.with_name(f"{path.name}.damaged"), 1
    while os.path.lexists(free):
        n += 1
        free = path.with_name(f"{path.name}.{n}.damaged")
    return free
