"""One vLLM server kept alive: started, watched, started again after a fall, and given up when it only falls.

A server has fallen when its process is gone, when it says that it is not well just after it failed a call, or when
it is frozen: calls are in flight, and for as long as one call may take no call was answered and no token counted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from seedbed.engines import EngineError
from seedbed.engines.child import Child
from seedbed.engines.http import HttpEngine
from seedbed.engines.plain import Answer
from seedbed.engines.server_log import THEN
from seedbed.engines.vllm_launch import HOST, Launch, free_port
from seedbed.engines.wire import Wire
from seedbed.records import Message
from seedbed.replies import Unreadable

HEALTH_SECONDS = 5.0
DYING_SECONDS = 3.0  # vLLM's front door closes a moment after its engine has died, and then tells why
PROGRESS = (b"vllm:generation_tokens_total", b"vllm:prompt_tokens_total")
TAKEN = "address already in use"
_ANOTHER = "name the Python of another vLLM in SEEDBED_VLLM"
REMEDIES = {
    "out of memory": "Lower args: gpu_memory_utilization, max_num_seqs or max_model_len, or take a smaller model",
    "kv cache": "Raise args: kv_cache_memory_bytes or gpu_memory_utilization, or lower max_model_len",
    "cache blocks": "Raise args: kv_cache_memory_bytes or gpu_memory_utilization, or lower max_model_len",
    "free memory on device": "Free the GPU, or lower args: gpu_memory_utilization",
    "nvidia driver": f"Update the GPU's driver, or {_ANOTHER}",
    "driver version": f"Update the GPU's driver, or {_ANOTHER}",
    "not supported for now": f"Take a model that this vLLM knows, or {_ANOTHER}",
    "not recognize this arch": f"Take a model that this vLLM knows, or {_ANOTHER}",
    "any model weights": "Look whether the model's folder is whole: .safetensors files are needed",
    "safetensorerror": "The weights are damaged or half there: fetch the model again",
    "no such file": "Look whether the model's folder is whole, or fetch the model again",
    "chat template": "Take a model with a chat template: an instruct model as a rule",
}
T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a server is looked at, how long it is left alone after a fall, and how many falls are too many."""

    look: float = 0.2
    backoff: float = 1.0
    longest: float = 60.0
    falls: int = 5


class FellError(Exception):
    """The server fell: the message says how, and from its second line on what its log says of it."""

    def __init__(self, how: str, *, frozen: bool = False) -> None:
        super().__init__(how)
        self.frozen = frozen


class Server:
    """One of a model's servers. `keep` is its life; `call` asks it something while it is up."""

    def __init__(self, launch: Launch, number: int, folder: Path, pace: Pace, changed: Callable[[], None]) -> None:
        """`changed` is called whenever it comes up, falls, or has a call less."""
        self._launch, self._number, self._log, self._pace = launch, number, folder / f"server-{number}.log", pace
        self._changed = changed
        self._client: HttpEngine | None = None
        self._control: Wire | None = None
        self._moved = self._asked = 0.0  # when something was answered or counted last; when that was asked last
        self._counted: tuple[bytes, ...] = ()
        self._sick = False  # it failed a call and is not in health
        self._fall: asyncio.Future[str] = asyncio.get_running_loop().create_future()  # how this life ended
        self._falls = 0  # since it answered a call
        self.calls: set[asyncio.Future[Any]] = set()
        self.given_up = ""
        self.started = 0

    @property
    def up(self) -> bool:
        """Whether it may be called."""
        return self._client is not None

    async def keep(self) -> None:
        """Start it, and again whenever it falls, until this is cancelled or it has fallen too often."""
        try:
            while not self.given_up:
                await self._live_once()
        except Exception as error:  # whatever it is, the callers must hear of it, else they wait for ever
            self.given_up = f"the server of {self._launch.card.model} cannot be started: {error}"
            raise
        finally:
            self._changed()

    async def call(self, ask: Callable[[HttpEngine], Awaitable[T]]) -> T:
        """What it answers. Raises FellError if it falls before it has, and what `ask` raises if it is well."""
        client, fall = self._client, self._fall
        if client is None:
            raise RuntimeError("only a server that is up may be called")
        if not self.calls:
            self._moved = time.monotonic()
        call: asyncio.Future[T] = asyncio.ensure_future(ask(client))
        self.calls.add(call)
        try:
            answer = await call
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._client is client or (task and task.cancelling()):
                raise
            raise FellError(await fall) from None
        except EngineError as error:
            if await self._is_well(client):
                raise
            raise FellError(await fall) from error
        except Unreadable:  # an answer all the same
            self._moved, self._falls = time.monotonic(), 0
            raise
        finally:
            self.calls.discard(call)
            self._changed()
        self._moved, self._falls = time.monotonic(), 0
        return answer

    async def _live_once(self) -> None:
        try:
            await self._live()
        except FellError as fall:
            self._falls += 1
            logger.warning("vLLM server %d fell: %s", self._number, str(fall).partition("\n")[0])
            hopeless = not self.started and TAKEN not in str(fall).lower()  # another port may be free
            if hopeless or self._falls >= self._pace.falls:
                self.given_up = self._verdict(fall)
                return
        await asyncio.sleep(min(self._pace.longest, self._pace.backoff * 2 ** (self._falls - 1)))

    async def _live(self) -> None:
        """From start to fall. Raises FellError."""
        key, port = secrets.token_urlsafe(24), free_port()
        self._fall, self._sick = asyncio.get_running_loop().create_future(), False
        child = Child(self._launch.command(port), self._launch.environment(key, self._number), self._log)
        logger.info("starting vLLM server %d of %s (log: %s)", self._number, self._launch.card.model, self._log)
        frozen = False
        try:
            self._control = Wire(URL(f"http://{HOST}:{port}"), {})
            async with self._client_of(port, key) as client:
                try:
                    await self._ready(child, client)
                    child.began_well()
                    self._client, self._counted = client, ()
                    self.started += 1
                    self._changed()
                    await self._watch(child)
                except FellError as fall:
                    self._fall.set_result(str(fall))
                    frozen = fall.frozen
                    raise
                finally:
                    self._let_go()  # before the client is closed under the calls
        finally:
            await self._end(child, frozen)

    def _client_of(self, port: int, key: str) -> HttpEngine:
        model = self._launch.model
        return HttpEngine(
            f"http://{HOST}:{port}/v1",
            self._launch.asked_for,
            api_key=key,
            concurrency=model.concurrency,
            timeout=model.timeout,
            retries=model.retries,
            asking=model,
        )

    async def _end(self, child: Child, frozen: bool) -> None:
        if self._control:
            await self._control.close()
            self._control = None
        await asyncio.to_thread(child.stop, frozen)

    def _let_go(self) -> None:
        """No further call, and an end to those in flight."""
        self._client = None
        if not self._fall.done():
            self._fall.set_result("it was stopped")
        for call in self.calls:
            call.cancel()
        self._changed()

    async def _ready(self, child: Child, client: HttpEngine) -> None:
        """Wait until it answers a question. Raises FellError."""
        began, seconds = time.monotonic(), self._launch.model.start_timeout
        while not await self._healthy():
            if child.ended:
                raise FellError(f"{child.how_it_ended()} while it started\n{child.last_words()}")
            if time.monotonic() - began > seconds:
                raise FellError(f"it was not ready within {seconds:g} s (start_timeout)\n{child.last_words()}")
            await asyncio.sleep(self._pace.look)
        question = [Message(role="user", content="Is water wet? Answer yes or no.")]
        left = max(1.0, seconds - (time.monotonic() - began))
        # The first question with log-probabilities has vLLM compile for a quarter of a minute; a server that is in
        # health but cannot answer is found out here too.
        try:
            with suppress(Unreadable):
                await asyncio.wait_for(client.choose(question, ["yes", "no"], step="start"), left)
        except (EngineError, TimeoutError) as error:
            raise FellError(f"it did not answer its first question: {error}\n{child.last_words()}") from error
        logger.info("vLLM server %d is up after %.0f s", self._number, time.monotonic() - began)

    async def _watch(self, child: Child) -> None:
        """Look after a server that is up. Raises FellError when it is no longer."""
        while True:
            await asyncio.sleep(self._pace.look)
            if self._sick:
                await self._until(lambda: child.ended, DYING_SECONDS)
            if child.ended:
                raise FellError(f"{child.how_it_ended()}\n{child.last_words()}")
            if self._sick:
                raise FellError(f"it failed a call, and is not in health or does nothing\n{child.last_words()}")
            if self.calls and await self._frozen():
                patience = self._launch.model.timeout
                how = f"it was frozen: nothing came of {len(self.calls)} calls in {patience:g} s (timeout)"
                raise FellError(f"{how}\n{child.last_words()}", frozen=True)

    async def _frozen(self) -> bool:
        """Whether neither an answer nor a token has come for as long as a call may take."""
        patience, now = self._launch.model.timeout, time.monotonic()
        if now - max(self._moved, self._asked) > min(HEALTH_SECONDS, patience / 4):
            self._asked = now
            counted = await self._count()
            if counted and counted != self._counted:
                self._counted, self._moved = counted, now
        return time.monotonic() - self._moved > patience

    async def _count(self) -> tuple[bytes, ...]:
        """The lines of its metrics that grow while it works; none if it does not answer."""
        answer = await self._get("metrics")
        return tuple(line for line in answer.content.splitlines() if line.startswith(PROGRESS)) if answer else ()

    async def _is_well(self, client: HttpEngine) -> bool:
        """Whether a call's failure is its own; a server that is not well takes no further call."""
        if self._client is not client:
            return False
        # The call's deadline and the server's come at the same time: the server's goes first.
        stalled = time.monotonic() - self._moved > 0.9 * self._launch.model.timeout
        if not stalled and await self._healthy():
            return True
        if self._client is client:
            self._client, self._sick = None, True
        return False

    async def _until(self, true: Callable[[], bool], seconds: float) -> None:
        ends = time.monotonic() + seconds
        while not true() and time.monotonic() < ends:
            await asyncio.sleep(self._pace.look)

    async def _healthy(self) -> bool:
        answer = await self._get("health")
        return answer is not None and answer.status == 200

    async def _get(self, page: str) -> Answer | None:
        seconds = min(HEALTH_SECONDS, self._launch.model.timeout)
        try:
            return await self._control.exchange("GET", page, b"", seconds) if self._control else None
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None

    def _verdict(self, fall: FellError) -> str:
        first, _, words = str(fall).partition("\n")
        how = f"fell {self._falls} times and answered nothing between" if self.started else "did not start"
        said = words.partition(THEN)[0].lower()
        signs = sorted((sign for sign in REMEDIES if sign in said), key=said.index)
        remedy = REMEDIES[signs[0]] if signs else "The lines below say why"
        where = f"From {self._log}, the cause first:\n{words}" if words else f"Its log: {self._log}"
        return f"vLLM with {self._launch.card.model} {how}: {first}. {remedy}; then run again. {where}"
