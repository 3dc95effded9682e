"""The nouns. Frozen: whoever wants another value makes a copy.

Identity comes from the plan (recipe, method, leaf, ordinal, attempt), never from the text, so that the same
plan gives the same id in every run and two rows of the same text stay two rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, InstanceOf

from seedbed.conversation import Content, Message, ToolCall, Turn
from seedbed.folding import folded

if TYPE_CHECKING:
    from seedbed.sources.raw import Raw
    from seedbed.sources.source import Source

__all__ = ["Content", "Message", "ToolCall", "Turn"]

Status = Literal["kept", "dropped", "failed", "pending"]
USED_UP = "no request is left for this place"  # the reason of a row that no further try can help


class Frozen(BaseModel):
    """What every record of ours agrees on: no change after it is made, no field nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Revision(Frozen):
    """A better answer: preferred to the sample's own in both orders, by a judge that did not know which is which.

    `orders` are the probabilities that it is better, asked with it in the first place and in the second.
    """

    answer: str
    author: str
    orders: tuple[float, float]
    margin: float


class Verdict(Frozen):
    """What one check or curator says of one sample; kept beside it whether it keeps or drops.

    A `revision` takes the place of the sample's answer if the verdict keeps, and makes a pair of the two either way.
    A `settled` verdict keeps so surely that no dearer judge need be asked.
    """

    step: str
    curator: str
    keep: bool
    reason: str = ""
    score: float | None = None
    threshold: float | None = None
    call_ids: tuple[str, ...] = ()
    transcript: str | None = None
    revision: Revision | None = None
    settled: bool = False

    @classmethod
    def scored(
        cls,
        step: str,
        curator: str,
        score: float,
        threshold: float,
        against: str,
        *call_ids: str,
        transcript: str | None = None,
        revision: Revision | None = None,
    ) -> Self:
        """What a score means: keep from the threshold upwards; `against` is the reason where it falls short."""
        keep = score >= threshold
        return cls(
            step=step,
            curator=curator,
            keep=keep,
            reason="" if keep else against,
            score=score,
            threshold=threshold,
            call_ids=tuple(call for call in call_ids if call),  # an engine without the ledger gives none
            transcript=transcript,
            revision=revision,
        )


class Sample(Frozen):
    """One row. `status` is pending until every check that concerns it has spoken.

    `kind` is one of `seedbed.kinds`. `derived` is the step that made it of another sample, its parent; `source` is the
    place that it grew in, where that is not its leaf. Of a failed one, `reason` is short enough to group by, and
    `error` is all that is known: what was said, what to do.
    """

    sample_id: str
    kind: str
    method: str
    leaf: str
    ordinal: int
    attempt: int
    content: InstanceOf[Content]
    status: Status = "pending"
    step: str = ""
    reason: str = ""
    parents: tuple[str, ...] = ()
    call_ids: tuple[str, ...] = ()
    model: str = ""
    error: str = ""
    derived: str = ""
    source: str = ""

    @cached_property
    def text_hash(self) -> str:
        """Hash of the prompt, NFKC, case and white space folded: the same for exact duplicates; "" if it is empty."""
        return hash_of(folded(self.content.prompt()))


def hash_of(text: bytes) -> str:
    """Hash of a folded text as 16 hexadecimal digits; "" of none."""
    return hashlib.blake2b(text, digest_size=8).hexdigest() if text else ""


@dataclass(frozen=True, slots=True)
class Seed:
    """One worked example of a taxonomy leaf, written by a person."""

    question: str
    answer: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A source text that knowledge samples are grounded in. `pages`: where in it each page of a PDF begins."""

    name: str
    text: str
    pages: tuple[int, ...] = ()

    @property
    def markdown(self) -> bool:
        """Whether its text is to be read as Markdown; that of a .txt or .pdf is as it stands."""
        return not self.name.lower().endswith((".txt", ".pdf"))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that somebody recorded: `author` is the model or person it is from, "" where nobody says."""

    text: str
    author: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request from a file, with the answers to it that the file has, if any.

    Where it is more than one request (a system prompt, earlier turns, tools), `turns` are all of them and `tools` the
    schemas. `line` of the file is where it stands first, counted from 1, 0 where nobody knows.
    """

    question: str
    context: str = ""
    answers: tuple[Answer, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Mapping[str, object], ...] = ()
    line: int = field(default=0, compare=False)

    @property
    def content(self) -> Content:
        """It as a conversation without a response."""
        if self.turns:
            return Content.of(self.turns, tools=self.tools)
        return Content(question=self.question, context=self.context)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One task or topic of the taxonomy: the unit that coverage is counted by (LAB, section 2.1).

    `path` is relative to the taxonomy's root with forward slashes. A leaf of kind "requests" is a file of them, one of
    kind "rows" a source of rows, each of which has a leaf of its own; of one of the
    Hub, `revision` is its commit. Of a leaf that a recipe's `documents:` brought,
    that is its `pattern`.
    """

    path: str
    kind: Literal["skill", "knowledge", "requests", "rows"]
    seeds: tuple[Seed, ...]
    task: str = ""
    domain: str = ""
    outline: str = ""
    documents: tuple[Document, ...] = ()
    created_by: str = ""
    pattern: str = ""
    requests: tuple[Request, ...] = ()
    source: Source | None = None
    revision: str = ""

    @property
    def grounded(self) -> bool:
        """Whether its questions are about a given text."""
        return any(seed.context for seed in self.seeds)


@dataclass(frozen=True)
class Unit:
    """One piece of planned work: try number `attempt` (from 0) to fill place `ordinal` of a leaf.

    `spent` are the tries before it that came to something, if only to a drop: not those that no engine answered. What
    is drawn goes by them, so that a try that was not answered to its end is answered from the ledger as far as it came.
    `item` is the row of a source that it is about.
    """

    recipe: str
    method: str
    leaf: Leaf
    ordinal: int
    attempt: int
    spent: int = 0
    item: Raw | None = None

    @cached_property
    def sample_id(self) -> str:
        """Stable id, the same in every run of the same plan; 20 hexadecimal digits."""
        return _digest(f"{self.recipe}\n{self.method}\n{self.leaf.path}\n{self.ordinal}\n{self.attempt}")

    @cached_property
    def draw(self) -> int:
        """The unit's own number for seeding: which examples it sees and which answer it draws."""
        return int(_digest(f"{self.recipe}\n{self.method}\n{self.leaf.path}\n{self.ordinal}\n{self.spent}")[:8], 16)


def derived_id(sample_id: str, step: str) -> str:
    """The id of the sample that a step made of another one: the same in every run of the same plan."""
    return _digest(f"{sample_id}\n{step}")


def _digest(plan: str) -> str:
    return hashlib.blake2b(plan.encode(), digest_size=10).hexdigest()


@dataclass(frozen=True, slots=True)
class Draft:
    """What a generator returns for a unit: the content, and the verdicts of its own checks in order.

    The first verdict that does not keep ends the sample; a generator stops there and spends nothing more.
    `author` is who wrote the answer, where it was not the recipe's model; `leaf` is its own, where the unit's is a
    source.
    """

    content: Content
    kind: str
    verdicts: tuple[Verdict, ...] = ()
    parents: tuple[str, ...] = ()
    call_ids: tuple[str, ...] = ()
    author: str = ""
    leaf: str = ""
