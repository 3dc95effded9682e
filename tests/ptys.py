"""The command line on a terminal of a given width, as a person has it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Several commands in one process: what is slow is the start.
EACH = """
import json, sys
from flows.cli import main
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["seedbed", *arguments]
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        print(f"exit {end.code}", flush=True)
"""


def on_terminal(*commands: Sequence[object], home: Path, columns: int = 80, **more: str) -> str:
    """What the commands show, one after the other, each with `exit N` behind it; `more` is their environment."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    modes = termios.tcgetattr(slave)
    modes[1] &= ~termios.OPOST  # the bytes as they were sent
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SEEDBED_HOME": str(home), "TERM": "dumb", **more}
    for name in ("PREFECT_API_URL", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-c", EACH], env=environment, stdin=subprocess.PIPE, stdout=slave, stderr=slave
    ) as child:
        os.close(slave)
        assert child.stdin
        child.stdin.write(json.dumps([[str(word) for word in words] for words in commands]).encode())
        child.stdin.close()
        shown = _all(master)
    os.close(master)
    return shown.decode(more.get("PYTHONIOENCODING", "utf-8"))


def _all(master: int) -> bytes:
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux says so where the other end is closed
            return shown
        if not part:
            return shown
        shown += part


def in_one_process(*commands: Sequence[object], home: Path) -> tuple[str, str]:
    """What the commands write into two pipes, one after the other."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SEEDBED_HOME": str(home)}
    told = json.dumps([[str(word) for word in words] for words in commands]).encode()
    done = subprocess.run([sys.executable, "-c", EACH], env=environment, input=told, capture_output=True)
    return done.stdout.decode(), done.stderr.decode()


def piped(*arguments: object, home: Path, **more: str) -> bytes:
    """The bytes that a command writes into a pipe."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SEEDBED_HOME": str(home), **more}
    return subprocess.run(command, env=environment, check=True, capture_output=True).stdout
