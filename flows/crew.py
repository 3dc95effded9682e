"""Processes that take in rows beside the run's own, where there are rows enough to be worth their start."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from flows.methods import Methods, methods
from flows.parts import Job, Part, made
from seedbed.sources.raw import Raw

WORTH_IT = 32_768  # rows of a source; a process takes a second to begin
_known: Methods | None = None


class Crew:
    """Where shards are worked on: in other processes, or in a thread of this one where there are few rows."""

    def __init__(self, rows: int) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None
        if rows >= WORTH_IT and cores > 1:
            context = multiprocessing.get_context("spawn")  # a fork would share the store's locks
            self._pool = ProcessPoolExecutor(cores, context, _begin)

    async def work(self, job: Job, raws: Sequence[Raw], first: int, attempt: int) -> Part:
        """The part that comes of these rows."""
        if self._pool is None:
            return await asyncio.to_thread(work, job, raws, first, attempt)
        try:
            columns = tuple(zip(*raws, strict=True))  # sent in a tenth of the time that the rows take one by one
            return await asyncio.get_running_loop().run_in_executor(self._pool, _sent, job, columns, first, attempt)
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a process that took in rows was ended from outside, for want of memory perhaps. Nothing that was "
                "stored is lost: the same command goes on"
            ) from error

    def close(self) -> None:
        """End the processes; what they were at is not waited for."""
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)


def work(job: Job, raws: Sequence[Raw], first: int, attempt: int) -> Part:
    """What `made` makes of these rows, by the methods that are known here."""
    global _known  # one table a process
    _known = _known or methods()
    return made(job, raws, first, attempt, _known)


def _sent(job: Job, columns: Sequence[Sequence[Any]], first: int, attempt: int) -> Part:
    return work(job, [Raw(*values) for values in zip(*columns, strict=True)], first, attempt)


def _begin() -> None:
    """Of a process of the crew: it ends with its parent, and by nothing that the terminal sends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # rows are many and in no circles: looking for some took a third of the time
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
