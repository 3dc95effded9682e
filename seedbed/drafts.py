"""A sample that a generator could not finish: as far as it was made, for that was paid for."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from seedbed.engines import EngineError
from seedbed.records import Draft
from seedbed.replies import Unreadable

T = TypeVar("T")


class Unfinished(Exception):
    """What was made of a sample, and what kept it from being finished."""

    def __init__(self, draft: Draft, problem: Unreadable | EngineError) -> None:
        super().__init__(str(problem))
        self.draft, self.problem = draft, problem


async def keeping(draft: Draft, work: Awaitable[T]) -> T:
    """What `work` gives; where a model fails it, the draft goes along. Raises Unfinished."""
    try:
        return await work
    except (Unreadable, EngineError) as problem:
        raise Unfinished(draft, problem) from problem
