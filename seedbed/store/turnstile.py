"""A turnstile of two file locks: many readers or one writer, and a writer that waits is let in next.

DuckDB lets one process write or many read. Naive retrying starves the writer; here whoever wants in first takes
the gate, and a writer keeps the gate while it waits for the room to empty, so no new reader slips past it.
The kernel frees the locks of a killed process. Where the locks may not be written they are only looked at, and where
there are none nobody locks: such a folder is read and never written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EROFS
from pathlib import Path
from typing import IO

import portalocker

from seedbed import private
from seedbed.store.error import StoreError
from seedbed.store.neighbours import PATIENCE, holders, named, wait


class Turnstile:
    """The locks of one store folder, for this process; its threads take turns.

    `patience` is how many seconds it waits for others before it raises StoreError, and may be changed meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the locks. Raises OSError."""
        self.patience = PATIENCE
        self._folder = folder
        self._gate, self._room = (_opened(folder / name) for name in ("gate.lock", "room.lock"))
        self._turn = threading.Lock()

    @property
    def writable(self) -> bool:
        """Whether the folder can be written at all."""
        return all(file and file.writable() for file in (self._gate, self._room))

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Read together with other readers."""
        with self._my_turn():
            with self._held(self._gate, portalocker.LOCK_EX):
                self._lock(self._room, portalocker.LOCK_SH)
            try:
                yield
            finally:
                _unlock(self._room)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Write alone."""
        with self._my_turn(), self._held(self._gate, portalocker.LOCK_EX), self._held(self._room, portalocker.LOCK_EX):
            yield

    def wanted(self) -> bool:
        """Whether somebody waits to write, asked by whoever reads just now."""
        if not self._gate:
            return False
        free = _locked(self._gate, portalocker.LOCK_EX)
        if free:
            _unlock(self._gate)
        return not free

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._gate, self._room):
            if file:
                file.close()

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        self._wait(lambda: self._turn.acquire(timeout=0.05))
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _held(self, file: IO[bytes] | None, flags: portalocker.LockFlags) -> Iterator[None]:
        self._lock(file, flags)
        try:
            yield
        finally:
            _unlock(file)

    def _lock(self, file: IO[bytes] | None, flags: portalocker.LockFlags) -> None:
        if file:
            self._wait(lambda: _locked(file, flags))

    def _wait(self, attempt: Callable[[], bool]) -> None:
        wait(attempt, lambda: self.patience, self._in_the_way)

    def _in_the_way(self) -> str:
        """Whoever is in the room; else whoever is at the gate."""
        found = [holders(file) for file in (self._room, self._gate) if file]
        return f"the store in {self._folder} is in use by {named(next(filter(None, found), []))}"


def _opened(path: Path) -> IO[bytes] | None:
    try:
        return private.opened(path, "ab")
    except OSError as error:
        if not isinstance(error, PermissionError) and error.errno != EROFS:
            raise
    try:
        return path.open("rb")
    except (FileNotFoundError, PermissionError):
        return None


def _locked(file: IO[bytes], flags: portalocker.LockFlags) -> bool:
    try:
        portalocker.lock(file, flags | portalocker.LOCK_NB)
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException as error:
        raise StoreError(f"cannot lock {file.name}: {error}. A home must be on a disk of this machine") from error
    return True


def _unlock(file: IO[bytes] | None) -> None:
    if file:
        portalocker.unlock(file)
