"""A model in this process: the embedded default, on CPU or GPU, for decoder-only models of transformers.

Callers put jobs in an inbox; one thread takes what waits, runs it as a batch and hands the answers back. Rows
that begin alike share the work for their common prefix, which on a CPU is most of the cost.
"""

from __future__ import annotations

import asyncio
import hashlib
import queue
import random
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from seedbed.engines import Choice, EngineError, Messages, ModelCard, Reply, Sampling
from seedbed.engines.smollm2 import LICENCE, NAME, embedded_model, quiet, revision as embedded_revision

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED = "smollm2-135m"
_GATHER = 0.01  # seconds that the thread waits for callers that were resumed together
_BUDGET = 24_576  # tokens a batch may hold, prompts and answers: bounds the memory of keys and values
_NUCLEUS = 128  # tokens that may be drawn at most, the likeliest first


@dataclass(eq=False)
class _Job:
    """One call in flight. `options` are those of a choice; None for a chat."""

    messages: Messages
    sampling: Sampling
    ordinal: int
    options: tuple[str, ...] | None
    future: asyncio.Future[Reply | Choice]
    ids: list[int] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)
    dice: random.Random = field(default_factory=random.Random)

    @property
    def size(self) -> int:
        return len(self.ids) + (self.sampling.max_tokens if self.options is None else 0)

    def settle(self, outcome: Reply | Choice | Exception) -> None:
        """Hands the outcome to the caller's loop; a caller that has gone is no error."""

        def resolve() -> None:
            if self.future.done():
                return
            if isinstance(outcome, Exception):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)

        loop = self.future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve)


class TransformersEngine:
    """The Engine of a model in this process; loaded by its thread on the first call."""

    def __init__(
        self, model: str | Path = EMBEDDED, revision: str = "", licence: str = "unknown", batch: int = 32
    ) -> None:
        """`model` is a folder, a name on the hub, or `smollm2-135m` for the embedded one."""
        self._embedded = str(model) == EMBEDDED
        self._card = (
            ModelCard("transformers", NAME, embedded_revision(), LICENCE)
            if self._embedded
            else ModelCard("transformers", str(model), revision, licence)
        )
        self._batch = batch
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def card(self) -> ModelCard:
        """Which model this is."""
        return self._card

    async def chat(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        step: str,
        ordinal: int = 0,
        schema: type[BaseModel] | None = None,
    ) -> Reply:
        """One answer; the draw depends on the prompt, the ordinal and the sampling alone, not on the batch."""
        reply = await self._submit(messages, sampling, ordinal, None)
        assert isinstance(reply, Reply)
        return reply

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """The probability of each option's first token. Raises ValueError when two options begin alike."""
        choice = await self._submit(messages, Sampling(), 0, tuple(options))
        assert isinstance(choice, Choice)
        return choice

    async def __aenter__(self) -> TransformersEngine:
        """Nothing is loaded before the first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops the thread."""
        await self.close()

    async def close(self) -> None:
        """Stops the thread after the token it is at; calls in flight fail with EngineError."""
        self._closed = True
        if self._thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def _submit(
        self, messages: Messages, sampling: Sampling, ordinal: int, options: tuple[str, ...] | None
    ) -> Reply | Choice:
        if self._closed:
            raise EngineError(f"the engine of {self._card.model} is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="transformers-engine", daemon=True)
            self._thread.start()
        job = _Job(messages, sampling, ordinal, options, asyncio.get_running_loop().create_future())
        self._inbox.put(job)
        return await job.future

    def _serve(self) -> None:
        """The thread: loads the model, then batch after batch until it is closed."""
        waiting: list[_Job] = []
        failure: Exception | None = None
        try:
            model = self._load()
            while self._take(waiting, model):
                _run(_pick(waiting, self._batch), model)
        except _Closed:
            pass
        except Exception as error:  # the callers must hear of any failure, else they wait for ever
            failure = EngineError(f"{self._card.model} cannot be run: {error}")
        while not self._closed or not self._inbox.empty() or waiting:
            late = waiting.pop() if waiting else self._inbox.get()
            if late is not None:
                late.settle(failure or EngineError(f"the engine of {self._card.model} was closed"))

    def _load(self) -> _Loaded:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        name = str(embedded_model()) if self._embedded else self._card.model
        revision = None if self._embedded else self._card.revision or None
        cuda = torch.cuda.is_available()
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                name, revision=revision, trust_remote_code=False, padding_side="left"
            )
            network = AutoModelForCausalLM.from_pretrained(
                name,
                revision=revision,
                trust_remote_code=False,
                use_safetensors=True,
                dtype="auto" if cuda else torch.float32,
            )
        return _Loaded(network.to("cuda" if cuda else "cpu").eval(), tokenizer, lambda: self._closed)

    def _take(self, waiting: list[_Job], model: _Loaded) -> bool:
        """Moves what is in the inbox to the waiting list; False when the engine is closed."""
        fresh = [] if waiting else [self._inbox.get()]
        time.sleep(_GATHER)
        while not self._inbox.empty():
            fresh.append(self._inbox.get())
        for job in fresh:
            if job is not None and not job.future.cancelled():
                try:
                    model.read(job)
                    waiting.append(job)
                except (EngineError, ValueError) as error:
                    job.settle(error)
        waiting[:] = [job for job in waiting if not job.future.cancelled()]
        return not self._closed
