"""Chats by transformers' continuous batching, the machinery of its `generate_batch`: rows join and leave at any token.

On a GPU that keeps every slot busy, and keys and values lie in pages, so that memory bounds how many rows run at once.
On a CPU it is many times slower than batches. What a row draws comes from the device's one generator: it depends on
what runs beside it, and only the ledger repeats it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from seedbed.engines.forward import Job, Model

if TYPE_CHECKING:
    from transformers import ContinuousBatchingConfig

GREEDY = 1e-4  # a temperature at which only the likeliest token is left
MEMORY = 0.6  # of what the model leaves free, for keys and values in pages; choices need some of the rest
_LOOK = 0.01  # seconds between two looks at the callers

logger = logging.getLogger(__name__)


def on_cuda(model: Model) -> Continuous | None:
    """Continuous batching where the model is on a GPU. None elsewhere, and where transformers cannot begin it."""
    if model.network.device.type != "cuda":
        return None
    try:
        return Continuous(model)
    except (RuntimeError, ValueError, AttributeError, ImportError) as error:
        logger.warning("no continuous batching, batches instead: %r", error)
        return None


class Continuous:
    """The chats under way on one model, used by the engine's thread alone."""

    def __init__(self, model: Model, config: ContinuousBatchingConfig | None = None) -> None:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        config = config or ContinuousBatchingConfig(max_memory_percent=MEMORY)
        config.per_request_processors = True
        config.auto_switch_to_flash = False  # choices share the network, and read it with a cache of another shape
        # Neither 1: transformers leaves out a processor that would do nothing, and each row has values of its own.
        drawn = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=True, temperature=0.5, top_p=0.5, eos_token_id=sorted(model.ends)
        )
        self._model = model
        self._jobs: dict[str, Job] = {}
        self._manager = model.network.init_continuous_batching(drawn, config)  # type: ignore[operator]  # a mixin of torch
        self._manager.start()
        self._added = 0

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return bool(self._manager.is_running())

    @property
    def busy(self) -> bool:
        """Whether chats are under way."""
        return bool(self._jobs)

    def add(self, job: Job) -> None:
        """Put a chat under way."""
        self._added += 1
        name, drawn = f"chat-{self._added}", job.sampling
        self._jobs[name] = job
        self._manager.add_request(
            job.ids,
            request_id=name,
            max_new_tokens=drawn.max_tokens,
            eos_token_id=sorted(self._model.ends),
            temperature=float(drawn.temperature or GREEDY),
            top_p=float(drawn.top_p),
        )

    def collect(self) -> list[Job]:
        """Settle the chats that have ended, after a moment's wait for one; the ones that failed, unsettled."""
        failed, result = list[Job](), self._manager.get_result(timeout=_LOOK)
        while result is not None:
            job = self._jobs.pop(result.request_id, None) if result.is_finished() else None
            if job is not None and result.error is not None:
                failed.append(job)
            elif job is not None:
                job.drawn = list(result.generated_tokens)
                self._model.finish(job)
            result = self._manager.get_result(timeout=0.0)
        for name in [name for name, job in self._jobs.items() if job.future.cancelled()]:
            del self._jobs[name]
            self._manager.cancel_request(name)
        return failed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The network is free meanwhile: chats stand still between two of their tokens."""
        if not self.alive:
            yield
            return
        with self._manager.pause():
            yield

    def stop(self) -> Sequence[Job]:
        """End it; the chats that were under way."""
        left, self._jobs = list(self._jobs.values()), {}
        self._manager.stop(block=True, timeout=30, hard_stop=True)
        self._manager.destroy()
        return left
