"""How many calls a server gets at once: never more than the recipe allows, and fewer where more would only queue.

Two signs. A refusal (HTTP 429, "too busy") or a missed deadline takes a third off the limit at once. Slow answers alone
prove nothing: a batching server is slower *and* gets more done with more calls. So they only prompt an experiment: a
quarter fewer calls for a while. If each came back as much sooner, the rest had merely queued and the lower limit
stays; if not, throughput would be lost and the limit goes back. The way up is tried in the same manner. A server that
answers well is never experimented on, and costs two additions a call.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass

ANSWERS = 24  # at least so many, and twice as many as are under way, stand behind a decision
HARMLESS = 0.5  # seconds that calls may queue at the server before it is worth an experiment
CUT, DOWN, UP = 0.7, 0.75, 0.25
LOSS, GAIN = 0.03, 0.4  # what a lower limit may cost of the throughput; the part of its rise that a higher must bring
KEPT = 0.995  # of the best throughput with each decision: a server may become slower for good
FADING = 1.02  # by so much the quickest answer is forgotten with each decision
FIRST_PAUSE, LONGEST_PAUSE = 2, 64  # decisions without an experiment; each that came to nothing doubles them


@dataclass(slots=True)
class _Step:
    """Answers of one step since the last decision; the quickest ever, and what is usual for it; in seconds.

    Steps are kept apart: a judgement of one token is no sooner answered than an essay because of the limit.
    """

    answers: int = 0
    seconds: float = 0.0
    least: float = math.inf
    usual: float = 0.0  # the mean when the limit was last the recipe's: what an answer counts as work


class Pace:
    """The places of one server. `limit` of them may be taken at once; it moves between 1 and `most`."""

    def __init__(self, most: int) -> None:
        self.most = self.limit = most
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._steps: dict[str, _Step] = {}
        self._answers, self._load, self._began = 0, 0, 0.0
        # After each move as many answers go by as were under way: the short ones among them come first.
        self._moved, self._passing = 0.0, most
        self._rate, self._best = 0.0, 0.0  # throughput at this limit, and at the best: usual seconds of work a second
        self._before: int | None = None  # the limit that an experiment began at
        self._pause, self._vain, self._tried_down = FIRST_PAUSE, 0, False

    async def enter(self) -> None:
        """Take a place, in turn. Whoever took one must `leave`."""
        if self.in_flight < self.limit and not self._waiting:
            self.in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given the place and cancelled in the same breath
                self.leave()
            raise

    async def stay(self) -> None:
        """Before another try: keep the place, unless the limit has fallen; then be the next to get one."""
        if self.in_flight <= self.limit:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.appendleft(turn)
        self.in_flight -= 1
        try:
            await turn
        except asyncio.CancelledError:
            self.in_flight += turn.cancelled()  # whoever took the place will leave it
            raise

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1
        if self._waiting:
            self._admit()

    def answered(self, step: str, sent: float, now: float) -> None:
        """A good answer came `now` to what was `sent` then (monotonic seconds)."""
        seen = self._steps.get(step)
        if seen is None:
            seen = self._steps[step] = _Step()
        seconds = now - sent
        if seconds < seen.least:
            seen.least = seconds
        if self._passing:
            self._passing -= 1
            self._began = now
            return
        seen.answers += 1
        seen.seconds += seconds
        self._load += self.in_flight
        self._answers += 1
        if self._answers >= ANSWERS and self._answers >= 2 * self.limit:
            self._decide(now)

    def refused(self, sent: float, now: float) -> None:
        """The server would not, or did not in time, do what was `sent` then: once for all that were sent with it."""
        if sent < self._moved:
            return
        if self._before and self.limit > self._before:
            self._in_vain(now)
        else:
            self._pause, self._before, self._rate, self._best = FIRST_PAUSE, None, 0.0, 0.0
            self._move(max(1, int(self.limit * CUT)), now)

    def _decide(self, now: float) -> None:
        """Enough answers have come: judge the experiment under way, or see whether one is due."""
        busy = self._load >= 0.8 * self.limit * self._answers
        for seen in self._steps.values():
            seen.least *= FADING
            if seen.answers and (not seen.usual or (self.limit == self.most and not self._before)):
                seen.usual = seen.seconds / seen.answers
        rate = sum(seen.answers * seen.usual for seen in self._steps.values()) / (now - self._began)
        if self._before:
            self._judge(rate, busy, now)
        else:
            self._rate = (self._rate + rate) / 2 if self._rate else rate
            self._best = max(self._best * KEPT, self._rate)
            self._pause -= 1
            if busy and self._pause <= 0:
                self._experiment(now)
        self._forget(now)

    def _experiment(self, now: float) -> None:
        """Down where calls seem to queue, up where the limit is not the recipe's; in turn where both may be."""
        down = self.limit > 1 and self._queue() and not self._tried_down
        self._tried_down = down
        if down or self.limit < self.most:
            self._before = self.limit
            # The more was tried in vain, the smaller the step up: so it comes close to where refusals begin.
            limit = int(self.limit * DOWN) if down else math.ceil(self.limit * (1 + UP / 2**self._vain))
            self._move(max(1, min(limit, self.most)), now)

    def _queue(self) -> bool:
        """Whether calls wait at the server, it seems, longer than it works on them and longer than is harmless."""
        seen = [step for step in self._steps.values() if step.answers]
        work = sum(step.answers * step.least for step in seen) / self._answers
        queued = sum(step.seconds for step in seen) / self._answers - work
        return queued > max(HARMLESS, work)

    def _judge(self, rate: float, busy: bool, now: float) -> None:
        """Keep the new limit or go back. The way down is measured by the best, or many small losses would add up."""
        assert self._before is not None
        down = self.limit < self._before
        wanted = (1 - LOSS) * self._best if down else (1 + GAIN * (self.limit / self._before - 1)) * self._rate
        if not busy or rate < wanted:
            self._in_vain(now)
        else:
            self._rate, self._best = rate, max(rate, self._best)
            self._before, self._vain, self._tried_down = None, 0, False

    def _in_vain(self, now: float) -> None:
        """Back to the limit before; each experiment in vain doubles the pause before the next."""
        assert self._before is not None
        self._vain += 1
        self._pause = min(FIRST_PAUSE * 2**self._vain, LONGEST_PAUSE)
        self._move(self._before, now)
        self._before = None

    def _move(self, limit: int, now: float) -> None:
        self._passing, self._moved, self.limit = max(limit, self.limit), now, limit
        self._forget(now)
        self._admit()

    def _forget(self, now: float) -> None:
        self._answers, self._load, self._began = 0, 0, now
        for seen in self._steps.values():
            seen.answers, seen.seconds = 0, 0.0

    def _admit(self) -> None:
        while self._waiting and self.in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
