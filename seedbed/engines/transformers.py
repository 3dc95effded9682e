"""A model in this process: the embedded default, on CPU or GPU, for decoder-only models of transformers.

Callers put jobs in an inbox; one thread takes what waits, runs it as a batch and hands the answers back.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from seedbed.engines import Choice, EngineError, Messages, ModelCard, Reply, Sampling
from seedbed.engines.forward import Job, Model
from seedbed.engines.smollm2 import LICENCE, NAME, embedded_model, quiet
from seedbed.engines.smollm2 import revision as embedded_revision

# torch's threads, asleep while they wait and not spinning: beside another busy process the same answers took 97 s
# spinning and 23 s so (two cores). Read when torch is first imported, which is later than here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

EMBEDDED = "smollm2-135m"
_GATHER = 0.01  # seconds that the thread waits for callers that were resumed together
_BUDGET = 24_576  # tokens that a batch may hold, prompts and answers: bounds the memory of keys and values


class TransformersEngine:
    """The Engine of a model in this process; its thread loads the model on the first call."""

    def __init__(
        self, model: str | Path = EMBEDDED, revision: str = "", licence: str = "unknown", batch: int = 32
    ) -> None:
        """`model` is a folder, a name on the hub, or `smollm2-135m` for the embedded one."""
        self._embedded = str(model) == EMBEDDED
        self._card = ModelCard("transformers", str(model), revision, licence)
        if self._embedded:
            self._card = ModelCard("transformers", NAME, embedded_revision(), LICENCE)
        self._batch = batch
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
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
        """One answer; what is drawn depends on prompt, ordinal and sampling, not on the batch."""
        reply = await self._submit(messages, sampling, ordinal, ())
        assert isinstance(reply, Reply)
        return reply

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """The probability of each option's first token. Raises ValueError when two options begin alike."""
        if len(options) < 2:
            raise ValueError(f"a choice needs two options or more, not {list(options)}")
        choice = await self._submit(messages, Sampling(), 0, tuple(options))
        assert isinstance(choice, Choice)
        return choice

    async def __aenter__(self) -> TransformersEngine:
        """Loads nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops the thread."""
        await self.close()

    async def close(self) -> None:
        """Stops the thread at the token it is at; calls in flight fail with EngineError."""
        self._closed = True
        if self._thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def _submit(
        self, messages: Messages, sampling: Sampling, ordinal: int, options: tuple[str, ...]
    ) -> Reply | Choice:
        if self._closed:
            raise EngineError(f"the engine of {self._card.model} is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="transformers-engine", daemon=True)
            self._thread.start()
        job = Job(messages, sampling, ordinal, options, asyncio.get_running_loop().create_future())
        self._inbox.put(job)
        return await job.future

    def _serve(self) -> None:
        """The thread: loads the model, then runs batch after batch until it is closed."""
        try:
            model = self._load()
        except Exception as error:  # whatever it is, the callers must hear of it, else they wait for ever
            failure = EngineError(f"{self._card.model} cannot be loaded: {error}")
            while (job := self._inbox.get()) is not None:
                job.settle(failure)
            return
        waiting: list[Job] = []
        while self._take(waiting, model):
            batch = _pick(waiting, self._batch)
            try:
                _run(model, batch)
            except Exception as error:
                _refuse(batch, f"{self._card.model} failed: {error!r}")
            waiting[:] = [job for job in waiting if not job.settled]
        waiting += [job for job in self._arrived() if job is not None]  # closed while it was loading
        _refuse(waiting, f"the engine of {self._card.model} was closed")

    def _load(self) -> Model:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        name = str(embedded_model()) if self._embedded else self._card.model
        revision = None if self._embedded else self._card.revision or None
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
            network = AutoModelForCausalLM.from_pretrained(
                name,
                revision=revision,
                trust_remote_code=False,
                use_safetensors=True,
                dtype="auto" if device == "cuda" else torch.float32,
            )
        network.to(device)  # type: ignore[arg-type]  # its decorator hides what it takes
        return Model(network.train(False), tokenizer, lambda: self._closed)

    def _take(self, waiting: list[Job], model: Model) -> bool:
        """Moves what is in the inbox to the waiting list; False once the engine is closed."""
        while not self._closed:
            fresh = [] if waiting else [self._inbox.get()]
            time.sleep(_GATHER)
            for job in fresh + self._arrived():
                if job is not None and model.admit(job):
                    waiting.append(job)
            waiting[:] = [job for job in waiting if not job.future.cancelled()]
            if waiting:
                break
        return not self._closed

    def _arrived(self) -> list[Job | None]:
        jobs = []
        while not self._inbox.empty():
            jobs.append(self._inbox.get())
        return jobs


def _pick(waiting: Sequence[Job], limit: int) -> list[Job]:
    """The next batch: choices before chats, for a choice frees its caller; the oldest and its like in length."""
    jobs = [job for job in waiting if job.options] or waiting
    jobs = sorted(jobs, key=lambda job: abs(job.size - jobs[0].size))
    batch, widest = jobs[:1], jobs[0].size
    for job in jobs[1:limit]:
        widest = max(widest, job.size)
        if widest * (len(batch) + 1) > _BUDGET:
            break
        batch.append(job)
    return batch


def _run(model: Model, batch: Sequence[Job]) -> None:
    """Answers a batch, in halves when the memory does not hold it."""
    try:
        if batch[0].options:
            model.choose(batch)
        else:
            model.generate(batch)
    except RuntimeError as error:  # on CUDA a subclass, OutOfMemoryError
        if "memory" not in str(error):
            raise
        left = [job for job in batch if not job.settled]
        if len(left) < 2:
            _refuse(left, f"out of memory at one prompt of {batch[0].size} tokens; use a smaller model")
            return
        _run(model, left[: len(left) // 2])
        _run(model, left[len(left) // 2 :])


def _refuse(jobs: Sequence[Job], message: str) -> None:
    for job in jobs:
        if not job.settled:
            job.settle(EngineError(message))
