"""A model in this process: the embedded default, on CPU or GPU, for decoder-only models of transformers.

Callers put jobs in an inbox; one thread takes what waits, runs it as a batch and hands the answers back.
"""

from __future__ import annotations

import asyncio
import math
import os
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from seedbed.asking import Asking, Way, Ways
from seedbed.engines import Choice, EngineError, Messages, ModelCard, Reply, Sampling
from seedbed.engines.device import ROWS_ON_CPU, device
from seedbed.engines.fingerprint import commit_of, folder_of, identify
from seedbed.engines.forward import Job, Model
from seedbed.engines.memory import Footprint, free
from seedbed.engines.smollm2 import EMBEDDED, quiet

# torch's threads, asleep while they wait and not spinning: beside another busy process the same answers took 97 s
# spinning and 23 s so (two cores). Read when torch is first imported, which is later than here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_GATHER = 0.01  # seconds that the thread waits for callers that were resumed together


class TransformersEngine:
    """The Engine of a model in this process; its thread loads the model on the first call."""

    def __init__(
        self,
        model: str | Path = EMBEDDED,
        revision: str = "",
        licence: str = "unknown",
        batch: int = ROWS_ON_CPU,
        asking: Asking | None = None,
    ) -> None:
        """`model` is a folder, a name on the hub, or `smollm2-135m` for the embedded one. Raises EngineError."""
        self._ways = Ways(asking)
        self._model, self._revision, self._batch = str(model), revision, batch
        self._most = math.inf  # bytes that a batch may take: half of what one took that did not fit
        self._device, self._weights = device(), identify("transformers", self._model, revision, licence)
        self._card = replace(self._weights, revision=self._weights.revision + self._device.mark)
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def card(self) -> ModelCard:
        """Which model this is; its revision names the precision where that is not the single one of a CPU."""
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
        """One answer; what is drawn depends on prompt, ordinal and sampling, but on a GPU also on what runs beside."""
        reply = await self._submit(messages, self._ways.of(step), sampling, ordinal, ())
        assert isinstance(reply, Reply)
        return reply

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """The probability of each option by its first token, by further ones where options begin alike.

        Raises EngineError when two cannot be told apart.
        """
        if len(options) < 2:
            raise ValueError(f"a choice needs two options or more, not {list(options)}")
        choice = await self._submit(messages, self._ways.of(step), Sampling(), 0, tuple(options))
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
        self, messages: Messages, way: Way, sampling: Sampling, ordinal: int, options: tuple[str, ...]
    ) -> Reply | Choice:
        if self._closed:
            raise EngineError(f"the engine of {self._card.model} is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="transformers-engine", daemon=True)
            self._thread.start()
        told = way.messages(messages)
        job = Job(told, sampling, ordinal, options, asyncio.get_running_loop().create_future(), way.template)
        self._inbox.put(job)
        return await job.future

    def _serve(self) -> None:
        """The thread: works until the engine is closed; whatever ends it, every caller hears of it."""
        waiting = list[Job]()
        try:
            self._work(waiting)
            failure = f"the engine of {self._card.model} was closed"
        except EngineError as error:
            failure = str(error)
        except Exception as error:  # else they would wait for ever
            failure = f"{self._card.model} failed: {error!r}"
        _refuse(waiting, failure)
        while not self._closed or not self._inbox.empty():
            if (job := self._inbox.get()) is not None:
                _refuse([job], failure)

    def _work(self, waiting: list[Job]) -> None:
        """Load the model, then answer what comes, in batches."""
        try:
            model = self._load()
        except Exception as error:
            raise EngineError(f"{self._card.model} cannot be loaded: {error}") from error
        while self._take(waiting, model):
            self._answer(model, waiting)

    def _answer(self, model: Model, waiting: list[Job]) -> None:
        """The next batch of those that wait."""
        room = min(self._most, free(self._device.name))
        batch, refused = _pick(waiting, self._batch, room, model.footprint), list[Job]()
        try:
            # A row that is too large by itself says nothing of batches.
            if not _run(model, batch, refused) and len(batch) > 1 and not refused:
                self._most = model.footprint.of(len(batch), max(job.size for job in batch)) / 2
        except Exception as error:  # whatever it is, the callers must hear of it
            _refuse(batch, f"{self._card.model} failed: {error!r}")
        waiting[:] = [job for job in waiting if not job.settled]

    def _load(self) -> Model:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = folder_of(self._model)
        name = str(folder or self._model)
        revision = None if folder else commit_of(self._model, self._revision) or None
        if revision and revision != self._weights.revision:
            raise EngineError("at first nobody said which commit of it this is, now the hub does: run again")
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
            network = AutoModelForCausalLM.from_pretrained(
                name,
                revision=revision,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=getattr(torch, self._device.dtype),
            )
        network.to(self._device.name)  # type: ignore[arg-type]  # its decorator hides what it takes
        return Model(network.train(False), tokenizer, lambda: self._closed)

    def _take(self, waiting: list[Job], model: Model) -> bool:
        """Moves what is in the inbox to the waiting list, of one job at least; False once closed."""
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


def _pick(waiting: Sequence[Job], limit: int, room: float, footprint: Footprint) -> list[Job]:
    """The next batch, of `room` bytes at most: choices before chats, which frees callers; the oldest and its like."""
    jobs = [job for job in waiting if job.options] or waiting
    jobs = sorted(jobs, key=lambda job: abs(job.size - jobs[0].size))
    batch, widest = jobs[:1], jobs[0].size
    for job in jobs[1:limit]:
        widest = max(widest, job.size)
        if footprint.of(len(batch) + 1, widest) > room:
            break
        batch.append(job)
    return batch


def _run(model: Model, batch: Sequence[Job], refused: list[Job], last: bool = False) -> bool:
    """Answers a batch, in halves where the memory does not hold it: then False. A `last` try is not repeated.

    Rows that it never holds are settled so, and `refused`.
    """
    if _fits(model, batch):
        return True
    model.forget()  # not where the error was caught: its traceback holds on to the tensors of the batch
    left = [job for job in batch if not job.settled]
    if len(left) > 1:
        _run(model, left[: len(left) // 2], refused)
        _run(model, left[len(left) // 2 :], refused)
    elif left and not last:
        _run(model, left, refused, last=True)  # with all the memory there is
    else:
        _refuse(left, f"out of memory at one prompt of {batch[0].size} tokens; shorten it or use a smaller model")
        refused += left
    return False


def _fits(model: Model, batch: Sequence[Job]) -> bool:
    try:
        if batch[0].options:
            model.choose(batch)
        else:
            model.generate(batch)
    except MemoryError:
        return False
    except RuntimeError as error:  # on CUDA a subclass, OutOfMemoryError
        if "memory" not in str(error):
            raise
        return False
    return True


def _refuse(jobs: Sequence[Job], message: str) -> None:
    for job in jobs:
        if not job.settled:
            job.settle(EngineError(message))
