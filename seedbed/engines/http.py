"""Any OpenAI-compatible server as an engine: vLLM, llama.cpp, Ollama, a hosted service.

The road of a call that succeeds is as bare as an aiohttp and orjson loop can be; every other road (refusals,
silence, broken bodies) ends before the call's deadline, with what happened and what to do.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from pydantic import BaseModel
from yarl import URL

from seedbed.engines import Choice, EngineError, Messages, ModelCard, Reply, Sampling
from seedbed.engines.wire import Answer, Wire
from seedbed.replies import Unreadable

RETRIED = frozenset({408, 409, 425, 429})
BACKOFF_CAP = 30.0
PROBE_SECONDS = 10.0
REMEDIES = {
    401: "Check the key in the environment variable that api_key_env names",
    403: "Check the key in the environment variable that api_key_env names, and what it may use",
    404: "Check the model's name and base_url (it usually ends in /v1)",
    413: "Shorten the prompt",
}
TOO_LONG = ("context", "too long", "maximum model length", "max_model_len")


class _FaultError(Exception):
    """A failure that may pass: worth another try, after `retry_after` seconds where the server said so."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class HttpEngine:
    """One OpenAI-compatible server. Use it as `async with HttpEngine(...) as engine`.

    At most `concurrency` calls are under way, the others queue. From leaving the queue a call takes at most
    `deadline` = timeout x (retries + 1) seconds, its waits included; one attempt takes at most `timeout`.
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
    ) -> None:
        base = _base(base_url)
        self.card = ModelCard("http", model, revision, licence)
        self.deadline = timeout * (retries + 1)
        self._key = _key(api_key)
        self._where = str(base)
        self._base, self._timeout = base, timeout
        self._concurrency, self._retries, self._backoff = concurrency, retries, backoff
        self._sleep, self._rng = sleep, rng or random.Random()
        self._formats: dict[type[BaseModel], orjson.Fragment] = {}
        # Calls queue here and not in the connector, whose queue would count against the timeout.
        self._slots = asyncio.Semaphore(concurrency)
        self._wire: Wire | None = None

    async def __aenter__(self) -> Self:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "seedbed"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._slots = asyncio.Semaphore(self._concurrency)  # a semaphore belongs to one event loop
        self._wire = Wire(self._base, headers, self._concurrency)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        reply, _ = await self._complete(request)
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
        reply, answer = await self._complete(request)
        found = _masses(answer, tuple(options))
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
        except _FaultError as fault:
            raise EngineError(f"{self._where}: {fault}. Is it running, and is base_url right?") from fault
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            said = f"is no list of models but: {self._said(content)}"
            raise EngineError(f"{self._where}/models {said}. Check base_url") from error
        if self.card.model in listed:
            return f"{self._where} serves {self.card.model}"
        return f"{self._where} does not list {self.card.model}; it lists {', '.join(listed[:8]) or 'nothing'}"

    async def _complete(self, request: dict[str, object]) -> tuple[Reply, dict[str, Any]]:
        """The reply and the choice it came from, with as many tries as are allowed. Raises EngineError."""
        try:
            body = orjson.dumps(request)
        except orjson.JSONEncodeError as error:
            raise EngineError(f"the prompt is no valid text ({error}). Mend its source") from error
        # The slot is kept while a call waits for its next try: a server that refuses sees fewer calls.
        async with self._slots:
            ends, seconds, attempt = time.monotonic() + self.deadline, self._timeout, 0
            while True:
                try:
                    return self._parse(await self._exchange("POST", "chat/completions", body, seconds))
                except _FaultError as fault:
                    wait = self._wait(fault, attempt)
                    if attempt == self._retries or time.monotonic() + wait >= ends:
                        raise self._surrender(fault, attempt) from fault
                await self._sleep(wait)
                attempt, seconds = attempt + 1, min(self._timeout, ends - time.monotonic())

    async def _exchange(self, method: str, page: str, body: bytes, seconds: float) -> bytes:
        """One request's whole body. Raises _FaultError where another try may help, EngineError where not."""
        if self._wire is None:
            raise RuntimeError("open the engine first: async with HttpEngine(...) as engine")
        try:
            answer = await self._wire.exchange(method, page, body, seconds)
        except TimeoutError as error:
            raise _FaultError(f"no whole answer within {seconds:.3g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _FaultError(self._said(f"{type(error).__name__}: {error}")) from error
        if answer.status < 300:
            return answer.content
        raise self._refusal(answer)

    def _parse(self, content: bytes) -> tuple[Reply, dict[str, Any]]:
        try:
            answer = orjson.loads(content)
            choice = answer["choices"][0]
            text = choice["message"].get("content") or ""
            usage = answer.get("usage") or {}
            tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
            finish = choice.get("finish_reason") or "stop"
            if not isinstance(text, str):
                raise TypeError("the content is no text")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            said = self._said(content) or "(empty)"
            raise _FaultError(f"the body is no chat completion: {said}") from error
        return Reply(text, tokens_in, tokens_out, finish), choice

    def _refusal(self, answer: Answer) -> Exception:
        status, said = answer.status, self._said(_message(answer.content))
        if status in RETRIED or status >= 500:
            wait = _retry_after(answer.headers.get("Retry-After", ""))
            return _FaultError(f"HTTP {status}: {said}", wait)
        if status < 400:
            target = self._said(answer.headers.get("Location", "nowhere"))
            return EngineError(
                f"{self._where}: HTTP {status}: it redirects to {target}, and redirects are not followed. "
                "Write the final address as base_url"
            )
        remedy = REMEDIES.get(status, "Check that the server supports what was asked")
        if status == 400 and any(sign in said.lower() for sign in TOO_LONG):
            remedy = "Shorten the prompt or lower max_tokens"
        return EngineError(f"{self._where}: HTTP {status}: {said}. {remedy}")

    def _surrender(self, fault: _FaultError, attempt: int) -> EngineError:
        asked = fault.retry_after
        if attempt < self._retries and asked is not None:
            why = f"It asks to wait {asked:.0f} s, a call may take {self.deadline:.0f} s: run again later"
        else:
            why = f"Gave up after {attempt + 1} tries: check that the server is up, then run again"
        return EngineError(f"{self._where}: {fault}. {why}")

    def _wait(self, fault: _FaultError, attempt: int) -> float:
        if fault.retry_after is not None:
            return fault.retry_after
        return self._rng.uniform(0, min(BACKOFF_CAP, self._backoff * 2**attempt))

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


def _message(content: bytes) -> str | bytes:
    """The server's own words in its error body, or the body."""
    try:
        said = orjson.loads(content)
        error: Any = said.get("error", said)
        message = error if isinstance(error, str) else error["message"]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return content
    return message if isinstance(message, str) else content


def _count(tokens: float | str | None) -> int:
    """A number of tokens as the store can hold it, whatever the server says."""
    return min(max(int(tokens or 0), 0), 2**31 - 1)


def _retry_after(text: str) -> float | None:
    """Seconds to wait from a Retry-After header: a number or a date (RFC 9110, 10.2.3)."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isnan(seconds):
        return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _masses(choice: dict[str, Any], options: tuple[str, ...]) -> dict[str, float] | None:
    """The probability of each option among the likeliest first tokens; None if the server gave no such list."""
    masses = dict.fromkeys(options, 0.0)
    try:
        likeliest = choice["logprobs"]["content"][0]["top_logprobs"]
        for token in likeliest:
            option = _option(token["token"], options)
            if option is not None:
                masses[option] += math.exp(min(token["logprob"], 0.0))
    except (LookupError, TypeError, AttributeError):
        return None
    return masses if likeliest else None


@lru_cache(maxsize=4096)  # the same few tokens come back with every call
def _option(token: str, options: tuple[str, ...]) -> str | None:
    """The option that a token spells or alone begins; as written first, then whatever the case."""
    token = token.strip().lstrip("▁Ġ").strip()  # white space as tokenizers write it
    if not token:
        return None
    for fold in (str, str.casefold):
        word = fold(token)
        equal = [option for option in options if fold(option) == word]
        near = equal or [option for option in options if fold(option).startswith(word)]
        if len(near) == 1:
            return near[0]
    return None
