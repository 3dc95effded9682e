"""Engines: where a model's words and judgements come from.

One narrow Protocol, `chat` and `choose`. The in-process engine, the HTTP engine, the ledger that stands
before them and the scripted model of the tests are small classes that happen to fit it; none inherits anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import BaseModel

from seedbed.records import Message
from seedbed.replies import Choice, Reply
from seedbed.room import ANSWER
from seedbed.structured import read

__all__ = [
    "Choice",
    "Engine",
    "EngineError",
    "EngineGone",
    "EngineRefused",
    "Engines",
    "ModelCard",
    "Reply",
    "Sampling",
]

Messages = Sequence[Message]
T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn. `max_tokens` counts new tokens (see `seedbed/room.py`); temperature 0 is greedy."""

    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = ANSWER


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Which model answers, and under which licence: what a reader of the data must be able to look up."""

    engine: str
    model: str
    revision: str
    licence: str


NOBODY = "nobody there"  # how the kind of an error begins where no server was reached


class EngineError(Exception):
    """The engine gave no answer, after its own retries: the message says what happened and what to do.

    `kind` is what happened in a few words, the same for every call that it happened to.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind or " ".join(message.split("\n", 1)[0].split())[:120]


class EngineGone(EngineError):
    """No call will be answered for now, whatever is asked: the message says why and what to do. A run stops at it."""


class EngineRefused(EngineError):
    """The engine is well and turns this one request down, now and whenever it is asked: too long, or not allowed.

    `about_prompt`: it says that the prompt is why. `call_id` is set by the ledger where this is recorded for good.
    """

    def __init__(self, message: str, kind: str = "", about_prompt: bool = False) -> None:
        super().__init__(message, kind)
        self.about_prompt, self.call_id = about_prompt, ""


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
        read it with `ask`. `step` names the stage, for the books and for what a recipe says of it. Raises EngineError,
        and Unreadable where what came back is no reply.
        """

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        """The probability of each option as the next words, from one forward pass. Raises EngineError, Unreadable."""


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
    return read(reply, schema, step), reply
