"""Several calls of one sample at once: whoever fails first does not leave the others behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from seedbed.ledger import Stopped
from seedbed.store import StoreError

T = TypeVar("T")


async def together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """What all calls give, in their order. Each is on the books before anything is raised.

    `asyncio.gather` would raise the first error at once, and whoever then ends the run would drop the answers that the
    others are paid for.

    Raises:
        StoreError, Stopped: the run is to end. Any other: what the first that failed came to.
    """
    ended = await asyncio.gather(*calls, return_exceptions=True)
    errors = [one for one in ended if isinstance(one, BaseException)]
    for kind in (StoreError, Stopped, BaseException):
        for error in errors:
            if isinstance(error, kind):
                raise error
    return [one for one in ended if not isinstance(one, BaseException)]
