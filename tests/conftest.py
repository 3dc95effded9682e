"""In which order the files of tests are given to those who work on them side by side (`make test`)."""

from __future__ import annotations

import pytest

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
