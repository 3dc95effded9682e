"""What a run has spent and may spend, and whether a further call still fits.

Calls under way are not paid for yet, so they are counted as dear as the dearest call so far: a budget is overrun by
one call at the most, as long as none is dearer than all before it. The first call goes alone, to learn what one costs.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

BUDGET = "the budget"  # how the reason begins, when one is spent


@dataclass
class Tally:
    """What a run has spent since this process began; tokens of the calls it paid for, not of those replayed.

    `unmetered` are answers whose tokens nobody told, `unpriced` those whose dollars are not known.
    """

    calls: int = 0
    replayed: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    unpriced: int = 0
    unmetered: int = 0
    in_flight: int = 0

    @property
    def tokens(self) -> int:
        """Tokens paid for, in and out."""
        return self.tokens_in + self.tokens_out


@dataclass(frozen=True, slots=True)
class Budget:
    """What this process may spend: tokens in and out together, US dollars, and seconds since it began."""

    tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None

    @property
    def limited(self) -> bool:
        """Whether anything is."""
        return (self.tokens, self.usd, self.seconds) != (None, None, None)


class Allowance:
    """A budget at work, in one event loop."""

    def __init__(self, budget: Budget, tally: Tally) -> None:
        self._budget, self._tally, self._began = budget, tally, time.monotonic()
        self._dearest_tokens, self._dearest_usd, self._any = 0, 0.0, False
        self._end: asyncio.Event | None = None

    def spent(self) -> str:
        """Which limit is reached, in words; "" while none is."""
        limit = self._budget
        if limit.tokens is not None and self._tally.tokens >= limit.tokens:
            return f"{BUDGET} of {limit.tokens:,} tokens is spent"
        if limit.usd is not None and self._tally.usd >= limit.usd:
            return f"{BUDGET} of ${limit.usd:g} is spent"
        if limit.seconds is not None and time.monotonic() - self._began >= limit.seconds:
            return f"{BUDGET} of {limit.seconds / 60:g} minutes is spent"
        return ""

    def room(self) -> bool:
        """Whether the calls under way leave some of what is limited."""
        limit, tally = self._budget, self._tally
        if not tally.in_flight or (limit.tokens, limit.usd) == (None, None):
            return True
        fits_tokens = limit.tokens is None or tally.tokens + tally.in_flight * self._dearest_tokens < limit.tokens
        fits_usd = limit.usd is None or tally.usd + tally.in_flight * self._dearest_usd < limit.usd
        return self._any and fits_tokens and fits_usd

    def needs_tokens(self) -> str:
        """The limit that can be kept only while every call tells its tokens, in words; "" if there is none."""
        limit = self._budget
        if limit.tokens is not None:
            return f"a budget of {limit.tokens:,} tokens"
        return f"a budget of ${limit.usd:g}" if limit.usd is not None else ""

    def learn(self, tokens: int, usd: float) -> None:
        """What a call has cost."""
        self._any = True
        self._dearest_tokens = max(self._dearest_tokens, tokens)
        self._dearest_usd = max(self._dearest_usd, usd)

    def look_again(self) -> None:
        """Wake whoever waits for room."""
        if self._end:
            self._end.set()
            self._end = None

    async def next_end(self) -> None:
        """Wait until a call has ended."""
        self._end = self._end or asyncio.Event()
        await self._end.wait()
