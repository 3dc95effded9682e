"""The ledger: resume is just running again.

Every call has a key made of everything that decides its answer. A key that is recorded is answered from here for
nothing; any other call goes to the engine, and is in the journal before its caller sees the answer. Recorded
answers are the truth.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from duckdb import ConversionException, DuckDBPyConnection, InvalidInputException

from seedbed.budget import Allowance, Budget, Tally
from seedbed.journal import Journal, Outbox
from seedbed.store import Store, StoreError
from seedbed.store.call_index import CallIndex
from seedbed.store.rows import CallRow, load_calls
from seedbed.taking_in import take_in

BLOCK = 1024  # recorded calls read at once: a re-run asks in about the order they were made
BLOCKS_KEPT = 24
FLUSH_SECONDS, FLUSH_ROWS, MOST_ROWS = 2.0, 8192, 65_536  # the journal holds what is not committed yet
PATIENCE, HURRY = 900.0, 3.0  # seconds that a run waits for other processes at its store, and when it is to end

Outcome = Callable[[DuckDBPyConnection], None]


class Stopped(Exception):
    """No new call is made: the run was asked to stop, or its budget is spent."""


class Ledger:
    """The recorded calls of a store, and the one way to add to them. Used from one event loop.

    The caller holds the run's lease (`seedbed.journal.lease`).
    """

    def __init__(self, store: Store, run_id: str, budget: Budget | None = None) -> None:
        self.store = store
        self._run_id = run_id
        self.tally, self.stop_reason = Tally(), ""
        self._allowance = Allowance(budget, self.tally) if budget and budget.limited else None
        self.limited = self._allowance is not None
        store.patience = PATIENCE
        take_in(store, run_id)
        self._index = CallIndex(store)
        self._journal = Journal(store.home, run_id)
        self._outbox = Outbox(self._journal, self._recorded, self.stop)
        self.record = self._outbox.add  # makes a call durable: pay for nothing that cannot be recorded
        self._written: list[CallRow] = []  # since the journal's last turn
        self._fresh: dict[str, CallRow] = {}  # not in the store yet
        self._outcomes: list[Outcome] = []
        self._blocks: OrderedDict[int, asyncio.Future[dict[str, CallRow]]] = OrderedDict()
        self._flushing = asyncio.Lock()
        self._flushed_at = time.monotonic()
        self._asking: set[asyncio.Task[object] | None] = set()
        self._given_up = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self, reason: str) -> None:
        """Let calls in flight end and make no new one."""
        self.stop_reason = self.stop_reason or reason
        if self._allowance:
            self._allowance.look_again()

    def give_up(self) -> None:
        """Wait no longer for calls in flight: each raises Stopped. What they cost is not known, and not counted."""
        self._given_up = True
        for task in self._asking:
            if task:
                task.cancel()

    def begin(self) -> asyncio.Task[object] | None:
        """The current task, which is about to ask an engine. Raises Stopped if no new call may be made."""
        if self.stop_reason:
            raise Stopped(self.stop_reason)
        self.tally.in_flight += 1
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        self._asking.add(task)
        return task

    def cancelled(self, task: asyncio.Task[object] | None) -> None:
        """A call was cancelled. Raises Stopped where that was to wait for it no longer, and for nothing else."""
        if self._given_up and not (task and task.uncancel()):
            raise Stopped(self.stop_reason) from None

    def left(self, task: asyncio.Task[object] | None) -> None:
        """The call is under way no more, however it ended."""
        self._asking.discard(task)
        self.tally.in_flight -= 1
        if self._allowance:
            self._allowance.look_again()

    def hurry(self) -> None:
        """Wait no longer for other processes at the store: the run is to end, and the journal has its calls."""
        self.store.patience = HURRY

    async def room(self) -> None:
        """Wait until the budget has room for a call beside those under way, or the run is to stop."""
        while not self.stop_reason and self._allowance:
            if spent := self._allowance.spent():
                self.stop(spent)
            elif self._allowance.room():
                break
            else:
                await self._allowance.next_end()

    def paid(self, row: CallRow) -> None:
        """Count what a call has cost. An answer that tells no tokens stops a run that has to count them."""
        tally, told = self.tally, row.tokens_in is not None and row.tokens_out is not None
        tally.calls += 1
        tally.failed += row.status == "error"
        tally.tokens_in += row.tokens_in or 0
        tally.tokens_out += row.tokens_out or 0
        tally.usd += row.usd or 0.0
        tally.unpriced += row.usd is None
        tally.unmetered += row.status == "ok" and not told
        if not self._allowance:
            return
        self._allowance.learn((row.tokens_in or 0) + (row.tokens_out or 0), row.usd or 0.0)
        if row.status == "ok" and not told and (limit := self._allowance.needs_tokens()):
            self.stop(
                f"{limit} cannot be kept: the server of {row.model} does not tell how many tokens an answer took (no "
                "`usage`). Give the run a budget in minutes instead, or mend the server"
            )

    def may_know(self, call_id: str) -> bool:
        """Whether it is worth asking `find`: that costs a turn of the event loop."""
        return call_id in self._fresh or self._index.row(call_id) is not None

    async def find(self, call_id: str) -> CallRow | None:
        """The recorded call of this key, if there is one that was answered or refused for good."""
        fresh = self._fresh.get(call_id)
        if fresh is not None:
            return None if fresh.status == "error" else fresh
        row = self._index.row(call_id)
        return None if row is None else (await self._block(row // BLOCK)).get(call_id)

    def due(self) -> bool:
        """Whether it is worth asking `flush_in_time`."""
        return len(self._written) >= FLUSH_ROWS or time.monotonic() - self._flushed_at > FLUSH_SECONDS

    async def flush_in_time(self) -> None:
        """Commit what has come together. Raises StoreError, and stops the run."""
        if self._flushing.locked():
            if len(self._written) >= MOST_ROWS:  # others keep the store: no more calls than memory holds
                async with self._flushing:
                    pass
        elif self.due():
            try:
                await self.flush()
            except StoreError as error:
                self.stop(str(error))
                raise

    def _recorded(self, rows: Sequence[CallRow]) -> None:
        self._written += rows
        self._fresh.update((row.call_id, row) for row in rows)

    def conclude(self, outcome: Outcome) -> None:
        """Store what came of recorded calls with the next commit, after them and in the same transaction."""
        self._outcomes.append(outcome)

    async def settle(self, most: int) -> None:
        """Commit once `most` outcomes wait, where no call leads to it. Raises StoreError, and stops the run."""
        if len(self._outcomes) >= most:
            try:
                await self.flush()
            except StoreError as error:
                self.stop(str(error))
                raise

    async def flush(self) -> None:
        """Commit what is recorded and concluded so far to the store."""
        async with self._flushing:
            self._outbox.put()
            segment, rows, self._written = self._journal.turn(), self._written, []
            outcomes, self._outcomes = self._outcomes, []
            self._flushed_at = time.monotonic()
            calls = segment if rows else None
            first = await asyncio.to_thread(self._commit, calls, outcomes) if rows or outcomes else 0
            segment.unlink()
            self._index.add([(row.call_id, first + i) for i, row in enumerate(rows) if row.status != "error"])
            for row in rows:
                if self._fresh.get(row.call_id) is row:  # not recorded again meanwhile
                    del self._fresh[row.call_id]
            self._blocks.pop((first + len(rows)) // BLOCK, None)
            self._blocks.pop(first // BLOCK, None)

    async def close(self) -> None:
        """Commit the rest."""
        try:
            await self.flush()
        finally:
            self._outbox.put()  # what was added while that was under way
            self._journal.close()

    def _commit(self, calls: Path | None, outcomes: Sequence[Outcome]) -> int:
        try:
            with self.store.writing() as connection:
                first = _loaded(connection, calls) if calls else 0
                for outcome in outcomes:
                    outcome(connection)
        except StoreError:
            self.hurry()
            raise
        return first

    async def _block(self, number: int) -> dict[str, CallRow]:
        found = self._blocks.get(number)
        if found is None:
            found = asyncio.ensure_future(asyncio.to_thread(self._read, number))
            self._blocks[number] = found
            if len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(number)
        return await asyncio.shield(found)

    def _read(self, number: int) -> dict[str, CallRow]:
        columns = ", ".join(CallRow._fields).replace("created_at", "0")
        with self.store.reading() as connection:
            rows = connection.execute(
                f"SELECT {columns} FROM base.calls WHERE rowid >= ? AND rowid < ? AND status <> 'error'",
                [number * BLOCK, (number + 1) * BLOCK],
            ).fetchall()
        return {row[0]: CallRow(*row) for row in rows}


def _loaded(connection: DuckDBPyConnection, calls: Path) -> int:
    try:
        return load_calls(connection, calls)
    except (InvalidInputException, ConversionException) as error:
        why = f"DuckDB cannot read {calls}, as if somebody had changed it: {error}"
        raise StoreError(f"{why}. Run the same command again, which sorts out what is damaged") from error
