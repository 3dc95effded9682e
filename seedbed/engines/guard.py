"""Runs a server so that none of its processes outlives whoever asked for it: `python guard.py GRACE COMMAND…`.

Standard input is a pipe from the one who asked. Its end is the order to stop, however it came about: closed on
purpose, or by the kernel after `kill -9`. The server gets a session, and so a process group, of its own; what is
orphaned in it falls to this process, which goes only when the last one has gone. It tells the server's process id
on standard output, and uses nothing but the standard library, so that it is there in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

LOOK = 0.1  # seconds between two looks at whether the server still runs
LAST_WAIT = 30.0  # for processes that even SIGKILL ends slowly: a driver gives their memory back first
_PR_SET_CHILD_SUBREAPER = 36


def main(grace: float, command: list[str]) -> int:
    """The server's exit code, 128 and the signal's number if one ended it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # only the pipe's end counts; SIG_IGN would be the server's too
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Both streams go to the log, which is our standard error: standard output is a pipe.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)
    os.write(1, b"%d\n" % server.pid)
    while server.poll() is None and not select.select([0], [], [], LOOK)[0]:
        pass
    if server.poll() is None:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(grace)
    _sweep(server.pid)
    code = server.wait()  # known already where the server ended by itself, and no matter otherwise
    return 128 - code if code < 0 else code


def _sweep(group: int) -> None:
    """End whatever is left of the group, and see it off."""
    ends = time.monotonic() + LAST_WAIT
    while time.monotonic() < ends:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError:
            return  # macOS says so of a group in which all have ended
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-group, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
