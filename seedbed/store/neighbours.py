"""The other processes at a store: who they are, and waiting for them with words and a limit."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from seedbed.store.error import StoreError

PATIENCE = 60.0  # seconds that a command waits
SILENCE = 3.0  # seconds of waiting before a word is said of it
PAUSE, LONGEST_PAUSE = 0.001, 0.05
_SHOWN = 100  # characters of a command
_PROC = Path("/proc")

_log = logging.getLogger("seedbed.store")


def wait(
    attempt: Callable[[], bool], seconds: Callable[[], float], blame: Callable[[], str], longest: float = PAUSE
) -> None:
    """Try until it succeeds; say once what is in the way. `seconds` may shrink meanwhile.

    Pauses grow to `longest`. Where several wait for one thing they must not: the newcomer would always win.

    Ctrl-C and SIGTERM end a wait that has become long, also where an event loop has taken the signals for itself.

    Raises:
        StoreError: the time is over; the message says who is in the way and what to do.
        KeyboardInterrupt: it was told to end.
    """
    began, pause = time.monotonic(), PAUSE
    with ExitStack() as told:
        said = False
        while not attempt():
            waited = time.monotonic() - began
            if waited >= seconds():
                raise StoreError(
                    f"{blame()}. That did not change within {waited:.0f} seconds: let it end, or close it, and run the "
                    "same command again; nothing is lost"
                )
            if waited >= SILENCE and not said:
                said = True
                told.enter_context(_endable())
                _log.warning("waiting: %s", blame())
            time.sleep(pause)
            pause = min(pause * 1.5, longest)


def holders(file: IO[bytes]) -> list[int]:
    """The other processes that hold a lock on an open file, as Linux tells; none where it does not."""
    try:
        lines = (_PROC / "locks").read_text().splitlines()
    except OSError:
        return []
    inode = f":{os.fstat(file.fileno()).st_ino}"
    locks = [line.split() for line in lines if " -> " not in line]  # an arrow marks those that wait
    found = {int(lock[4]) for lock in locks if lock[5].endswith(inode)} - {os.getpid()}
    return sorted(pid for pid in found if pid > 0)  # others are in a container of their own


def named(pids: list[int]) -> str:
    """Processes in words, with what lets one go on that is stopped."""
    return " and ".join(map(_named, pids)) or "another process"


def holder_in(message: str) -> list[int]:
    """The process that DuckDB's own message names as the holder of its file."""
    return [int(pid) for pid in re.findall(r"\(PID (\d+)\)", message)][:1]


def _named(pid: int) -> str:
    try:
        command = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it is gone, or this is no Linux
        return f"process {pid}"
    shown = "".join(letter if letter.isprintable() else "?" for letter in command)
    name = f"process {pid} ({shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}…'})"
    if state not in "Tt":
        return name
    return (
        f"{name}, which is stopped (`fg` in its terminal or `kill -CONT {pid}` lets it go on, `kill -9 {pid}` ends it)"
    )


@contextmanager
def _endable() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
