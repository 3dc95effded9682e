"""Token work for rows that run together: read prompts, draw answers, read the odds of a choice.

Rows that begin alike are read together, their common prefix once, and prefixes are remembered for the next batch:
on a CPU that is most of the cost. What a row draws depends on its own dice alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from seedbed.engines import Choice, EngineError, Messages, Reply, Sampling
from seedbed.engines.memory import footprint

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

_NUCLEUS = 128  # tokens that may be drawn at most, the likeliest first
_PASS = 32  # a forward pass costs about as much as this many tokens, however few it has
_REMEMBER = 8_192  # tokens of prefixes whose keys and values are kept


@dataclass(eq=False)
class Job:
    """One call in flight. `options` are those of a choice, empty for a chat."""

    messages: Messages
    sampling: Sampling
    ordinal: int
    options: tuple[str, ...]
    future: asyncio.Future[Reply | Choice]
    settled: bool = False
    ids: list[int] = field(default_factory=list)
    firsts: list[list[int]] = field(default_factory=list)  # each option's first tokens
    drawn: list[int] = field(default_factory=list)
    dice: random.Random = field(default_factory=random.Random)

    @property
    def size(self) -> int:
        """The tokens it may come to hold."""
        return len(self.ids) + (0 if self.options else self.sampling.max_tokens)

    def reset(self) -> None:
        """Nothing drawn yet, and the dice as the prompt and the ordinal alone make them."""
        self.drawn = []
        self.dice = random.Random(hashlib.blake2b(f"{self.ordinal} {self.ids}".encode()).digest())

    def settle(self, outcome: Reply | Choice | Exception) -> None:
        """Hands the outcome to the caller's loop; that the caller has gone is no error."""
        self.settled = True
        with suppress(RuntimeError):  # the loop is closed
            self.future.get_loop().call_soon_threadsafe(_resolve, self.future, outcome)


def _resolve(future: asyncio.Future[Reply | Choice], outcome: Reply | Choice | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class Model:
    """Network and tokenizer, used by the engine's thread alone."""

    def __init__(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, closed: Callable[[], bool]
    ) -> None:
        self._network, self._tokenizer, self._closed = network, tokenizer, closed
        self.footprint = footprint(network)
        self._context = int(getattr(network.config, "max_position_embeddings", 0) or 1 << 30)
        ends = getattr(network.generation_config, "eos_token_id", None)
        known = (tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends]))
        self._ends = {token for token in known if token is not None}
        self._memory: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        self._special = re.compile("|".join(map(re.escape, sorted(tokenizer.all_special_tokens, reverse=True))))

    def admit(self, job: Job) -> bool:
        """Reads the job's prompt and options into tokens; what cannot be run is settled at once."""
        try:
            job.ids = self._tokens(job.messages)
            job.firsts = self._firsts(job.options)
        except ValueError as error:
            job.settle(error)
        except Exception as error:  # a model brings its own template and tokenizer
            job.settle(EngineError(f"the model's chat template or tokenizer cannot take this prompt: {error!r}"))
        if not job.settled and job.size > self._context:
            new = job.size - len(job.ids)
            job.settle(
                EngineError(
                    f"a prompt of {len(job.ids)} tokens and {new} new ones do not fit the model's context of "
                    f"{self._context}: shorten the documents or examples"
                )
            )
        return not job.settled

    def forget(self) -> None:
        """Give back what memory can be spared: remembered prefixes, and what torch keeps for later."""
        import torch

        self._memory.clear()
        torch.cuda.empty_cache()  # does nothing where CUDA was never used

    def choose(self, jobs: Sequence[Job]) -> None:
        """Settles each job from the distribution of its next token."""
        for shared, members in groups([job.ids for job in jobs]):
            group = [jobs[n] for n in members]
            _, _, logits = self._prefill([job.ids for job in group], shared)
            for job, row in zip(group, logits.double().softmax(-1).cpu(), strict=True):
                found = [float(row[firsts].sum()) for firsts in job.firsts]
                mass = sum(found) or 1e-300
                shares = {option: p / mass for option, p in zip(job.options, found, strict=True)}
                job.settle(Choice(shares, sum(found), len(job.ids)))

    def generate(self, jobs: Sequence[Job]) -> None:
        """Token after token for all; a row that is done leaves the batch."""
        import torch

        cache, mask, logits, live = self._begin(jobs)
        while live and not self._closed():
            tokens = _draw(logits, live)
            keep = [n for n, (job, token) in enumerate(zip(live, tokens, strict=True)) if self._goes_on(job, token)]
            if not keep:
                return
            if len(keep) < len(live):
                live = [live[n] for n in keep]
                index = torch.tensor(keep, device=mask.device)
                cache.batch_select_indices(index)
                mask = mask[index]
            mask = torch.cat([mask, mask.new_ones(len(live), 1)], 1)
            step = torch.tensor([[tokens[n]] for n in keep], device=mask.device)
            logits = self._forward(step, mask, cache)

    def _goes_on(self, job: Job, token: int) -> bool:
        """Notes the token; settles the job when it was the last."""
        job.drawn.append(token)
        if token in self._ends or len(job.drawn) >= job.sampling.max_tokens:
            self._finish(job)
        return not job.settled and not job.future.cancelled()

    def _finish(self, job: Job) -> None:
        """Settles a chat with what it has drawn."""
        text = self._tokenizer.decode(job.drawn, skip_special_tokens=True)
        finish = "stop" if job.drawn and job.drawn[-1] in self._ends else "length"
        job.settle(Reply(str(text).strip(), len(job.ids), len(job.drawn), finish))

    def _begin(self, jobs: Sequence[Job]) -> tuple[DynamicCache, Tensor, Tensor, list[Job]]:
        """The prompts read: one cache for all rows, padded on the left to one length."""
        import torch
        from torch.nn.functional import pad
        from transformers import DynamicCache

        together = groups([job.ids for job in jobs])
        parts = [self._prefill([jobs[n].ids for n in members], shared) for shared, members in together]
        width = max(mask.shape[1] for _, mask, _ in parts)
        layers = zip(*(list(cache.layers) for cache, _, _ in parts), strict=True)
        gaps = [width - mask.shape[1] for _, mask, _ in parts]
        joined = [
            tuple(
                torch.cat([pad(getattr(layer, side), (0, 0, gap, 0)) for layer, gap in zip(row, gaps, strict=True)])
                for side in ("keys", "values")
            )
            for row in layers
        ]
        mask = torch.cat([pad(mask, (gap, 0)) for (_, mask, _), gap in zip(parts, gaps, strict=True)])
        live = [jobs[n] for _, members in together for n in members]
        for job in live:
            job.reset()
        return DynamicCache(joined), mask, torch.cat([logits for _, _, logits in parts]), live

    def _prefill(self, rows: Sequence[list[int]], shared: int) -> tuple[DynamicCache, Tensor, Tensor]:
        """Reads prompts that agree in their first `shared` tokens: those once, then what is each row's own."""
        import torch
        from transformers import DynamicCache

        device = self._network.device
        if len(rows) == 1:
            known = len(self._known(rows[0][:-1]))
            shared = known if shared == len(rows[0]) - 1 else max(shared, known)  # the former shares with nobody here
        cache = self._prefix(rows[0][:shared]) if shared else DynamicCache()
        if shared and len(rows) > 1:
            cache.batch_repeat_interleave(len(rows))
        width = max(map(len, rows))
        gaps = [width - len(row) for row in rows]
        ids = [[0] * gap + row[shared:] for row, gap in zip(rows, gaps, strict=True)]
        mask = [[1] * shared + [0] * gap + [1] * (width - shared - gap) for gap in gaps]
        mask_tensor = torch.tensor(mask, device=device)
        return cache, mask_tensor, self._forward(torch.tensor(ids, device=device), mask_tensor, cache)

    def _known(self, ids: list[int]) -> tuple[int, ...]:
        """The longest remembered prefix of `ids`."""
        return max((key for key in self._memory if list(key) == ids[: len(key)]), key=len, default=())

    def _prefix(self, ids: list[int]) -> DynamicCache:
        """The keys and values of `ids`, from memory as far as it goes; remembered in their turn."""
        import torch
        from transformers import DynamicCache

        known = self._known(ids)
        cache = DynamicCache()
        if known:
            self._memory[known] = self._memory.pop(known)  # the least recently used is forgotten first
            cache = DynamicCache(self._memory[known])
        if len(known) < len(ids):
            rest = torch.tensor([ids[len(known) :]], device=self._network.device)
            self._forward(rest, rest.new_ones(1, len(ids)), cache)
            self._memory[tuple(ids)] = [(layer[0], layer[1]) for layer in cache]
        while sum(map(len, self._memory)) > _REMEMBER:
            del self._memory[next(iter(self._memory))]
        return cache

    def _forward(self, ids: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """The logits after the last of `ids`, which continue what the cache holds."""
        import torch

        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            output = self._network(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _tokens(self, messages: Messages) -> list[int]:
        """The prompt by the model's chat template; no message can hold a special token."""
        turns = [{"role": turn["role"], "content": self._plain(turn["content"])} for turn in messages]
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return list(self._tokenizer.encode(str(text), add_special_tokens=False))

    def _plain(self, text: str) -> str:
        while (cleaned := self._special.sub("", text)) != text:  # again: what is left may join to another
            text = cleaned
        return text

    def _firsts(self, options: Sequence[str]) -> list[list[int]]:
        """Each option's first token, as it stands and after a space where that still tells the options apart."""
        plain = [self._tokenizer.encode(option, add_special_tokens=False)[0] for option in options]
        if len(set(plain)) < len(plain):
            raise ValueError(f"options that begin with the same token cannot be told apart: {list(options)}")
        spaced = [self._tokenizer.encode(" " + option, add_special_tokens=False)[0] for option in options]
        taken = plain + spaced
        return [[a] if taken.count(b) > 1 else [a, b] for a, b in zip(plain, spaced, strict=True)]


def _draw(logits: Tensor, jobs: Sequence[Job]) -> list[int]:
    """Each row's next token: from its own dice, within its own nucleus; the likeliest at temperature 0."""
    import torch

    heat = torch.tensor([job.sampling.temperature or 1.0 for job in jobs], device=logits.device)
    limit = torch.tensor([job.sampling.top_p for job in jobs], device=logits.device)
    point = torch.tensor([job.dice.random() if job.sampling.temperature else 0.0 for job in jobs])
    top = (logits.float() / heat[:, None]).softmax(-1).topk(min(_NUCLEUS, logits.shape[-1]))
    before = top.values.cumsum(-1) - top.values
    reach = (top.values * (before < limit[:, None])).cumsum(-1)
    place = (reach <= point.to(reach)[:, None] * reach[:, -1:]).sum(-1, keepdim=True)
    drawn: list[int] = top.indices.gather(1, place.clamp(max=top.indices.shape[1] - 1))[:, 0].tolist()
    return drawn


def groups(rows: Sequence[list[int]]) -> list[tuple[int, list[int]]]:
    """Rows that had better be read together: the length of their common prefix, and their numbers.

    Sorted rows are cut into groups so that the least is read in all: each group's prefix once, and a pass for each.
    """
    order = sorted(range(len(rows)), key=rows.__getitem__)
    alike = [_common(rows[one], rows[next_]) for one, next_ in pairwise(order)]
    best = [(0, 0, 0)]  # the least cost of the rows up to here, where their last group begins, and its prefix
    for end in range(1, len(order) + 1):
        tokens, shared, found = 0, len(rows[order[end - 1]]) - 1, list[tuple[int, int, int]]()
        for begin in reversed(range(end)):
            tokens += len(rows[order[begin]])
            if begin + 1 < end:
                shared = min(shared, alike[begin], len(rows[order[begin]]) - 1)
            found.append((best[begin][0] + tokens - (end - begin - 1) * shared + _PASS, begin, shared))
        best.append(min(found))
    cut, end = list[tuple[int, list[int]]](), len(order)
    while end:
        _, begin, shared = best[end]
        cut += _evened(rows, shared, order[begin:end])
        end = begin
    return cut


def _evened(rows: Sequence[list[int]], shared: int, members: list[int]) -> list[tuple[int, list[int]]]:
    """The group in parts of like length, each a pass of its own, where that is cheaper than filling up to the longest.

    Its prefix is read once all the same: the second part finds it remembered.
    """
    if shared > _REMEMBER:
        return [(shared, members)]
    ordered = sorted(members, key=lambda n: len(rows[n]))
    own = [len(rows[n]) - shared for n in ordered]
    best: list[tuple[int, int]] = [(0, 0)]  # the least cost of the rows up to here, and where their last part begins
    for end in range(1, len(own) + 1):
        best.append(min((best[at][0] + (end - at) * own[end - 1] + _PASS, at) for at in range(end)))
    parts, end = list[list[int]](), len(own)
    while end:
        parts.append(ordered[best[end][1] : end])
        end = best[end][1]
    return [(shared, part) for part in parts]


def _common(one: list[int], other: list[int]) -> int:
    """How many leading tokens agree."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
