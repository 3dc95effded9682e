"""One server process on this machine: started behind a guard, its log kept, stopped with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from seedbed.engines.server_log import end_of
from seedbed.surroundings import APART

GRACE = 5.0  # seconds that a server has to end by itself before it is killed
_SLOWEST_END = 45.0  # seconds that the guard may take in all
_GUARD = Path(__file__).with_name("guard.py")


class Child:
    """A server that runs until `stop`, or until this process ends in whatever way."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Starts it. Raises OSError where the log cannot be written."""
        self.log = log
        with log.open("ab") as file:
            self._log_begins = file.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), str(GRACE), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=dict(environment),
                cwd=APART,
                start_new_session=True,  # Ctrl-C in a terminal is ours to answer
            )
        assert self._guard.stdout  # it is a pipe
        line = self._guard.stdout.readline()
        self.pid = int(line) if line else 0  # 0: the command could not be run, and the log says why

    @property
    def ended(self) -> bool:
        """Whether it is no longer there."""
        return self._guard.poll() is not None

    def how_it_ended(self) -> str:
        """In words, with what to think of it where that is known."""
        code = self._guard.poll()
        if code is None:
            return "it still runs"
        if abs(code) == signal.SIGKILL or code == 128 + signal.SIGKILL:
            return "it was killed (signal 9), as a rule because memory ran out"
        if code > 128:
            return f"it was ended by signal {code - 128}"
        return f"it ended with exit code {code}"

    def began_well(self) -> None:
        """It does its work: what its log has said so far is no cause of what comes."""
        self._log_begins = self.log.stat().st_size

    def last_words(self) -> str:
        """What its log says of its end: the cause, then the last lines."""
        return end_of(self.log, self._log_begins)

    def stop(self, now: bool = False) -> None:
        """End it and everything it started; returns when they are gone. `now`: it is frozen, and would not hear."""
        guard = self._guard
        if now and self.pid and guard.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        if guard.stdin and not guard.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                guard.stdin.close()  # the order to stop
        try:
            guard.wait(_SLOWEST_END)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()
        if self.pid and guard.returncode < 0:  # the guard was killed itself: then somebody may be left
            _kill(self.pid)
        if guard.stdout:
            guard.stdout.close()


def _kill(group: int) -> None:
    ends = time.monotonic() + 2  # nobody may be there to see the dead off, and then the group never goes
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < ends:
            os.killpg(group, signal.SIGKILL)
            time.sleep(0.02)
