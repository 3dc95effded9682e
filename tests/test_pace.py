"""What the adaptive limit promises: a healthy server loses nothing, a queue is shortened, a refusal is heeded."""

from __future__ import annotations

import asyncio
import random
from heapq import heappop, heappush

import pytest

from seedbed.engines.pace import Pace


class Queueing:
    """So many slots of one second each; what is sent beyond them waits."""

    def __init__(self, slots):
        self.free = [0.0] * slots

    def seconds(self, now, in_flight, work):
        done = max(heappop(self.free), now) + work
        heappush(self.free, done)
        return done - now


class Batching:
    """As vLLM does: with more calls each is slower, and all of them together get more done."""

    def seconds(self, now, in_flight, work):
        return work * (1 + in_flight / 100)


class Refusing:
    """At most so many at once; None is a refusal."""

    def __init__(self, most):
        self.most = most

    def seconds(self, now, in_flight, work):
        return work if in_flight <= self.most else None


class Times:
    """A server by the hour: another one from some second on."""

    def __init__(self, until, first, then):
        self.until, self.first, self.then = until, first, then

    def seconds(self, now, in_flight, work):
        return (self.first if now < self.until else self.then).seconds(now, in_flight, work)


def alike(dice, step):
    """Seconds of work, much the same for all."""
    return dice.lognormvariate(0, 0.1)


def lengths(dice, step):
    """Seconds of work as answers of language models take: most are short, some go on and on."""
    return dice.lognormvariate(0, 0.6) * (0.1 if step == "judge" else 1)


def simulate(server, most=64, calls=6000, work=alike, steps=("make",), fixed=False):
    """Calls in the time of a simulated clock: calls a second over the later half, and each decision's limit."""
    dice, limits, answered_at = random.Random(1), [], []

    async def main():
        pace, now = Pace(most), 0.0
        sent: list[tuple[float, int, float, str, bool]] = []
        turns = [asyncio.ensure_future(pace.enter()) for _ in range(calls)]
        n = 0
        while n < calls or sent:
            await asyncio.sleep(0)
            while n < calls and turns[n].done():
                step = steps[n * len(steps) // calls]
                seconds = server.seconds(now, sum(end > now for end, *_ in sent) + 1, work(dice, step))
                heappush(sent, (now + (seconds or 0.05), n, now, step, seconds is not None))
                n += 1
            end, _, began, step, fine = heappop(sent)
            now = end
            if not fixed and fine:
                pace.answered(step, began, now)
            elif not fixed:
                pace.refused(began, now)
            answered_at.append(now) if fine else None
            pace.leave()
            limits.append(pace.limit)

    asyncio.run(main())
    later = answered_at[len(answered_at) // 2 :]
    return len(later) / (later[-1] - later[0]), limits


@pytest.mark.parametrize("work", [alike, lengths])
@pytest.mark.parametrize("steps", [("make",), ("make", "judge", "make")])
@pytest.mark.parametrize("server", [lambda: Refusing(10**6), Batching])
def test_a_server_that_does_more_with_more_calls_gets_them(server, work, steps):
    best, _ = simulate(server(), work=work, steps=steps, fixed=True)
    rate, limits = simulate(server(), work=work, steps=steps)
    assert rate >= 0.97 * best
    assert sum(limits) / len(limits) >= 0.95 * 64


@pytest.mark.parametrize(("work", "left"), [(alike, 40), (lengths, 64)])
def test_calls_that_only_queue_at_the_server_wait_here_instead_and_no_throughput_is_lost(work, left):
    best, _ = simulate(Queueing(8), work=work, calls=12000, fixed=True)
    rate, limits = simulate(Queueing(8), work=work, calls=12000)
    assert rate >= 0.97 * best
    assert sum(limits[-4000:]) / 4000 <= left, "answers of all lengths hide a queue, and then nothing is risked"


def test_refusals_bring_the_limit_close_under_what_the_server_takes():
    rate, limits = simulate(Refusing(16))
    assert rate >= 0.9 * 16
    assert min(limits) >= 8


def test_when_a_server_takes_more_again_the_limit_rises_again():
    _, limits = simulate(Times(100, Refusing(8), Refusing(64)), calls=12000)
    assert limits[500] <= 12 and max(limits[-2000:]) >= 48


def test_a_cancelled_caller_gives_its_place_on_and_the_count_stays_right():
    async def main():
        pace = Pace(2)
        await pace.enter()
        await pace.enter()
        queued = [asyncio.ensure_future(pace.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        queued[0].cancel()
        pace.leave()  # gives the place to the second in the queue, for the first is gone
        queued[1].cancel()  # in the same breath
        await asyncio.wait(queued[:2])
        await asyncio.wait_for(queued[2], 1)
        assert pace.in_flight == 2
        pace.limit = 1
        stay = asyncio.ensure_future(pace.stay())
        await asyncio.sleep(0)
        assert pace.in_flight == 1 and not stay.done()
        stay.cancel()
        await asyncio.wait([stay])
        pace.leave()
        pace.leave()
        assert pace.in_flight == 0

    asyncio.run(main())
