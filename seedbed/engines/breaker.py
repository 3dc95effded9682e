"""A server that is gone: all calls wait while one asks again, and after a while all fail at once, with one message.

The breaker opens after FAILURES tries in a row that came to nothing, of at least CALLS calls: one row that a server
cannot bear opens nothing. While it is open one call at a time goes through, as the probe; an answer closes it. Calls
wait for that as long as `patience` allows, and from then on fail unsent with EngineGone, but for the probes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time

from seedbed.engines import EngineError, EngineGone

FAILURES, CALLS = 10, 3
PROBE_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two probes of a server that does not answer at all

_log = logging.getLogger(__name__)


class Breaker:
    """The breaker of one server, which is called `where` in messages; `patience` in seconds."""

    def __init__(self, where: str, patience: float) -> None:
        self._where, self._patience = where, patience
        self._row = 0  # failures since the last answer
        self._calls: set[int] = set()
        self._last = ""
        self._opened: float | None = None
        self._opened_at = ""
        self._probing, self._next_probe, self._pause = False, 0.0, PROBE_PAUSE
        self._news = asyncio.Event()

    @property
    def open(self) -> bool:
        """Whether calls wait or fail."""
        return self._opened is not None

    async def admit(self, ends: float) -> bool:
        """Wait until the server answers again, or until it is this call's turn to probe it: then True.

        Who probes says `probed` when that is over. `ends` (monotonic seconds) is when the call must be over.

        Raises:
            EngineGone: the server was waited for long enough.
            EngineError: it may come back, but not in time for this call.
        """
        while self._opened is not None:
            now, gone = time.monotonic(), self._opened + self._patience
            if now >= ends:
                raise EngineError(self._message())
            if not self._probing and now >= self._next_probe:
                self._probing = True
                return True
            if now >= gone:
                raise EngineGone(self._message())
            await self._wait(min(gone, ends, math.inf if self._probing else self._next_probe) - now)
        return False

    async def _wait(self, seconds: float) -> None:
        """So long, or until a probe is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    def probed(self) -> None:
        """The probe is over, however it ended."""
        self._probing = False
        self._stir()

    def failed(self, call: int, why: str, absent: bool) -> None:
        """A try of this call came to nothing; `absent` if nobody answered, rather than with an error."""
        self._row += 1
        self._calls.add(call)
        self._last = why
        now = time.monotonic()
        if self._opened is None:
            if self._row >= FAILURES and len(self._calls) >= CALLS:
                self._open(now)
        elif self._probing:
            self._pause = min(self._pause * 2, LONGEST_PAUSE) if absent else PROBE_PAUSE
            self._next_probe = now + self._pause

    def answered(self) -> None:
        """The server answered something that makes sense."""
        if not self._row:
            return
        self._row = 0
        self._calls.clear()
        if self._opened is not None:
            _log.warning("%s answers again after %.0f s", self._where, time.monotonic() - self._opened)
            self._opened, self._pause = None, PROBE_PAUSE
            self._stir()

    def _stir(self) -> None:
        """Wake those who wait, who hold on to the event that they found."""
        self._news.set()
        self._news = asyncio.Event()

    def _open(self, now: float) -> None:
        self._opened, self._opened_at = now, time.strftime("%H:%M:%S")
        self._next_probe = now + self._pause
        _log.warning(
            "%s: %d tries in a row came to nothing (the last: %s). All its calls wait, one at a time asks again; if it "
            "does not answer within %.3g s, the run stops and can be resumed",
            *(self._where, self._row, self._last, self._patience),
        )

    def _message(self) -> str:
        return (
            f"{self._where}: no good answer since {self._opened_at}, {self._row} tries in a row came to nothing (the "
            f"last: {self._last}). Check that the server is up and well, then run again"
        )
