"""Token work for rows that run together: read prompts, draw answers, read the odds of a choice.

Rows that begin alike are read together, their common prefix once, and prefixes are remembered for the next batch:
on a CPU that is most of the cost. What a row draws depends on its own dice alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from seedbed.engines import Choice, EngineError, EngineGone, EngineRefused, Messages, Reply, Sampling, groups
from seedbed.engines.memory import footprint
from seedbed.engines.spelling import Spelled, Spelling, spell, ways
from seedbed.replies import reply

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

_NUCLEUS = 128  # tokens that may be drawn at most, the likeliest first
_ENDING = 200  # characters at the end of a prompt, at most, that decide how the next words are spelled
_MATTERS = 0.01  # of the mass found: as likely must be what several options share for it to be read on
_WANTED = 3  # likeliest first tokens that a choice tells of


@dataclass(eq=False)
class Job:
    """One call in flight. `options` are those of a choice, empty for a chat."""

    messages: Messages
    sampling: Sampling
    ordinal: int
    options: tuple[str, ...]
    future: asyncio.Future[Reply | Choice]
    template: Mapping[str, object] = field(default_factory=dict)  # further arguments of the chat template
    settled: bool = False
    ids: list[int] = field(default_factory=list)
    spelled: Spelled = ()
    found: list[float] = field(default_factory=list)  # each option's probability so far
    wanted: dict[str, float] = field(default_factory=dict)
    drawn: list[int] = field(default_factory=list)
    dice: random.Random = field(default_factory=random.Random)

    @property
    def size(self) -> int:
        """The tokens it may come to hold."""
        longest = max((len(spelling) for spellings in self.spelled for spelling in spellings), default=1)
        return len(self.ids) + (longest - 1 if self.options else self.sampling.max_tokens)

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


@dataclass(frozen=True, slots=True)
class _Look:
    """A place to read a choice at: after the prompt and what some options share of it, and how likely that is."""

    job: Job
    prefix: Spelling = ()
    likely: float = 1.0

    @property
    def ids(self) -> list[int]:
        """Everything before that place."""
        return [*self.job.ids, *self.prefix]


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
        special = "|".join(map(re.escape, sorted(tokenizer.all_special_tokens, reverse=True)))
        self._special = re.compile(special or "(?!)")  # the latter is found nowhere
        self._spelled = lru_cache(maxsize=256)(lambda before, options: spell(self._encode, before, options))
        self._word = lru_cache(maxsize=4096)(lambda token: str(tokenizer.decode([token])))

    def admit(self, job: Job) -> bool:
        """Reads the job's prompt and options into tokens; what cannot be run is settled at once."""
        try:
            prompt = self._prompt(job.messages, job.template)
            job.ids = self._encode(prompt)
            job.spelled = self._spelled(self._ending(prompt), job.options)
        except EngineError as error:
            job.settle(error)
        except Exception as error:  # a model brings its own template and tokenizer
            job.settle(_untaken(error))
        if not job.settled and job.size > self._context:
            new = job.size - len(job.ids)
            job.settle(
                EngineRefused(
                    f"a prompt of {len(job.ids)} tokens and {new} new ones do not fit the model's context of "
                    f"{self._context}: shorten the documents or examples, or lower max_tokens",
                    "prompt too long",
                    about_prompt=True,
                )
            )
        return not job.settled

    def forget(self) -> None:
        """Give back what memory can be spared: remembered prefixes, and what torch keeps for later."""
        import torch

        self._memory.clear()
        torch.cuda.empty_cache()  # does nothing where CUDA was never used

    def choose(self, jobs: Sequence[Job]) -> None:
        """Settles each job from what comes next; where options begin alike, from what comes after that too."""
        looks = [_Look(job) for job in jobs]
        for job in jobs:
            job.found = [0.0] * len(job.options)
        while looks:
            further = list[_Look]()
            for shared, members in groups.cut([look.ids for look in looks]):
                group = [looks[n] for n in members]
                _, _, logits = self._prefill([look.ids for look in group], shared)
                for look, odds in zip(group, logits.double().softmax(-1).cpu(), strict=True):
                    further += self._read(look, odds)
            left = {look.job for look in further}
            for job in {look.job for look in looks} - left:
                _chosen(job)
            looks = further

    def _read(self, look: _Look, odds: Tensor) -> list[_Look]:
        """Adds what the odds tell of each option, and says where to read on."""
        job = look.job
        if not look.prefix:
            job.wanted = self._likeliest(odds)
        telling, shared = ways(job.spelled, look.prefix, self._blank)
        for token, number in telling.items():
            job.found[number] += look.likely * float(odds[token])
        further = [_Look(job, (*look.prefix, token), look.likely * float(odds[token])) for token in shared]
        return [found for found in further if found.likely > _MATTERS * sum(job.found)]

    def _likeliest(self, odds: Tensor) -> dict[str, float]:
        top, words = odds.topk(min(_WANTED, len(odds))), dict[str, float]()
        for p, token in zip(top.values.tolist(), top.indices.tolist(), strict=True):
            word = self._word(token)
            words[word] = words.get(word, 0.0) + p
        return words

    def _blank(self, token: int) -> bool:
        return not self._word(token).strip()

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
        job.settle(reply(str(text).strip(), finish, (len(job.ids), len(job.drawn))))

    def _begin(self, jobs: Sequence[Job]) -> tuple[DynamicCache, Tensor, Tensor, list[Job]]:
        """The prompts read: one cache for all rows, padded on the left to one length."""
        import torch
        from torch.nn.functional import pad
        from transformers import DynamicCache

        together = groups.cut([job.ids for job in jobs])
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
        while sum(map(len, self._memory)) > groups.REMEMBER:
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

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _prompt(self, messages: Messages, template: Mapping[str, object]) -> str:
        """The prompt by the model's chat template; no message can hold a special token."""
        turns = [{"role": turn["role"], "content": self._plain(turn["content"])} for turn in messages]
        more: dict[str, Any] = dict(template)
        return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **more))

    def _ending(self, prompt: str) -> str:
        """What decides how the words after a prompt are spelled: its end, from the last special token on."""
        begin = max((found.start() for found in self._special.finditer(prompt)), default=0)
        return prompt[max(begin, len(prompt) - _ENDING) :]

    def _plain(self, text: str) -> str:
        while (cleaned := self._special.sub("", text)) != text:  # again: what is left may join to another
            text = cleaned
        return text


def _chosen(job: Job) -> None:
    """Settles a choice with what was found."""
    mass = sum(job.found)
    if not math.isfinite(mass):
        job.settle(EngineError("the model computes no numbers for this prompt: its weights or its precision are unfit"))
        return
    shares = {option: p / mass if mass else 0.0 for option, p in zip(job.options, job.found, strict=True)}
    job.settle(Choice(shares, min(mass, 1.0), len(job.ids), wanted=job.wanted))


def _untaken(error: Exception) -> EngineError:
    """A model brings its own template and tokenizer, which may refuse anything."""
    why = f"the model's chat template or tokenizer cannot take this prompt: {error!r}"
    if "system" in str(error).lower() or "alternate" in str(error).lower():
        return EngineGone(f"{why}. Write under this model: system_role: false", "the system role is refused")
    return EngineError(why, "chat template")


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
