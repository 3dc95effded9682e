"""Any OpenAI-compatible server as an engine: vLLM, llama.cpp, Ollama, a hosted service.

The road of a call that succeeds is as bare as an aiohttp and orjson loop can be; every other road (refusals,
silence, broken bodies) ends before the call's deadline, with what happened and what to do.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import orjson
from pydantic import BaseModel
from yarl import URL

from seedbed.asking import Asking, Ways
from seedbed.engines import Choice, EngineError, EngineGone, EngineRefused, Messages, ModelCard, Reply, Sampling
from seedbed.engines.batch import Batches
from seedbed.engines.breaker import Breaker
from seedbed.engines.completion import CLEAR, PassingFault, chosen
from seedbed.engines.line import Line
from seedbed.engines.pace import Pace
from seedbed.engines.refusals import field_remedy
from seedbed.engines.schema_watch import SchemaWatch
from seedbed.engines.wire import TooLarge
from seedbed.replies import Unreadable

BACKOFF_CAP = 30.0
PROBE_SECONDS = 10.0
PATIENCE = 60.0  # seconds for a server to come back, but no less than one try may take and no more than a call
BATCH_BYTES = 2 << 30  # of a file of a batch's answers


@dataclass(frozen=True, slots=True)
class Server:
    """What is particular to a server: headers beside the usual ones, what stands behind the ?, fields that differ.

    `secrets` are values of headers that are never to be told; `batches` is the folder of the batch API, where used.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    omit: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    top_logprobs: int = 20
    batches: Path | None = None


class HttpEngine:
    """One OpenAI-compatible server. Use it as `async with HttpEngine(...) as engine`.

    At most `concurrency` calls are under way, fewer where the server shows that it has enough (`pace.py`); the others
    queue. From leaving the queue a call takes at most `deadline` = timeout x (retries + 1) seconds, its waits
    included; one attempt takes at most `timeout`. HTTP 429 is tried again until then, other faults `retries` times. A
    server that is gone is waited for a while (`breaker.py`).
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        revision: str = "unspecified",
        licence: str = "unknown",
        api_key: str | None = None,
        concurrency: int = 64,
        timeout: float = 120.0,
        retries: int = 4,
        backoff: float = 0.5,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: random.Random | None = None,
        server: Server = Server(),
        asking: Asking | None = None,
    ) -> None:
        """`timeout` and `backoff` in seconds. Raises ValueError for an address, key or proxy that cannot be used."""
        base = _base(base_url)
        self.card = ModelCard("http", model, revision, licence)
        self.deadline = timeout * (retries + 1)
        self._key, self._timeout = _key(api_key), timeout
        self._line = Line(base.with_query(dict(server.query)), tuple(filter(None, (self._key, *server.secrets))))
        self._where = self._line.where
        self._server, self._ways = server, Ways(asking, server.omit)
        self._concurrency, self._retries, self._backoff = concurrency, retries, backoff
        self._sleep, self._rng = sleep, rng or random.Random()
        self._formats: dict[type[BaseModel], orjson.Fragment] = {}
        self._breaker = Breaker(self._where, max(timeout, min(self.deadline, PATIENCE)))
        self._schemas = SchemaWatch(self._where)
        self._tells_odds = False  # it has given log-probabilities
        self._answered_at = 0.0  # the last good answer, monotonic seconds
        # Calls queue here and not in the connector, whose queue would count against the timeout.
        self._pace = Pace(concurrency)
        self._batches = Batches(server.batches, self._where, self._of_batch) if server.batches else None

    async def __aenter__(self) -> Self:
        headers = {"Accept-Encoding": "identity", "User-Agent": "seedbed", **self._server.headers}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._pace = Pace(self._concurrency)  # its queue belongs to one event loop
        self._line.open(headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._batches is not None:
            await self._batches.close()
        await self._line.close()

    async def chat(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        step: str,
        ordinal: int = 0,
        schema: type[BaseModel] | None = None,
    ) -> Reply:
        """One answer; the server is asked to hold it to `schema`. Raises EngineError, Unreadable."""
        request: dict[str, object] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": ordinal % 2**31,
        }
        if schema is not None:
            request["response_format"] = self._formats.get(schema) or self._format(schema)
        reply, _ = await self._complete(messages, request, step)
        if schema is not None and not self._schemas.over:
            self._schemas.look(reply, schema, self._line.said(reply.text))
        return reply

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """Each option's probability among the likeliest first tokens. Raises EngineError, Unreadable."""
        request: dict[str, object] = {"temperature": 0, "max_tokens": 1, "logprobs": True}
        request["top_logprobs"] = self._server.top_logprobs
        reply, answer = await self._complete(messages, request, step)
        found = chosen(answer, tuple(options), reply.tokens_in, max(CLEAR, self._ways.least_mass))
        if found is not None:
            self._tells_odds = True
            return found
        # Of a server that tells them it is this one answer, as is one without words, which a filter took out.
        if self._tells_odds or not reply.text:
            raise Unreadable(step, "no log-probabilities", reply.text, tokens=(reply.tokens_in, reply.tokens_out))
        said = f"{self._where}: it gave an answer without log-probabilities. {field_remedy('logprobs', '')}"
        raise EngineGone(said, "no log-probabilities")

    async def probe(self) -> str:
        """What the server says it serves, in one line, asked once and briefly. Raises EngineError."""
        try:
            content = await self._line.exchange("GET", "models", b"", min(PROBE_SECONDS, self._timeout))
            listed = [str(entry["id"]) for entry in orjson.loads(content)["data"]]
        except PassingFault as fault:
            raise EngineError(f"{self._where}: {fault}. Is it running, and is base_url right?") from fault
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            said = f"is no list of models but: {self._line.said(content)}"
            raise EngineError(f"{self._where}/models {said}. Check base_url") from error
        if self.card.model in listed:
            return f"{self._where} serves {self.card.model}"
        return f"{self._where} does not list {self.card.model}; it lists {', '.join(listed[:8]) or 'nothing'}"

    async def _complete(
        self, messages: Messages, request: dict[str, object], step: str
    ) -> tuple[Reply, Mapping[str, Any]]:
        """The reply and the choice it came from, with as many tries as are allowed. Raises EngineError, Unreadable."""
        fields = self._as_told(messages, request, step)
        try:
            body = orjson.dumps(fields)
        except orjson.JSONEncodeError as error:
            raise EngineRefused(f"the prompt is no valid text ({error}). Mend its source", "no valid text") from error
        if self._batches is not None:
            return await self._batched(self._batches, body, step)
        # The place is kept while a call waits for its next try: a server that refuses sees fewer calls.
        await self._pace.enter()
        try:
            return await self._tries(body, fields, step)
        finally:
            self._pace.leave()

    def _as_told(self, messages: Messages, request: dict[str, object], step: str) -> dict[str, object]:
        """The fields of a request as this server takes them and as the recipe says."""
        way, server = self._ways.of(step), self._server
        request["model"], request["messages"], request["stream"] = self.card.model, way.messages(messages), False
        if way.template:
            request["chat_template_kwargs"] = way.template
        if way.extra:
            request |= way.extra
        if server.omit or server.rename:
            return {server.rename.get(name, name): value for name, value in request.items() if name not in server.omit}
        return request

    async def _tries(self, body: bytes, fields: Mapping[str, object], step: str) -> tuple[Reply, Mapping[str, Any]]:
        sent = began = time.monotonic()
        ends, seconds, tries, counted = sent + self.deadline, self._timeout, 0, 0
        while True:
            probe = self._breaker.open and await self._breaker.admit(ends)
            try:
                content = await self._line.exchange("POST", "chat/completions", body, seconds, fields=fields)
                found = self._line.completion(content, step)
                self._answered(step, sent)
                return found
            except PassingFault as fault:
                last = fault
                tries, counted = tries + 1, counted + self._counts(fault, body, sent, probe)
                wait = self._wait(fault, tries)
                if counted > self._retries or time.monotonic() + wait >= ends:
                    raise self._surrender(fault, tries, began, counted > self._retries) from fault
            except (EngineError, Unreadable, TooLarge) as told:  # of this one call, by a server that is there
                self._heard(told, step, sent)
            finally:
                if probe:
                    self._breaker.probed()
            await self._sleep(wait)
            slept = time.monotonic()
            await self._pace.stay()
            sent = time.monotonic()
            if self._answered_at > slept:  # in the queue again, and it moves: that does not count
                ends += sent - slept
            elif sent >= ends:
                raise self._surrender(last, tries, began, False) from last
            seconds = min(self._timeout, ends - sent)

    def _heard(self, told: EngineError | Unreadable | TooLarge, step: str, sent: float) -> NoReturn:
        """Raise what an answer came to, as those who ask know it; one that cannot be read is an answer all the same."""
        if isinstance(told, EngineError):
            self._breaker.answered()
            raise told
        self._answered(step, sent)
        if isinstance(told, Unreadable):
            raise told
        raise Unreadable(step, f"an answer of {told}", "", "Lower max_tokens, or mend the server") from told

    def _answered(self, step: str, sent: float) -> None:
        self._answered_at = time.monotonic()
        self._pace.answered(step, sent, self._answered_at)
        self._breaker.answered()

    async def _batched(self, batches: Batches, body: bytes, step: str) -> tuple[Reply, Mapping[str, Any]]:
        try:
            return self._line.completion(await batches.answer(body), step)
        except PassingFault as fault:
            raise EngineError(f"{self._where}: {fault}", fault.kind) from fault

    async def _of_batch(self, method: str, page: str, body: bytes, kind: str) -> bytes:
        """One request of the batch API. Raises PassingFault, EngineGone."""
        try:
            return await self._line.exchange(method, page, body, self._timeout, kind, most=BATCH_BYTES)
        except (EngineError, TooLarge) as error:
            hint = f"Asked was {page}: for a server without a batch API leave out `batch` in the recipe"
            raise EngineGone(f"{error}. {hint}", "no batch API") from error

    def _counts(self, fault: PassingFault, body: bytes, sent: float, probe: bool) -> bool:
        """Whether a try that failed uses up one of `retries`; pace and breaker are told of it."""
        refused = fault.status == 429
        if fault.busy and not probe:
            self._pace.refused(sent, time.monotonic())
        if refused:
            self._breaker.answered()
        elif fault.retry_after is None:
            self._breaker.failed(hash(body), str(fault), fault.absent)
        return not refused and not (probe and fault.absent)

    def _surrender(self, fault: PassingFault, tries: int, began: float, spent: bool) -> EngineError:
        """The end of a call that `began` then; nobody else had an answer since: then all calls are in for the same."""
        asked, alone = fault.retry_after, self._answered_at >= began
        if not spent and asked is not None:
            why = f"It asks to wait {asked:.0f} s, a call may take {self.deadline:.0f} s: run again later"
            alone = asked < self.deadline
        elif fault.status == 429:
            why = f"It refused {tries} tries in {self.deadline:.3g} s: lower concurrency, or run again later"
        else:
            why, alone = f"Gave up after {tries} tries: check that the server is up, then run again", True
        kind = EngineError if alone else EngineGone
        return kind(f"{self._where}: {fault}. {why}", fault.kind)

    def _wait(self, fault: PassingFault, tries: int) -> float:
        """Seconds until the next try, after so many."""
        if fault.retry_after is not None:
            return fault.retry_after
        return self._rng.uniform(0, min(BACKOFF_CAP, self._backoff * 2 ** min(tries - 1, 16)))

    def _format(self, schema: type[BaseModel]) -> orjson.Fragment:
        shape = {"name": schema.__name__, "schema": schema.model_json_schema(), "strict": True}
        format_ = orjson.Fragment(orjson.dumps({"type": "json_schema", "json_schema": shape}))
        self._formats[schema] = format_
        return format_


def _base(text: str) -> URL:
    remedy = "write it like http://127.0.0.1:8000/v1"
    try:
        url = URL(text.strip())
    except ValueError as error:
        raise ValueError(f"base_url is no web address: {remedy}") from error
    if url.user or url.password or url.query_string or url.fragment:
        # Not quoted: what it holds may be a secret.
        raise ValueError(f"base_url may hold no user, password, query or fragment: {remedy}")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"base_url {text!r} is no http or https address: {remedy}")
    return url.with_path(url.path.rstrip("/"))


def _key(text: str | None) -> str:
    key = (text or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key is no header text: check the variable that api_key_env names")
    return key
