"""Which rows are fit to train on, told from their texts and from their tokens. What is refused is counted by reason.

TRL trains without a word on pairs whose two sides are the same, on empty answers, and on the stump of a row that is
too long. Here none of them gets that far.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from seedbed.conversation import Content
from seedbed.conversation_json import content_of
from seedbed.errors import InputError
from seedbed.kinds import KINDS
from trainer.options import RATES, Training
from trainer.tokens import Lesson, Tokens, Unwritable, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = ("sample_id", "kind", "split", "question", "context", "answer", "rejected", "rest")
KNOWLEDGE = "knowledge"  # the kind whose context is what is to be known, and no material of one request


@dataclass(frozen=True, slots=True)
class Row:
    """One sample of a version: its conversation, of which an SFT takes the first response and a DPO the first two."""

    sample_id: str
    kind: str
    held_out: bool
    content: Content

    @property
    def prompt_hash(self) -> str:
        """The same for whole prompts that differ in case and white space only, as a version's split takes them."""
        folded = " ".join(self.content.prompt().casefold().split())
        return hashlib.blake2b(folded.encode(), digest_size=8).hexdigest()

    def shown(self, training: Training) -> Content:
        """The conversation as a training reads it: without its passages where those of knowledge are left out."""
        if self.kind != KNOWLEDGE or training.passages != "left_out":
            return self.content
        turns = [turn._replace(context="") for turn in self.content.turns]
        return Content.of(turns, self.content.responses, self.content.tools)

    def tokens(self, training: Training, tokenizer: PreTrainedTokenizerBase) -> Tokens:
        """It in token ids. Raises Unwritable, and InputError without a chat template."""
        learned = self.kind == KNOWLEDGE and training.passages == "learned"
        return tokenize(self.shown(training), training, tokenizer, passages=learned)


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not trained on, and why."""

    sample_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fit:
    """The rows fit for a training, in the version's order, and the others.

    `lessons` are what an SFT learns of those to train on, `tokens` what is measured of those held out. `remarks` count
    the rows that are fit and yet otherwise than usual.
    """

    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    tokens: tuple[Tokens, ...] = ()
    refused: tuple[Refused, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    remarks: dict[str, int] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, int]:
        """Rows refused by reason, the commonest first."""
        return dict(Counter(refused.reason for refused in self.refused).most_common())


def read_rows(path: Path) -> list[Row]:
    """The rows of a Parquet file with the columns that a version has."""
    import pyarrow.parquet

    return rows_of(pyarrow.parquet.read_table(path, columns=list(COLUMNS), partitioning=None))


def rows_of(table: pa.Table) -> list[Row]:
    """The rows of a table with the columns that a version has."""
    samples = table.select(list(COLUMNS)).to_pylist()
    return [
        Row(sample["sample_id"], sample["kind"], sample["split"] == "test", content_of(sample)) for sample in samples
    ]


def fit(rows: Iterable[Row], training: Training, tokenizer: PreTrainedTokenizerBase, limit: int) -> Fit:
    """Sort rows by whether they are fit for the training within `limit` tokens.

    Raises:
        InputError: the tokenizer has no chat template.
    """
    train, held_out, tokens, refused, remarks = [], [], [], [], Counter[str]()
    lessons: list[Lesson] = []
    for row in rows:
        found = _read(row, training, tokenizer, limit)
        if isinstance(found, str):
            refused.append(Refused(row.sample_id, found))
            continue
        remarks.update([found.remark] if found.remark else [])
        if row.held_out:
            held_out.append(row)
            tokens.append(found)
        else:
            train.append(row)
            lessons.extend(found.lessons)
    return Fit(tuple(train), tuple(held_out), tuple(tokens), tuple(refused), tuple(lessons), dict(remarks))


def _read(row: Row, training: Training, tokenizer: PreTrainedTokenizerBase, limit: int) -> Tokens | str:
    """A row's tokens, or why they are of no use."""
    if reason := unfit(row, training):
        return reason
    try:
        tokens = row.tokens(training, tokenizer)
    except Unwritable as error:
        return str(error)
    return unfit_tokens(tokens, limit) or tokens


def fit_by_text(rows: Iterable[Row], training: Training) -> Fit:
    """As `fit`, before there is a tokenizer: what is refused here no training can use."""
    found = [(row, unfit(row, training)) for row in rows]
    useful = [row for row, reason in found if not reason]
    train, held_out = (tuple(row for row in useful if row.held_out == out) for out in (False, True))
    return Fit(train, held_out, refused=tuple(Refused(row.sample_id, reason) for row, reason in found if reason))


def enough(found: Fit, training: Training, least: float | None = None) -> None:
    """Raises InputError where nothing is left to train on, or to measure on, and says what to do.

    `least` is the smallest share that holds a row out, where somebody knows it.
    """
    if not found.train:
        raise InputError(f"no row is fit to train on by {training.objective}{_told(found)}. {_remedy(found, training)}")
    if not found.held_out:
        known = f"; {least:g} holds one out" if least else ""
        raise InputError(
            f"no row is held out to measure on, of {len(found.train)} that are fit{_told(found)}. "
            f"Raise held_out (now {training.held_out:g}{known}), or grow more rows"
        )


def some_held_out(found: Fit) -> None:
    """Raises InputError where no row is left to measure on."""
    if not found.held_out:
        raise InputError(f"no row is left to measure on{_told(found)}")


def _told(found: Fit) -> str:
    reasons = ", ".join(f"{n} x {reason}" for reason, n in found.reasons.items())
    return f"; refused: {reasons}" if reasons else ""


def _remedy(found: Fit, training: Training) -> str:
    reason = next(iter(found.reasons), "")
    for kind in KINDS:
        if reason == _not_for(kind, training):
            others = [objective for objective in RATES if objective in KINDS[kind].objectives]
            return f"Train with --objective {others[0]}" if others else "No objective is for such rows"
    if reason.startswith("longer"):
        return "Raise max_length, as far as the model has positions"
    if reason.startswith("the model's template"):
        return "Start from a model whose template has what the rows have, or train on other rows"
    return "Look at the rows, and grow others" if reason else "The version is empty, or held_out leaves nothing"


def unfit(row: Row, training: Training) -> str:
    """Why a row's texts are of no use to the training; "" if they are."""
    content = row.shown(training)
    pair = training.objective == "dpo"
    if row.kind not in KINDS or training.objective not in KINDS[row.kind].objectives:
        return _not_for(row.kind, training)
    if not (content.question.strip() or content.context.strip()):
        return "empty prompt"
    if not all(text.strip() for text in content.replies()[: 2 if pair else 1]):
        return "empty answer"
    said = [(one.text.split(), one.reasoning if training.reasoning else "") for one in content.responses]
    return "chosen = rejected" if pair and said[0] == said[1] else ""


def _not_for(kind: str, training: Training) -> str:
    return f"kind {kind} is not for {training.objective}"


def unfit_tokens(tokens: Tokens, limit: int) -> str:
    """Why a row's tokens are of no use to a training; "" if they are."""
    if tokens.length > limit:
        return f"longer than {limit} tokens"
    if not tokens.answer:
        return "empty answer"
    return "chosen = rejected" if tokens.answer == tokens.rejected else ""
