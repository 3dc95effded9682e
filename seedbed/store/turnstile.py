"""A turnstile of two file locks: many readers or one writer, and a writer that waits is let in next.

DuckDB lets one process write or many read. Naive retrying starves the writer; here whoever wants in first takes
the gate, and a writer keeps the gate while it waits for the room to empty, so no new reader slips past it.
The kernel frees the locks of a killed process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import portalocker


class Turnstile:
    """The locks of one store folder, for this process; its threads take turns."""

    def __init__(self, folder: Path) -> None:
        self._gate: IO[bytes] = (folder / "gate.lock").open("ab")
        self._room: IO[bytes] = (folder / "room.lock").open("ab")
        self._turn = threading.Lock()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Read together with other readers."""
        with self._turn:
            with _held(self._gate, portalocker.LOCK_EX):
                portalocker.lock(self._room, portalocker.LOCK_SH)
            try:
                yield
            finally:
                portalocker.unlock(self._room)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Write alone."""
        with self._turn, _held(self._gate, portalocker.LOCK_EX), _held(self._room, portalocker.LOCK_EX):
            yield

    def close(self) -> None:
        """Let go of the files."""
        self._gate.close()
        self._room.close()


@contextmanager
def _held(file: IO[bytes], flags: portalocker.LockFlags) -> Iterator[None]:
    portalocker.lock(file, flags)
    try:
        yield
    finally:
        portalocker.unlock(file)
