"""Starts a training process, listens to it, and takes it down with everything it started if its parent is stopped."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from seedbed.errors import InputError
from seedbed.surroundings import environment, python
from trainer.pretrained import locate
from trainer.progress import Progress, Tell
from trainer.task import Evaluate, Train

NEEDED = ("trl", "peft")
LAST_LINES = 12


class TrainingFailed(Exception):
    """A training came to nothing through no fault of its input: the message says how it ended and what to do."""


def run_apart(task: Train | Evaluate, folder: Path, tell: Tell) -> None:
    """Do a task in a process of its own, with `folder` for its papers; returns when the task is done.

    Raises:
        InputError: the task was refused; the message says why.
        TrainingFailed: the process broke, or what it needs is not installed.
        KeyboardInterrupt: this process was told to stop; the other one is gone by then.
    """
    check_installed()
    paper, log = folder / "task.json", folder / "log.txt"
    paper.write_text(task.model_dump_json(), encoding="utf-8")
    refused = ""
    with log.open("wb") as errors, _stoppable(), _started(paper, errors.fileno(), locate(task.training.model)) as child:
        assert child.stdout  # it is a pipe
        for line in child.stdout:
            progress = Progress.model_validate_json(line)
            refused = progress.refused
            if not refused:
                tell(progress)
        code = child.wait()
    if refused:
        raise InputError(refused)
    if code:
        raise TrainingFailed(_broken(code, log))


def check_installed() -> None:
    """Raises TrainingFailed where what a training needs is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingFailed(
            f"training needs {' and '.join(missing)}, not installed here. In the checkout: make train. "
            f"In an environment of your own: pip install -c requirements/dev.txt {' '.join(NEEDED)}"
        )


@contextmanager
def _started(paper: Path, errors: int, offline: bool) -> Iterator[subprocess.Popen[bytes]]:
    """The process, in a group of its own, which is killed on the way out if it is still there."""
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        python("-m", "trainer.child", str(paper)),
        env=_environment(offline),
        stdin=pipe,
        stdout=pipe,
        stderr=errors,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)  # nothing to save: what it has written is not yet anybody's
        child.wait()
        for end in (child.stdin, child.stdout):
            if end:
                end.close()


def _environment(offline: bool) -> dict[str, str]:
    """Ours, with one GPU."""
    more = {
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
        "TOKENIZERS_PARALLELISM": "false",
        # Threads that spin while they wait cost 50 times the time once anything else runs on the same cores (measured).
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
    }
    return environment(**more, **({"HF_HUB_OFFLINE": "1"} if offline else {}))


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM stops like Ctrl-C, so that the other process is not left behind.

    So does SIGINT where a shell's script began us in the background, with it ignored: as `seedbed run` does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal can be handled here; the other process ends with this one all the same
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _broken(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return (
            "the training process was killed, as a rule because memory ran out. "
            "Lower batch_size or max_length, or take a smaller model. Nothing was written"
        )
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])
    return f"the training process ended with {code}, and nothing was written. Its last words:\n{last}"
