"""Any OpenAI-compatible server as an engine: vLLM, llama.cpp, Ollama, a hosted service.

The road of a call that succeeds is as bare as an aiohttp and orjson loop can be; every other road (refusals,
silence, broken bodies) ends before the call's deadline, with what happened and what to do.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from pydantic import BaseModel
from yarl import URL

from seedbed.engines import Choice, EngineError, EngineGone, Messages, ModelCard, Reply, Sampling
from seedbed.engines.batch import Batches
from seedbed.engines.batch_api import JSON
from seedbed.engines.breaker import Breaker
from seedbed.engines.completion import PassingFault, count, masses, retry_after, words
from seedbed.engines.pace import Pace
from seedbed.engines.schema_watch import SchemaWatch
from seedbed.engines.wire import Answer, Wire
from seedbed.replies import Unreadable

RETRIED = frozenset({408, 409, 425, 429})
BUSY = frozenset({429, 503, 529})  # the server is there and asks for patience
GATEWAY = frozenset({502, 504})  # a proxy says that nobody is behind it
BACKOFF_CAP = 30.0
PROBE_SECONDS = 10.0
PATIENCE = 60.0  # seconds for a server to come back, but no less than one try may take and no more than a call
FOR_ALL = frozenset({401, 402, 404})  # whatever is asked, the next call would hear the same
REMEDIES = {
    401: "Check the key in the environment variable that api_key_env names",
    402: "Top up the account",
    403: "Check the key in the environment variable that api_key_env names, and what it may use",
    404: "Check the model's name and base_url (it usually ends in /v1)",
    413: "Shorten the prompt",
}
TOO_LONG = ("context", "too long", "maximum model length", "max_model_len")


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
        batches: Path | None = None,
    ) -> None:
        """`timeout` and `backoff` in seconds; with the folder `batches`, calls go through the server's batch API."""
        base = _base(base_url)
        self.card = ModelCard("http", model, revision, licence)
        self.deadline = timeout * (retries + 1)
        self._key = _key(api_key)
        self._where = str(base)
        self._base, self._timeout = base, timeout
        self._concurrency, self._retries, self._backoff = concurrency, retries, backoff
        self._sleep, self._rng = sleep, rng or random.Random()
        self._formats: dict[type[BaseModel], orjson.Fragment] = {}
        self._breaker = Breaker(self._where, max(timeout, min(self.deadline, PATIENCE)))
        self._schemas = SchemaWatch(self._where)
        self._answered_at = 0.0  # the last good answer, monotonic seconds
        # Calls queue here and not in the connector, whose queue would count against the timeout.
        self._pace = Pace(concurrency)
        self._wire: Wire | None = None
        self._batches = Batches(batches, self._where, self._of_batch, keys=[self._key]) if batches else None

    async def __aenter__(self) -> Self:
        headers = {"Accept-Encoding": "identity", "User-Agent": "seedbed"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._pace = Pace(self._concurrency)  # its queue belongs to one event loop
        self._wire = Wire(self._base, headers, self._concurrency)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._batches is not None:
            await self._batches.close()
        if self._wire is not None:
            await self._wire.close()
            self._wire = None

    async def chat(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        step: str,
        ordinal: int = 0,
        schema: type[BaseModel] | None = None,
    ) -> Reply:
        """One answer; the server is asked to hold it to `schema`. Raises EngineError."""
        request: dict[str, object] = {
            "model": self.card.model,
            "messages": messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": ordinal % 2**31,
        }
        if schema is not None:
            request["response_format"] = self._formats.get(schema) or self._format(schema)
        reply, _ = await self._complete(request, step)
        if schema is not None and not self._schemas.over:
            self._schemas.look(reply, schema, self._said(reply.text))
        return reply

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """Each option's probability among the 20 likeliest first tokens. Raises EngineError, Unreadable."""
        request: dict[str, object] = {
            "model": self.card.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": 1,
            "logprobs": True,
            "top_logprobs": 20,
        }
        reply, answer = await self._complete(request, step)
        found = masses(answer, tuple(options))
        if found is None:
            raise EngineError(
                f"{self._where}: server returned no logprobs (needed by choose). "
                "Use a server that gives top_logprobs (vLLM, llama.cpp), or judge without choose"
            )
        mass = sum(found.values())
        if mass <= 0:
            why = f"none of the options {', '.join(options)} among the likely answers"
            raise Unreadable(step, why, reply.text, reply.tokens_in)
        return Choice({option: found[option] / mass for option in options}, min(mass, 1.0), reply.tokens_in)

    async def probe(self) -> str:
        """What the server says it serves, in one line, asked once and briefly. Raises EngineError."""
        try:
            content = await self._exchange("GET", "models", b"", min(PROBE_SECONDS, self._timeout))
            listed = [str(entry["id"]) for entry in orjson.loads(content)["data"]]
        except PassingFault as fault:
            raise EngineError(f"{self._where}: {fault}. Is it running, and is base_url right?") from fault
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            said = f"is no list of models but: {self._said(content)}"
            raise EngineError(f"{self._where}/models {said}. Check base_url") from error
        if self.card.model in listed:
            return f"{self._where} serves {self.card.model}"
        return f"{self._where} does not list {self.card.model}; it lists {', '.join(listed[:8]) or 'nothing'}"

    async def _complete(self, request: dict[str, object], step: str) -> tuple[Reply, dict[str, Any]]:
        """The reply and the choice it came from, with as many tries as are allowed. Raises EngineError."""
        try:
            body = orjson.dumps(request)
        except orjson.JSONEncodeError as error:
            raise EngineError(f"the prompt is no valid text ({error}). Mend its source") from error
        if self._batches is not None:
            return await self._batched(self._batches, body)
        # The place is kept while a call waits for its next try: a server that refuses sees fewer calls.
        await self._pace.enter()
        try:
            return await self._tries(body, step)
        finally:
            self._pace.leave()

    async def _tries(self, body: bytes, step: str) -> tuple[Reply, dict[str, Any]]:
        sent = began = time.monotonic()
        ends, seconds, tries, counted = sent + self.deadline, self._timeout, 0, 0
        while True:
            probe = self._breaker.open and await self._breaker.admit(ends)
            try:
                found = self._parse(await self._exchange("POST", "chat/completions", body, seconds))
                self._answered_at = time.monotonic()
                self._pace.answered(step, sent, self._answered_at)
                self._breaker.answered()
                return found
            except PassingFault as fault:
                last = fault
                tries, counted = tries + 1, counted + self._counts(fault, body, sent, probe)
                wait = self._wait(fault, tries)
                if counted > self._retries or time.monotonic() + wait >= ends:
                    raise self._surrender(fault, tries, began, counted > self._retries) from fault
            except EngineError:  # a refusal of this one call, by a server that is there
                self._breaker.answered()
                raise
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

    async def _batched(self, batches: Batches, body: bytes) -> tuple[Reply, dict[str, Any]]:
        try:
            return self._parse(await batches.answer(body))
        except PassingFault as fault:
            raise EngineError(f"{self._where}: {fault}") from fault

    async def _of_batch(self, method: str, page: str, body: bytes, kind: str) -> bytes:
        """One request of the batch API. Raises PassingFault, EngineGone."""
        try:
            return await self._exchange(method, page, body, self._timeout, kind)
        except EngineError as error:
            hint = f"Asked was {page}: for a server without a batch API leave out `batch` in the recipe"
            raise EngineGone(f"{error}. {hint}") from error

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

    async def _exchange(self, method: str, page: str, body: bytes, seconds: float, kind: str = JSON) -> bytes:
        """One request's whole body. Raises PassingFault where another try may help, EngineError where not."""
        if self._wire is None:
            raise RuntimeError("open the engine first: async with HttpEngine(...) as engine")
        try:
            answer = await self._wire.exchange(method, page, body, seconds, kind)
        except TimeoutError as error:
            # Too many calls at once are answered late: busy, as far as can be told.
            raise PassingFault(f"no whole answer within {seconds:.3g} s", busy=True, absent=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise PassingFault(self._said(f"{type(error).__name__}: {error}"), absent=True) from error
        if answer.status < 300:
            return answer.content
        raise self._refusal(answer)

    def _parse(self, content: bytes) -> tuple[Reply, dict[str, Any]]:
        try:
            answer = orjson.loads(content)
            choice = answer["choices"][0]
            text = choice["message"].get("content") or ""
            usage = answer.get("usage") or {}
            tokens_in, tokens_out = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
            finish = choice.get("finish_reason") or "stop"
            if not isinstance(text, str):
                raise TypeError("the content is no text")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            said = self._said(content) or "(empty)"
            raise PassingFault(f"the body is no chat completion: {said}") from error
        return Reply(text, tokens_in, tokens_out, finish), choice

    def _refusal(self, answer: Answer) -> Exception:
        status, said = answer.status, self._said(words(answer.content))
        if status in RETRIED or status >= 500:
            wait = retry_after(answer.headers.get("Retry-After", ""))
            why, absent = f"HTTP {status}: {said}", status in GATEWAY
            return PassingFault(why, wait, busy=status in BUSY, absent=absent, status=status)
        if status < 400:
            target = self._said(answer.headers.get("Location", "nowhere"))
            return EngineError(
                f"{self._where}: HTTP {status}: it redirects to {target}, and redirects are not followed. "
                "Write the final address as base_url"
            )
        remedy = REMEDIES.get(status, "Check that the server supports what was asked")
        if status == 400 and any(sign in said.lower() for sign in TOO_LONG):
            remedy = "Shorten the prompt or lower max_tokens"
        kind = EngineGone if status in FOR_ALL else EngineError
        return kind(f"{self._where}: HTTP {status}: {said}. {remedy}")

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
        return kind(f"{self._where}: {fault}. {why}")

    def _wait(self, fault: PassingFault, tries: int) -> float:
        """Seconds until the next try, after so many."""
        if fault.retry_after is not None:
            return fault.retry_after
        return self._rng.uniform(0, min(BACKOFF_CAP, self._backoff * 2 ** min(tries - 1, 16)))

    def _said(self, text: str | bytes) -> str:
        """The first 200 characters on one line, without our key, which some servers echo."""
        line = " ".join((text if isinstance(text, str) else text.decode(errors="replace")).split())
        return (line.replace(self._key, "***") if self._key else line)[:200]

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
