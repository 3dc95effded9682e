"""An engine with the ledger before it: what methods are given.

A call's key is a hash of the model, the messages, the sampling, what the recipe says of how it is asked, the schema and
the ordinal. What is recorded is what the server sent; it is read by `seedbed/replies.py` whenever it is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, TypeVar

import orjson
from pydantic import BaseModel

from seedbed.asking import Ways
from seedbed.engines import Engine, EngineError, EngineGone, EngineRefused, Messages, ModelCard, Sampling
from seedbed.engines.pace import Pace
from seedbed.journal_line import check_prompt
from seedbed.ledger import Ledger, Stopped
from seedbed.prices import Price
from seedbed.replies import Choice, Reply, Unreadable, reply
from seedbed.store.rows import CallRow, microseconds, served_before

logger = logging.getLogger(__name__)


class _Said(NamedTuple):
    """What came of a call, as it is recorded."""

    response: str = ""
    finish: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    apart: tuple[str, str, str, str] = ("", "", "", "")  # reasoning, refusal, tool calls, the name it was served by
    status: str = "ok"
    error: str = ""


_Got = TypeVar("_Got", Reply, Choice)


@lru_cache(maxsize=64)
def _schema(schema: type[BaseModel] | None) -> dict[str, object] | None:
    return schema.model_json_schema() if schema else None


@lru_cache(maxsize=64)
def _options(options: tuple[str, ...], asked: str) -> bytes:
    return orjson.dumps({"options": options, "asked": asked} if asked else {"options": options})


class Recorded:
    """An engine with the ledger before it: what methods are given. `concurrency` bounds the calls in flight."""

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        run_id: str,
        concurrency: int,
        price: Price | None = None,
        ways: Ways | None = None,
    ) -> None:
        self._engine, self._ledger, self._run_id, self._price = engine, ledger, run_id, price
        self._ways = ways or Ways()
        self._slots = Pace(concurrency)  # all of it, always: a cheaper queue than a semaphore
        self._asked: dict[str, asyncio.Future[None] | None] = {}
        self._answering: set[str] = set()  # steps that had an answer
        self._served: set[str] = set()  # names that the server gave to the model
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
        way = self._ways.of(step)
        drawn = way.sampling(sampling)
        request: dict[str, object] = {
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "max_tokens": drawn.max_tokens,
            "ordinal": ordinal,
            "schema": _schema(schema),
        }
        if way.key:
            request["asked"] = way.key

        ask = partial(self._engine.chat, messages, drawn, step=step, ordinal=ordinal, schema=schema)
        row, got = await self._answer(messages, orjson.dumps(request), step, ask, self._said_by)
        return _read(row) if got is None else got._replace(call_id=row.call_id)

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """As Engine.choose, answered from the ledger where it can be.

        Raises:
            Unreadable: besides, where the options hold too little of the probability. Stopped: besides.
        """
        request = _options(tuple(options), self._ways.of(step).key)
        ask = partial(self._engine.choose, messages, options, step=step)
        row, got = await self._answer(messages, request, step, ask, _chosen_by)
        found = _chosen(row) if got is None else got._replace(call_id=row.call_id)
        if found.mass >= self._ways.least_mass:
            return found
        try:
            return found.meant(step, self.card.model, self._ways.least_mass)
        except Unreadable as problem:
            problem.call_id = row.call_id
            raise

    async def _answer(
        self,
        messages: Messages,
        request: bytes,
        step: str,
        ask: Callable[[], Awaitable[_Got]],
        said: Callable[[_Got], _Said],
    ) -> tuple[CallRow, _Got | None]:
        """The row of a call that was answered, and the answer where it was made now.

        Raises:
            Unreadable, EngineError: it was not answered. Stopped: no call is made any more.
        """
        prompt = orjson.dumps(messages)
        check_prompt(prompt)
        digest = self._digest.copy()
        digest.update(prompt)
        digest.update(request)
        call_id, got = digest.hexdigest(), None
        while True:
            row = await self._ledger.find(call_id) if self._ledger.may_know(call_id) else None
            if row is not None:
                self._ledger.tally.replayed += 1
                break
            if call_id not in self._asked:
                self._asked[call_id] = None
                try:
                    row, got = await self._pay(call_id, prompt, request, step, ask, said)
                finally:
                    self._wake_twins(call_id)
                break
            await self._twin(call_id)
        if row.error:
            raise _problem(row, step)
        self._answering.add(step)
        return row, got

    def _wake_twins(self, call_id: str) -> None:
        waiting = self._asked.pop(call_id)
        if waiting:
            waiting.set_result(None)

    async def _twin(self, call_id: str) -> None:
        """Wait for whoever is asking the very same, and use that answer if it comes."""
        waiting = self._asked[call_id]
        if waiting is None:
            waiting = self._asked[call_id] = asyncio.get_running_loop().create_future()
        await asyncio.wait([waiting])

    async def _pay(
        self,
        call_id: str,
        prompt: bytes,
        request: bytes,
        step: str,
        ask: Callable[[], Awaitable[_Got]],
        said: Callable[[_Got], _Said],
    ) -> tuple[CallRow, _Got | None]:
        ledger, got, error = self._ledger, None, None
        await self._slots.enter()
        try:
            if ledger.limited:
                await ledger.room()
            task = ledger.begin()
            started = time.perf_counter()
            try:
                got = await ask()
                told = said(got)
            except (EngineError, Unreadable) as problem:
                told, error = self._instead(problem, step)
            except asyncio.CancelledError:
                ledger.cancelled(task)
                raise
            finally:
                ledger.left(task)
            row = self._made(call_id, step, told, time.perf_counter() - started)
            ledger.paid(row)
            await ledger.record(row, prompt, request)  # its slot is free once it cannot be lost
        finally:
            self._slots.leave()
        if row.served and row.served not in self._served:
            await self._heed(row.served)
        if ledger.due():
            await ledger.flush_in_time()
        if error is not None:
            raise error
        return row, got

    def _said_by(self, got: Reply) -> _Said:
        served = "" if got.served == self._identity[0] else got.served
        apart = (got.reasoning, got.refusal, got.tool_calls, served)
        return _Said(got.sent or got.text, got.finish, got.tokens_in, got.tokens_out, apart)

    async def _heed(self, served: str) -> None:
        """Say so where the server calls the model by another name than when earlier answers were recorded."""
        self._served.add(served)
        before = await asyncio.to_thread(served_before, self._ledger.store, *self._identity)
        if before and served not in before:
            logger.warning(
                "%s is %s by now, and was %s when earlier answers were recorded, which are used again as they are. To "
                "ask the new one anew, write under this model in the recipe: revision: %s",
                *(self.card.model, served, " and ".join(before), served),
            )

    def _instead(self, problem: EngineError | Unreadable, step: str) -> tuple[_Said, EngineError | None]:
        """What is recorded in place of an answer, and what its caller is told of it besides. Raises Stopped.

        A refusal stands for good where others are answered: of the same step, unless the prompt is why.
        """
        if isinstance(problem, EngineGone):  # the next call would fail alike: one message, and no row is lost to it
            self._ledger.stop(str(problem))
            raise Stopped(str(problem)) from problem
        if isinstance(problem, Unreadable):  # paid for and answered, only not as it was asked: that is its answer
            told = f"{problem.why}\n{problem.remedy}" if problem.remedy else problem.why
            return _Said(problem.raw, "stop", *problem.tokens, error=told), None
        others = self._answering and (step in self._answering or getattr(problem, "about_prompt", False))
        if isinstance(problem, EngineRefused) and others:
            return _Said(status="refused", error=f"{problem.kind}\n{problem}"), None
        return _Said(status="error", error=str(problem)), problem

    def _made(self, call_id: str, step: str, said: _Said, seconds: float) -> CallRow:
        usd = None
        if self._price and said.tokens_in is not None and said.tokens_out is not None:
            usd = self._price.usd(said.tokens_in, said.tokens_out)
        named = (call_id, self._run_id, step, *self._identity)
        spent = (said.tokens_in, said.tokens_out, seconds, usd)
        response, error = _whole(said.response), _whole(said.error)
        return CallRow(*named, response, said.finish, *spent, said.status, error, microseconds(), *said.apart)


def _whole(text: str) -> str:
    """A text such as a file and a table can hold; half a character is a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _problem(row: CallRow, step: str) -> EngineError | Unreadable:
    """What a call came to that was refused, or whose answer could not be read."""
    kind, _, rest = row.error.partition("\n")
    problem: EngineRefused | Unreadable
    if row.status == "refused":
        problem = EngineRefused(rest, kind)
    else:
        problem = Unreadable(step, kind, row.response, rest, (row.tokens_in, row.tokens_out))
    problem.call_id = row.call_id
    return problem


def _chosen_by(got: Choice) -> _Said:
    answer: dict[str, object] = {"probabilities": got.probabilities, "mass": got.mass}
    if got.wanted:
        answer["wanted"] = dict(got.wanted)
    return _Said(orjson.dumps(answer).decode(), "stop", got.tokens_in, None if got.tokens_in is None else 1)


def _read(row: CallRow) -> Reply:
    """A recorded reply, read again."""
    return reply(
        row.response,
        row.finish,
        (row.tokens_in, row.tokens_out),
        reasoning=row.reasoning or "",
        refusal=row.refusal or "",
        tool_calls=row.tool_calls or "",
        call_id=row.call_id,
    )


def _chosen(row: CallRow) -> Choice:
    told = orjson.loads(row.response)
    return Choice(told["probabilities"], told["mass"], row.tokens_in, row.call_id, told.get("wanted", {}))
