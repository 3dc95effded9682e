"""How files of tests go side by side (`make test`): the longest first, and no thread that spins while it waits."""

from __future__ import annotations

import os
import signal

import pytest

# As Seedbed sets it where it imports torch, which some tests do before: with other work on the same cores, threads that
# spin took four times the processor's time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Who is begun in the background by a script has Ctrl-C ignored, and so has all that it starts; tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What takes longest begins first, so that nothing is left at the end that all others wait for. Times do not matter
# here: a file that is not named comes after these, and is none the worse for it.
FIRST = (
    "test_vllm_real",
    "test_schedules",
    "test_run",
    "test_trainer",
    "test_transformers",
    "test_ui_browser",
    "test_faults",
    "test_push",
    "test_survival",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By file, the longest first; within a file as they stand."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))
