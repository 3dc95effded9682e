"""Pictures of a run for its page at a Prefect server, painted by a process of its own (`flows/painter.py`).

The run tells it what happens and never waits: no row, no call and no file of a run hangs on Prefect. A server that goes
away, is frozen or slow costs its pictures only, which is said once. The painter stands in a folder of ours, for Prefect
reads settings where it stands, and has a session of its own: it shows also how a run ended that was killed.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import threading
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from queue import SimpleQueue

from pydantic import BaseModel

from flows.display import Gauge, watch
from flows.grow import Rows, Work
from flows.page import Begin, End, Move, Say, Start, Told, Word
from flows.plan import Plan
from flows.progress import Progress
from seedbed.ledger import Stopped
from seedbed.surroundings import APART, environment, python

logger = logging.getLogger(__name__)

SECONDS = 2.0  # between two pictures of how far it is
BEGIN = 60.0  # seconds for the painter to begin the page, most of which it imports Prefect
GRACE = 10.0  # seconds for the last pictures when the run is over
LEAVE = 1.0  # seconds for the last lines to reach the painter
GONE = "Prefect shows no more of this run, which loses nothing by it"


class Pictures:
    """What a run tells its painter. Used from one event loop."""

    def __init__(self, settings: dict[str, str]) -> None:
        """Start a painter; `settings` are Prefect's, by the names of its environment variables."""
        self._painter = subprocess.Popen(
            python("-m", "flows.painter"),
            env=environment(**settings | {"PREFECT_CLIENT_MAX_RETRIES": "0"}),  # the painter knows when to ask again
            cwd=APART,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._lines = SimpleQueue[bytes]()
        self._numbers, self._url = count(), Future[str]()
        self.lost = ""  # why nothing more is painted
        self._said, self._line, self._last_words = False, "", ""
        works = (self._write, self._overhear, self._read)
        self._writing, self._overhearing, self._reading = (threading.Thread(target=work, daemon=True) for work in works)
        for thread in (self._writing, self._overhearing, self._reading):
            thread.start()

    async def begin(self, told: Begin) -> str:
        """Where the page is; "" where there is none, and `lost` says why."""
        self._tell(told)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._url), BEGIN)
        except TimeoutError:
            self._painter.kill()
            self.lost = f"no page within {BEGIN:g} s"
            return ""

    async def stage(self, name: str, work: Work) -> Rows:
        """Do a stage of the run, and have it shown."""
        number = next(self._numbers)
        self._tell(Start(number=number, name=name))
        end = End(number=number, state="COMPLETED")
        try:
            return await work()
        except BaseException as error:
            stopped = isinstance(error, Stopped | asyncio.CancelledError)
            end = End(number=number, state="CANCELLED" if stopped else "FAILED", message=_why(error))
            raise
        finally:
            self._tell(end)

    async def watch(self, plan: Plan, progress: Progress) -> None:
        """Show how far the run is, here and on its page, until cancelled."""
        if self._url.done() and (page := self._url.result()):
            progress.notices.append(f"Prefect shows this run at {page}")
        gauge = Gauge(plan, progress, heard=len(progress.notices))
        here = asyncio.create_task(watch(plan, progress))
        try:
            while True:
                await asyncio.sleep(SECONDS)
                if self.lost and not self._said:
                    self._said = True
                    progress.notices.append(f"{GONE}: {self.lost}")
                self._look(gauge)
        finally:
            here.cancel()
            await asyncio.wait([here])
            self._look(gauge)

    async def close(self, *told: Told) -> None:
        """Tell the last things, and wait some seconds for them to be painted."""
        self.leave(*told)
        try:
            await asyncio.to_thread(self._painter.wait, GRACE)
        except subprocess.TimeoutExpired:
            self._painter.kill()
            self.lost = self.lost or f"the last pictures were not painted within {GRACE:g} s"
        await asyncio.to_thread(self._reading.join)
        if self.lost and not self._said:
            logger.warning("%s: %s", GONE, self.lost)

    def leave(self, *told: Told) -> None:
        """Tell the last things, and go: the painter paints them alone."""
        for one in told:
            self._tell(one)
        self._lines.put(b"")
        self._writing.join(LEAVE)

    def _look(self, gauge: Gauge) -> None:
        if (line := gauge.line()) != self._line:
            self._line = line
            self._tell(Move(percent=gauge.fraction() * 100, line=line))
        for notice in gauge.news():
            self._tell(Say(text=notice))

    def _tell(self, told: BaseModel) -> None:
        if not self.lost:
            self._lines.put(told.model_dump_json().encode() + b"\n")

    def _write(self) -> None:
        pipe = self._painter.stdin
        assert pipe  # it was asked for
        with suppress(OSError), pipe:  # the painter has gone; how is heard by `_read`
            while line := self._lines.get():
                pipe.write(line)
                pipe.flush()

    def _read(self) -> None:
        assert self._painter.stdout  # it was asked for
        for line in self._painter.stdout:
            word = Word.model_validate_json(line)
            self.lost = self.lost or word.lost
            if word.url:
                self._url.set_result(word.url)
        if self._painter.wait():
            self._overhearing.join()
            self.lost = self.lost or f"its painter ended with {self._painter.returncode}: {self._last_words}"
        if not self._url.done():
            self._url.set_result("")

    def _overhear(self) -> None:
        assert self._painter.stderr  # it was asked for
        for line in self._painter.stderr:
            self._last_words = line.decode(errors="replace").strip() or self._last_words


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__
