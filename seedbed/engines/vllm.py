"""vLLM as an engine: its servers are started here, watched, started again, and gone when the engine is left.

A call whose server falls is asked again. One that was in flight at two falls is under suspicion, and has a server
to itself the next time: if that falls too, the call is left out with an EngineError that names it, and the rest of
the run goes on. Suspects are so told apart by as many calls, and one start for each that is guilty.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel

from seedbed.engines import Choice, EngineError, Messages, Reply, Sampling
from seedbed.engines.http import HttpEngine
from seedbed.engines.vllm_launch import Launch, card_of, find_vllm
from seedbed.engines.vllm_server import FellError, Pace, Server
from seedbed.vllm_recipe import VllmModel

SUSPICIOUS = 2  # falls that a call was in flight at
_QUOTED = 80  # characters of a prompt that tell which one it is
T = TypeVar("T")
Ask = Callable[[HttpEngine], Awaitable[T]]


class VllmEngine:
    """The Engine of a model that vLLM serves. Entering it starts nothing: the first call does."""

    def __init__(self, model: VllmModel, pace: Pace = Pace()) -> None:
        """Raises EngineError where the model or its adapter cannot be read."""
        self.card = card_of(model)
        self._model, self._pace = model, pace
        self._folder: Path | None = None
        self._servers: tuple[Server, ...] = ()
        self._keepers: list[asyncio.Task[None]] = []
        self._preparing: asyncio.Task[None] | None = None
        self._change: asyncio.Future[None] | None = None  # whoever waits for anything waits for this
        self._suspects, self._apart = 0, asyncio.Lock()
        self._reserved: Server | None = None

    async def __aenter__(self) -> Self:
        """Raises EngineError where there is no vLLM."""
        await asyncio.to_thread(find_vllm)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends the servers; returns when all their processes are gone."""
        for keeper in [*self._keepers, *([self._preparing] if self._preparing else [])]:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._folder and not any(server.given_up for server in self._servers):
            shutil.rmtree(self._folder, ignore_errors=True)
        self._keepers, self._servers, self._preparing = [], (), None
        self._changed()

    async def chat(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        step: str,
        ordinal: int = 0,
        schema: type[BaseModel] | None = None,
    ) -> Reply:
        """One answer, held to `schema`. Raises EngineError."""

        async def ask(client: HttpEngine) -> Reply:
            return await client.chat(messages, sampling, step=step, ordinal=ordinal, schema=schema)

        return await self._ask(ask, step, messages)

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """Each option's probability among the 20 likeliest first tokens. Raises EngineError, Unreadable."""

        async def ask(client: HttpEngine) -> Choice:
            return await client.choose(messages, options, step=step)

        return await self._ask(ask, step, messages)

    async def _ask(self, ask: Ask[T], step: str, messages: Messages) -> T:
        await self._begin()
        for _ in range(SUSPICIOUS):
            server = await self._least_loaded()
            try:
                return await server.call(ask)
            except FellError:
                continue
        try:
            return await self._alone(ask)
        except FellError as fall:
            prompt = " ".join(messages[-1]["content"].split())[:_QUOTED]
            raise EngineError(
                f"vLLM fell {SUSPICIOUS + 1} times with this call in flight, the last time with nothing else: it is "
                f"left out. Step {step}, prompt ending in a turn that begins {prompt!r}. "
                f"{str(fall).partition(chr(10))[0]}. Look at that prompt, or run again to try it again"
            ) from fall

    async def _begin(self) -> None:
        """Start the servers, once. Raises EngineError."""
        if self._preparing is None:
            self._preparing = asyncio.create_task(self._start())
        if not self._preparing.done() or self._preparing.exception():
            await asyncio.shield(self._preparing)

    async def _start(self) -> None:
        launch = await asyncio.to_thread(Launch.prepare, self._model, self.card)
        self._folder = folder = Path(tempfile.mkdtemp(prefix="seedbed-vllm-"))
        self._servers = tuple(
            Server(launch, number, folder, self._pace, self._changed) for number in range(self._model.servers)
        )
        self._keepers = [asyncio.create_task(server.keep()) for server in self._servers]

    async def _least_loaded(self, reserve: bool = False) -> Server:
        """The server with the fewest calls, as soon as one is up and has room. Raises EngineError where none will be.

        One that is reserved has no room but for a suspect; any other has room for its share of the calls, so that the
        first to come up is not given all that waits.
        """
        while True:
            left = [server for server in self._servers if not server.given_up]
            if not left:
                raise EngineError(self._servers[0].given_up if self._servers else "vLLM was stopped")
            share = -(-self._model.concurrency // len(left))
            free = [s for s in left if s.up and (reserve or (s is not self._reserved and len(s.calls) < share))]
            if free:
                return min(free, key=lambda server: len(server.calls))
            await self._next_change()

    async def _alone(self, ask: Ask[T]) -> T:
        """Ask with nothing else in flight at the server. Raises FellError, EngineError."""
        self._suspects += 1
        try:
            async with self._apart:
                server = await self._reserve()
                return await server.call(ask)
        finally:
            self._suspects -= 1
            if not self._suspects:
                self._reserved = None
                self._changed()

    async def _reserve(self) -> Server:
        """A server that is up and idle, and that other calls keep away from while there are suspects."""
        while True:
            if self._reserved is None or not self._reserved.up:
                self._reserved = None
                self._reserved = await self._least_loaded(reserve=True)
            if not self._reserved.calls:
                return self._reserved
            await self._next_change()

    def _changed(self) -> None:
        if self._change:
            self._change.set_result(None)
            self._change = None

    async def _next_change(self) -> None:
        if self._change is None:
            self._change = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._change)
