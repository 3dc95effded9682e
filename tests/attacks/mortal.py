"""Processes that die at their n-th change of a file: as a kill, an out-of-memory killer or a lost machine ends them.

One process loads what commands need, with `dying.c` before everything else, and forks a child for each of them: so a
death costs a tenth of a second and many places can be tried.

    with Nursery(environment) as nursery:
        life = nursery.live(main, ["run", "recipe.yaml"], at=7)
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LOADED = ("flows.cli", "flows.run", "flows.publish", "flows.show", "flows.report", "aiohttp", "pyarrow.parquet")


class Life(NamedTuple):
    """What became of a process: its exit code, or minus the signal; the changes of files it saw; what it printed."""

    code: int
    changes: int
    out: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def library(folder: Path) -> Path:
    """The shim, compiled; without a compiler, or on a system that is no Linux, the tests are skipped."""
    compiler = shutil.which("cc")
    if not compiler or sys.platform != "linux":
        pytest.skip("no C compiler here, or no Linux: nothing dies at a system call")
    made = folder / "dying.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, HERE / "dying.c", "-ldl"], check=True)
    return made


class Nursery:
    """Starts processes that can be told when to die; `environment` is theirs."""

    def __init__(self, shim: Path, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._printed = folder / "printed"
        plain = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
        plain.pop("PREFECT_API_URL", None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.attacks.mortal import serve; serve()"],
            env={**plain, "LD_PRELOAD": str(shim)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)

    def live(self, deed: Callable[..., object], arguments: Sequence[object], at: int = 0) -> Life:
        """A process that does it, and dies at its change number `at`; 0: never."""
        assert self._process.stdin and self._process.stdout
        told = {"deed": [deed.__module__, deed.__name__], "arguments": list(map(str, arguments)), "at": at}
        print(json.dumps({**told, "printed": str(self._printed)}), file=self._process.stdin, flush=True)
        code, changes = json.loads(self._process.stdout.readline())
        return Life(code, changes, self._printed.read_text(errors="replace"))


def serve() -> None:
    """The process that forks: a line in for each child, a line out when it has ended."""
    for name in LOADED:
        importlib.import_module(name)
    shim = ctypes.CDLL(None)
    for line in sys.stdin:
        told = json.loads(line)
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            os._exit(_live(told, shim, writes))
        os.close(writes)
        _, status = os.waitpid(child, 0)
        seen = os.read(reads, 99)
        os.close(reads)
        sys.stdout.write(f"{json.dumps([os.waitstatus_to_exitcode(status), int(seen or b'0')])}\n")
        sys.stdout.flush()


def _live(told: dict[str, Any], shim: ctypes.CDLL, seen: int) -> int:
    module, name = told["deed"]
    arguments = told["arguments"]
    with Path(told["printed"]).open("w") as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    deed = getattr(importlib.import_module(module), name)
    shim.dying_at(ctypes.c_long(told["at"]))
    code = 0
    try:
        deed(*arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    shim.dying_seen.restype = ctypes.c_long
    os.write(seen, str(shim.dying_seen()).encode())
    return code


def command(*arguments: str) -> None:
    """The command line, to be done by a child."""
    from flows.cli import main

    sys.argv = ["seedbed", *arguments]
    main()
