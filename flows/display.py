"""Progress for people, on stderr: a live bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar

from flows.figures import duration, share
from flows.plan import Plan
from flows.progress import Progress
from flows.screen import Screen
from flows.terminal import say

LIVE_SECONDS, PLAIN_SECONDS = 0.25, 5.0


@dataclass
class Gauge:
    """How far along, from 0 to 1; it never goes back, also when refilling adds rows to the plan."""

    plan: Plan
    progress: Progress
    shown: float = 0.0
    heard: int = 0

    def fraction(self) -> float:
        """Kept of wanted where coverage refills, done of planned elsewhere."""
        p = self.progress
        now = p.kept / p.wanted if self.plan.attempts else p.done / max(p.planned, 1)
        self.shown = max(self.shown, min(now, 1.0))
        return self.shown

    def line(self) -> str:
        """Rows by state, kept rate, tokens a second and time left, on one line."""
        p, fraction = self.progress, self.fraction()
        parts = [f"{p.kept} kept of {p.wanted}", f"{p.dropped} dropped", f"{p.failed} failed"]
        parts.append(f"{max(p.planned - p.done, 0)} under way")
        if p.done:
            parts.append(f"kept rate {share(p.kept / p.done)}")
        if p.tally.tokens and p.seconds:
            parts.append(f"{p.tally.tokens / p.seconds:,.0f} tokens/s")
        if p.tally.replayed:
            parts.append(f"{p.tally.replayed:,} calls from the ledger")
        if (left := self._seconds_left(fraction)) is not None:
            parts.append(f"at most {duration(left)} left" if self.plan.attempts else f"about {duration(left)} left")
        return " · ".join(parts)

    def news(self) -> list[str]:
        """The notices that have come since it was last asked."""
        news = self.progress.notices[self.heard :]
        self.heard += len(news)
        return news

    def _seconds_left(self, fraction: float) -> float | None:
        """At this process's pace; with coverage no more than the tries that are left would take."""
        p = self.progress
        if not p.fresh or not 0 < fraction < 1:
            return None
        left = p.seconds * (1 - fraction) / fraction
        if self.plan.attempts:
            left = min(left, (self.plan.attempts * p.wanted - p.done) * p.seconds / p.fresh)
        return left


async def watch(plan: Plan, progress: Progress) -> None:
    """Draw until cancelled. Notices (the alarm of the first batch) are printed as they come, and stay."""
    console = Screen(err=True)
    gauge = Gauge(plan, progress)
    if console.is_terminal:
        await _live(console, gauge)
    else:
        await _plain(gauge)


async def _live(console: Screen, gauge: Gauge) -> None:
    try:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while True:
                _tell_news(console, gauge)
                bar = ProgressBar(total=1.0, completed=gauge.fraction(), width=min(60, console.width))
                live.update(Group(bar, gauge.line()))
                await asyncio.sleep(LIVE_SECONDS)
    finally:
        _tell_news(console, gauge)


def _tell_news(console: Screen, gauge: Gauge) -> None:
    for notice in gauge.news():
        console.print(notice, style="yellow")


async def _plain(gauge: Gauge) -> None:
    said, waited = "", PLAIN_SECONDS
    try:
        while True:
            for notice in gauge.news():
                say(notice, err=True)
            if waited >= PLAIN_SECONDS and (line := gauge.line()) != said:
                say(line, err=True)
                said, waited = line, 0.0
            await asyncio.sleep(LIVE_SECONDS)
            waited += LIVE_SECONDS
    finally:
        for notice in gauge.news():
            say(notice, err=True)
        if (line := gauge.line()) != said:
            say(line, err=True)
