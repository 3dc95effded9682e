"""What a store has, asked of the store itself: a command takes a second of the processor to start."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from seedbed.store import Store


def sql(statement: str, home: Path) -> list[dict[str, Any]]:
    """The rows of a statement."""
    with closing(Store(home)) as store:
        return store.rows(statement)
