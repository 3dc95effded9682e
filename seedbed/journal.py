"""The ledger's write-ahead file: a call is in it before its result is used, for the price of one write.

DuckDB commits calls in batches of two seconds; what a `kill -9` would lose in between is here. A journal belongs
to a run, and only who holds that run's lease may write it or take it in.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import IO

import portalocker

from seedbed import private
from seedbed.journal_line import line_of
from seedbed.store import StoreError
from seedbed.store.neighbours import holders, named
from seedbed.store.rows import RARE, CallRow


class RunBusy(Exception):
    """Another process is at work on this run."""


@contextmanager
def lease(home: Path, name: str, what: str = "run", patience: float = 1.0) -> Iterator[None]:
    """The right to work on a run (or a recipe), freed by the kernel if the holder dies.

    It is tried for `patience` seconds: whoever only looks, or takes in what a killed run left, has it for a moment.

    Raises:
        RunBusy: another process has it.
        StoreError: the home may not be written.
    """
    try:
        private.folder(home / "journal")
        file = private.opened(_lock_of(home, name, what), "ab")
    except OSError as error:
        why = f"cannot write in the home folder {home}: {error.strerror}"
        raise StoreError(f"{why}. Choose another with --home or SEEDBED_HOME.") from error
    with file:
        ends = time.monotonic() + patience
        while not _locked(file, portalocker.LOCK_EX):
            if time.monotonic() >= ends:
                who = f": {named(pids)}" if (pids := holders(file)) else ""
                raise RunBusy(
                    f"another process is at work on {what} {name}{who}; look on with `seedbed status`, or wait for it"
                )
            time.sleep(0.02)
        yield


def at_work(home: Path, run_id: str) -> bool:
    """Whether some process holds this run's lease; looking keeps nobody else from looking."""
    try:
        file = _lock_of(home, run_id, "run").open("rb")
    except (FileNotFoundError, PermissionError):
        return False
    with file:
        return not _locked(file, portalocker.LOCK_SH)


def _lock_of(home: Path, name: str, what: str) -> Path:
    return home / "journal" / f"{name if what == 'run' else f'{what}-{name}'}.lock"


def _locked(file: IO[bytes], kind: portalocker.LockFlags) -> bool:
    try:
        portalocker.lock(file, kind | portalocker.LOCK_NB)
    except portalocker.LockException:
        return False
    return True


_COMMON = CallRow._fields[: -len(RARE)]  # what every call has; the rest comes last
REMEDY = "Make room on the disk and run the same command again: the calls recorded so far are not made again."


class Journal:
    """One run's journal, in segments: a segment goes once its calls are committed."""

    def __init__(self, home: Path, run_id: str) -> None:
        self._folder, self._run_id, self._number = home / "journal", run_id, 0
        self._file = self._open()

    def put(self, lines: bytes) -> None:
        """Append calls, whole or not at all. Raises StoreError on a full disk."""
        try:
            written = os.write(self._file, lines)
            if written != len(lines):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        except OSError as error:
            raise StoreError(f"could not write in {self._folder}: {error}. {REMEDY}") from error

    def turn(self) -> Path:
        """Begin a new segment; the closed one may be removed when its calls are committed. Raises StoreError."""
        if self._file < 0:
            raise StoreError("the journal is closed")
        old, closed = self._file, self._path()
        self._number += 1
        try:
            self._file = self._open()
        except OSError as error:
            self._number -= 1
            raise StoreError(f"could not begin another file in {self._folder}: {error}. {REMEDY}") from error
        os.close(old)
        return closed

    def close(self) -> None:
        """End the journal; its last segment stays if it holds anything."""
        os.close(self._file)
        self._file = -1  # what comes too late must fail, not go into another file
        if self._path().stat().st_size == 0:
            self._path().unlink()

    def _path(self) -> Path:
        return self._folder / f"{self._run_id}.{os.getpid()}-{self._number}.jsonl"

    def _open(self) -> int:
        return os.open(self._path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


@dataclass(frozen=True, slots=True)
class _Added:
    """A call to be written, as a line of the journal, and the future that its caller waits for."""

    row: CallRow
    line: bytes
    written: asyncio.Future[None]

    def settle(self, error: StoreError | None) -> None:
        if self.written.done():  # whoever asked has gone
            return
        if error:
            self.written.set_exception(error)
        else:
            self.written.set_result(None)


class Outbox:
    """What calls of one turn of the event loop add to a journal, in one write: a tenth less CPU a record.

    `recorded` is told of rows as soon as they are written, `failed` of a row that cannot be, whoever waits for it.
    """

    def __init__(
        self, journal: Journal, recorded: Callable[[Sequence[CallRow]], None], failed: Callable[[str], None]
    ) -> None:
        self._journal, self._recorded, self._failed = journal, recorded, failed
        self._added: list[_Added] = []

    async def add(self, row: CallRow, prompt: bytes, request: bytes) -> None:
        """Write one call, and return when it is; prompt and request are JSON.

        Raises:
            StoreError: the disk is full. EngineError: the call is too long to be recorded.
        """
        call = dict(zip(_COMMON, row, strict=False), prompt=prompt.decode(), request=request.decode())
        if any(rare := row[len(_COMMON) :]):
            call |= {name: value for name, value in zip(RARE, rare, strict=True) if value}
        loop = asyncio.get_running_loop()
        added = _Added(row, line_of(call), loop.create_future())
        if not self._added:
            loop.call_soon(self.put)
        self._added.append(added)
        await added.written

    def put(self) -> None:
        """Write what was added so far; if it does not all fit, as much as does."""
        added, self._added = self._added, []
        try:
            self._write(added)
        except StoreError:
            for one in added:
                try:
                    self._write([one])
                except StoreError as error:
                    self._failed(str(error))
                    one.settle(error)

    def _write(self, added: Sequence[_Added]) -> None:
        if added:
            self._journal.put(b"".join(one.line for one in added))
            self._recorded([one.row for one in added])
        for one in added:
            one.settle(None)
