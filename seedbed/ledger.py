"""The ledger: resume is just running again.

Every call has a key made of everything that decides its answer. A key that is recorded is answered from here for
nothing; any other call goes to the engine, and is in the journal before its caller sees the answer. Recorded
answers are the truth.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from pathlib import Path

import orjson
from duckdb import ConversionException, DuckDBPyConnection, InvalidInputException
from pydantic import BaseModel

from seedbed.budget import Allowance, Budget, Tally
from seedbed.engines import Choice, Engine, EngineError, EngineGone, Messages, ModelCard, Reply, Sampling
from seedbed.journal import Journal, Outbox
from seedbed.journal_line import check_prompt
from seedbed.prices import Price
from seedbed.replies import Unreadable
from seedbed.store import Store, StoreError
from seedbed.store.call_index import CallIndex
from seedbed.store.rows import CallRow, load_calls, microseconds
from seedbed.taking_in import take_in

BLOCK = 1024  # recorded calls read at once: a re-run asks in about the order they were made
BLOCKS_KEPT = 24
FLUSH_SECONDS, FLUSH_ROWS, MOST_ROWS = 2.0, 8192, 65_536  # the journal holds what is not committed yet
PATIENCE, HURRY = 900.0, 3.0  # seconds that a run waits for other processes at its store, and when it is to end

Outcome = Callable[[DuckDBPyConnection], None]
_Call = Callable[[], Awaitable[tuple[str, str, int, int]]]


@lru_cache(maxsize=64)
def _schema(schema: type[BaseModel] | None) -> dict[str, object] | None:
    return schema.model_json_schema() if schema else None


@lru_cache(maxsize=64)
def _options(options: tuple[str, ...]) -> bytes:
    return orjson.dumps({"options": options})


class Stopped(Exception):
    """No new call is made: the run was asked to stop, or its budget is spent."""


class Ledger:
    """The recorded calls of a store, and the one way to add to them. Used from one event loop.

    The caller holds the run's lease (`seedbed.journal.lease`).
    """

    def __init__(self, store: Store, run_id: str, budget: Budget | None = None) -> None:
        self._store, self._run_id = store, run_id
        self.tally, self.stop_reason = Tally(), ""
        self._allowance = Allowance(budget, self.tally) if budget and budget.limited else None
        self.limited = self._allowance is not None
        store.patience = PATIENCE
        take_in(store, run_id)
        self._index = CallIndex(store)
        self._journal = Journal(store.home, run_id)
        self._outbox = Outbox(self._journal, self._recorded, self.stop)
        self._written: list[CallRow] = []  # since the journal's last turn
        self._fresh: dict[str, CallRow] = {}  # not in the store yet
        self._outcomes: list[Outcome] = []
        self._blocks: OrderedDict[int, asyncio.Future[dict[str, CallRow]]] = OrderedDict()
        self._flushing = asyncio.Lock()
        self._flushed_at = time.monotonic()

    def stop(self, reason: str) -> None:
        """Let calls in flight end and make no new one."""
        self.stop_reason = self.stop_reason or reason
        if self._allowance:
            self._allowance.look_again()

    def hurry(self) -> None:
        """Wait no longer for other processes at the store: the run is to end, and the journal has its calls."""
        self._store.patience = HURRY

    async def room(self) -> None:
        """Wait until the budget has room for a call beside those under way, or the run is to stop."""
        while not self.stop_reason and self._allowance:
            if spent := self._allowance.spent():
                self.stop(spent)
            elif self._allowance.room():
                break
            else:
                await self._allowance.next_end()

    def admit(self) -> None:
        """Raise Stopped if no new call may be made."""
        if self.stop_reason:
            raise Stopped(self.stop_reason)

    def left(self) -> None:
        """A call is under way no more, however it ended."""
        self.tally.in_flight -= 1
        if self._allowance:
            self._allowance.look_again()

    def paid(self, tokens_in: int, tokens_out: int, usd: float | None) -> None:
        """Count what a call that has just ended cost."""
        tally = self.tally
        tally.calls += 1
        tally.tokens_in += tokens_in
        tally.tokens_out += tokens_out
        tally.usd += usd or 0.0
        tally.unpriced += usd is None
        if self._allowance:
            self._allowance.learn(tokens_in + tokens_out, usd or 0.0)

    def may_know(self, call_id: str) -> bool:
        """Whether it is worth asking `find`: that costs a turn of the event loop."""
        return call_id in self._fresh or self._index.row(call_id) is not None

    async def find(self, call_id: str) -> CallRow | None:
        """The recorded call of this key, if there is one."""
        fresh = self._fresh.get(call_id)
        if fresh is not None:
            return fresh if fresh.status == "ok" else None
        row = self._index.row(call_id)
        return None if row is None else (await self._block(row // BLOCK)).get(call_id)

    async def record(self, row: CallRow, prompt: bytes, request: bytes) -> None:
        """Make a call durable. Raises StoreError, and the run stops: pay for nothing that cannot be recorded."""
        await self._outbox.add(row, prompt, request)

    async def flush_in_time(self) -> None:
        """Commit when enough has come together. Raises StoreError, and stops the run."""
        late = time.monotonic() - self._flushed_at > FLUSH_SECONDS
        if self._flushing.locked():
            if len(self._written) >= MOST_ROWS:  # others keep the store: no more calls than memory holds
                async with self._flushing:
                    pass
        elif late or len(self._written) >= FLUSH_ROWS:
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
            self._index.add([(row.call_id, first + i) for i, row in enumerate(rows) if row.status == "ok"])
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
            with self._store.writing() as connection:
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
        columns = ", ".join(CallRow._fields[:-1])
        with self._store.reading() as connection:
            rows = connection.execute(
                f"SELECT {columns}, 0 FROM base.calls WHERE rowid >= ? AND rowid < ? AND status = 'ok'",
                [number * BLOCK, (number + 1) * BLOCK],
            ).fetchall()
        return {row[0]: CallRow(*row) for row in rows}


def _loaded(connection: DuckDBPyConnection, calls: Path) -> int:
    try:
        return load_calls(connection, calls)
    except (InvalidInputException, ConversionException) as error:
        why = f"DuckDB cannot read {calls}, as if somebody had changed it: {error}"
        raise StoreError(f"{why}. Run the same command again, which sorts out what is damaged") from error


class Recorded:
    """An engine with the ledger before it: what methods are given. `concurrency` bounds the calls in flight."""

    def __init__(
        self, engine: Engine, ledger: Ledger, run_id: str, concurrency: int, price: Price | None = None
    ) -> None:
        self._engine, self._ledger, self._run_id, self._price = engine, ledger, run_id, price
        self._slots = asyncio.Semaphore(concurrency)
        self._asked: dict[str, asyncio.Future[None] | None] = {}
        self._identity = engine.card.model, engine.card.revision
        self._digest = hashlib.blake2b(orjson.dumps(self._identity), digest_size=12)

    @property
    def card(self) -> ModelCard:
        """Which model this is."""
        return self._engine.card

    async def chat(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        step: str,
        ordinal: int = 0,
        schema: type[BaseModel] | None = None,
    ) -> Reply:
        """As Engine.chat, answered from the ledger where it can be. Raises Stopped besides."""
        request = orjson.dumps(
            {
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_tokens": sampling.max_tokens,
                "ordinal": ordinal,
                "schema": _schema(schema),
            }
        )

        async def call() -> tuple[str, str, int, int]:
            got = await self._engine.chat(messages, sampling, step=step, ordinal=ordinal, schema=schema)
            return got.text, got.finish, got.tokens_in, got.tokens_out

        row = await self._answer(messages, request, step, call)
        return Reply(row.response, row.tokens_in, row.tokens_out, row.finish, row.call_id)

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """As Engine.choose, answered from the ledger where it can be. Raises Stopped besides."""

        async def call() -> tuple[str, str, int, int]:
            got = await self._engine.choose(messages, options, step=step)
            answer = {"probabilities": got.probabilities, "mass": got.mass}
            return orjson.dumps(answer).decode(), "stop", got.tokens_in, 1

        row = await self._answer(messages, _options(tuple(options)), step, call)
        if row.error:
            raise Unreadable(step, row.error, row.response)
        answer = orjson.loads(row.response)
        return Choice(answer["probabilities"], answer["mass"], row.tokens_in, row.call_id)

    async def _answer(self, messages: Messages, request: bytes, step: str, call: _Call) -> CallRow:
        prompt = orjson.dumps(messages)
        check_prompt(prompt)
        digest = self._digest.copy()
        digest.update(prompt)
        digest.update(request)
        call_id = digest.hexdigest()
        while True:
            row = await self._ledger.find(call_id) if self._ledger.may_know(call_id) else None
            if row is not None:
                self._ledger.tally.replayed += 1
                return row
            if call_id not in self._asked:
                break
            await self._twin(call_id)
        self._asked[call_id] = None
        try:
            return await self._pay(call_id, prompt, request, step, call)
        finally:
            waiting = self._asked.pop(call_id)
            if waiting:
                waiting.set_result(None)

    async def _twin(self, call_id: str) -> None:
        """Wait for whoever is asking the very same, and use that answer if it comes."""
        waiting = self._asked[call_id]
        if waiting is None:
            waiting = self._asked[call_id] = asyncio.get_running_loop().create_future()
        await asyncio.wait([waiting])

    async def _pay(self, call_id: str, prompt: bytes, request: bytes, step: str, call: _Call) -> CallRow:
        tally, (model, revision) = self._ledger.tally, self._identity
        async with self._slots:
            if self._ledger.limited:
                await self._ledger.room()
            self._ledger.admit()
            tally.in_flight += 1
            started = time.perf_counter()
            error: Exception | None = None
            unreadable = ""
            try:
                response, finish, tokens_in, tokens_out = await call()
            except EngineGone as problem:  # the next call would fail alike: one message, and no row is lost to it
                self._ledger.stop(str(problem))
                raise Stopped(str(problem)) from problem
            except EngineError as problem:
                response, finish, tokens_in, tokens_out, error = "", "", 0, 0, problem
            except Unreadable as problem:  # paid for and answered, only not with an option: that is its answer
                response, finish, tokens_in, tokens_out = problem.raw, "stop", problem.tokens_in, 1
                unreadable = problem.why
            finally:
                self._ledger.left()
            seconds = time.perf_counter() - started
            usd = self._price.usd(tokens_in, tokens_out) if self._price else None
            row = CallRow(
                *(call_id, self._run_id, step, model, revision, response, finish),
                *(tokens_in, tokens_out, seconds, usd, "error" if error else "ok", str(error or unreadable)),
                microseconds(),
            )
            tally.failed += error is not None
            self._ledger.paid(tokens_in, tokens_out, usd)
            await self._ledger.record(row, prompt, request)  # its slot is free once it cannot be lost
        await self._ledger.flush_in_time()
        if error is not None:
            raise error
        return row
