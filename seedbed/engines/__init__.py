"""Engines: where a model's words and judgements come from.

One narrow Protocol, `chat` and `choose`. The in-process engine, the HTTP engine, the ledger that stands
before them and the scripted model of the tests are small classes that happen to fit it; none inherits anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pydantic import BaseModel

from seedbed.records import Message
from seedbed.replies import read

Messages = Sequence[Message]
T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn. `max_tokens` counts new tokens; temperature 0 is greedy."""

    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 512


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Which model answers, and under which licence: what a reader of the data must be able to look up."""

    engine: str
    model: str
    revision: str
    licence: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer. `call_id` is set by the ledger; `finish` is "stop" or "length" where the engine knows."""

    text: str
    tokens_in: int
    tokens_out: int
    finish: str = "stop"
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Each option's probability (they sum to 1), read from one forward pass.

    `mass` is the probability that the options had together before they were normalised: near 0, the model
    did not want to answer with any of them and the choice means little; at 0 all probabilities are 0. `wanted` are
    the likeliest first tokens, as text, with their probabilities.
    """

    probabilities: dict[str, float]
    mass: float
    tokens_in: int
    call_id: str = ""
    wanted: Mapping[str, float] = field(default_factory=dict)

    def expected(self) -> float:
        """Mean of options that are numbers, e.g. a rating from 1 to 5."""
        return sum(float(option) * p for option, p in self.probabilities.items())


class EngineError(Exception):
    """The engine gave no answer, after its own retries: the message says what happened and what to do."""


class EngineGone(EngineError):
    """No call will be answered for now, whatever is asked: the message says why and what to do. A run stops at it."""


class Engine(Protocol):
    """What a method may ask of a model."""

    @property
    def card(self) -> ModelCard:
        """Which model this is."""

    async def chat(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        step: str,
        ordinal: int = 0,
        schema: type[BaseModel] | None = None,
    ) -> Reply:
        """One answer. `ordinal` tells several answers to one prompt apart and seeds the draw.

        `schema` asks engines that can to constrain the answer to that JSON shape; nothing is promised, so
        read it with `ask`. `step` names the stage, for the books. Raises EngineError.
        """

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """The probability of each option as the next words, from one forward pass. Raises EngineError."""


@dataclass(frozen=True, slots=True)
class Engines:
    """The models of a run: `model` writes, `judge` judges, `more` answer beside the model in preferences."""

    model: Engine
    judge: Engine
    more: tuple[Engine, ...] = ()

    @property
    def writers(self) -> tuple[Engine, ...]:
        """All that answer, the model first."""
        return (self.model, *self.more)


async def ask(
    engine: Engine,
    messages: Messages,
    schema: type[T],
    sampling: Sampling = Sampling(),
    *,
    step: str,
    ordinal: int = 0,
) -> tuple[T, Reply]:
    """A chat whose answer must be JSON of the given shape, checked on arrival. Raises Unreadable, EngineError."""
    reply = await engine.chat(messages, sampling, step=step, ordinal=ordinal, schema=schema)
    return read(reply.text, schema, step), reply
