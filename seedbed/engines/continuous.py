"""Chats by transformers' continuous batching, the machinery of its `generate_batch`: rows join and leave at any token.

On a GPU that keeps every slot busy, and keys and values lie in pages, so that what rows hold and not what they may come
to hold bounds how many run at once. On a CPU it takes three quarters longer than batches. What a row draws comes from
the device's one generator: it depends on what runs beside it, and only the ledger repeats it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from seedbed.engines.forward import Job, Model

if TYPE_CHECKING:
    from transformers import ContinuousBatchingConfig

_GREEDY = 1e-4, 0.0  # temperature and nucleus that leave one token, also where two tie in half precision
_MEMORY = 0.6  # of what the model leaves free, for pages, masks and working space; choices need some of the rest
_LOOK = 0.01  # seconds between two looks at the callers
_END = 30.0  # seconds that its thread may take to end

logger = logging.getLogger(__name__)


def on_cuda(model: Model, rows: int) -> Continuous | None:
    """Continuous batching of up to `rows` rows where the model is on a GPU; None elsewhere, and where it cannot begin.

    Only with PyTorch's own attention: with others transformers changes the network, which choices share.
    """
    if model.network.device.type != "cuda" or model.network.config._attn_implementation != "sdpa":
        return None
    from transformers import ContinuousBatchingConfig

    try:
        return Continuous(model, ContinuousBatchingConfig(max_memory_percent=_MEMORY, max_requests_per_batch=rows))
    except Exception as error:  # whatever it is, batches do without
        logger.warning("no continuous batching, batches instead: %r", error)
        return None


class Continuous:
    """The chats under way on one model, used by the engine's thread alone."""

    def __init__(self, model: Model, config: ContinuousBatchingConfig) -> None:
        from transformers import GenerationConfig

        config.per_request_processors = True
        config.auto_switch_to_flash = False  # choices share the network, and read it with a cache of another shape
        # Neither 1: transformers leaves out a processor that would do nothing, and each row has values of its own.
        drawn = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=True, temperature=0.5, top_p=0.5, eos_token_id=sorted(model.ends)
        )
        self._model = model
        self._jobs: dict[str, Job] = {}
        self._manager = model.network.init_continuous_batching(drawn, config)  # type: ignore[operator]  # torch's mixin
        self._manager.warmup()
        found = self._manager.continuous_batching_config
        self._tokens = int(found.num_blocks * found.page_size)
        self._manager.start()
        self._added = 0

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return self._manager is not None and bool(self._manager.is_running())

    @property
    def busy(self) -> bool:
        """Whether chats are under way."""
        return bool(self._jobs)

    def takes(self, job: Job) -> bool:
        """Whether it is a chat that the pages hold and that has not failed here before."""
        return not job.options and not job.alone and job.size <= self._tokens

    def add(self, job: Job) -> None:
        """Put a chat under way."""
        self._added += 1
        name, drawn = f"chat-{self._added}", job.sampling
        heat, nucleus = (drawn.temperature, drawn.top_p) if drawn.temperature else _GREEDY
        self._manager.add_request(
            job.ids,
            request_id=name,
            max_new_tokens=drawn.max_tokens,
            eos_token_id=sorted(self._model.ends),
            temperature=float(heat),
            top_p=float(nucleus),
        )
        self._jobs[name] = job

    def collect(self, waiting: list[Job]) -> None:
        """Settle the chats that have ended, after a moment's wait for one; the failed join `waiting`, to run alone."""
        result = self._manager.get_result(timeout=_LOOK) if self._jobs else None
        while result is not None:
            job = self._jobs.get(result.request_id) if result.is_finished() else None
            if job is not None:
                if result.error is None:
                    job.drawn = list(result.generated_tokens)
                    self._model.finish(job)
                else:
                    job.alone = True
                    waiting.append(job)
                del self._jobs[result.request_id]
            result = self._manager.get_result(timeout=0.0)
        for name in [name for name, job in self._jobs.items() if job.future.cancelled()]:
            del self._jobs[name]
            self._manager.cancel_request(name)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The network is free meanwhile: chats stand still between two of their tokens."""
        with self._manager.pause():
            yield

    def stop(self) -> Sequence[Job]:
        """End it and give its memory back; the chats that were under way."""
        left, self._jobs = list(self._jobs.values()), {}
        manager, self._manager = self._manager, None
        try:
            manager.stop(block=True, timeout=_END, hard_stop=True)
            if not manager.is_running():
                manager.destroy()
            manager.background_thread_status.fatal_error = None  # its traceback holds on to the pages
            self._model.forget()
        except Exception as error:  # after a fault of the device anything may fail, and callers still wait
            logger.warning("continuous batching did not end well: %r", error)
        return left
