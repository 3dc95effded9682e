"""Which rows are fit to train on, told from their texts and from their tokens. What is refused is counted by reason.

TRL trains without a word on pairs whose two sides are the same, on empty answers, and on the stump of a row that is
too long. Here none of them gets that far.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from seedbed.errors import InputError
from seedbed.records import Content
from trainer.options import Objective, Training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = ("sample_id", "kind", "split", "question", "context", "answer", "rejected")


@dataclass(frozen=True, slots=True)
class Row:
    """One sample of a version. Of a pair, `answer` is the chosen one."""

    sample_id: str
    kind: str
    held_out: bool
    prompt: str
    answer: str
    rejected: str

    @property
    def prompt_hash(self) -> str:
        """The same for prompts that differ in case and white space only, which a version's split takes for one too."""
        return hashlib.blake2b(" ".join(self.prompt.casefold().split()).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Tokens:
    """A row as the chat template writes it, in token ids; `rejected` is empty where there is none."""

    prompt: list[int]
    answer: list[int]
    rejected: list[int]

    @property
    def length(self) -> int:
        """Tokens of the request with the longer answer."""
        return len(self.prompt) + max(len(self.answer), len(self.rejected))


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not trained on, and why."""

    sample_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fit:
    """The rows fit for an objective, in the version's order, with the tokens of those held out; and the others."""

    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    tokens: tuple[Tokens, ...]
    refused: tuple[Refused, ...]

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
    rows = []
    for sample in table.select(list(COLUMNS)).to_pylist():
        asked = Content(question=sample["question"] or "", context=sample["context"] or "").prompt()
        texts = (asked, sample["answer"] or "", sample["rejected"] or "")
        rows.append(Row(sample["sample_id"], sample["kind"], sample["split"] == "test", *texts))
    return rows


def fit(rows: Iterable[Row], objective: Objective, tokenizer: PreTrainedTokenizerBase, limit: int) -> Fit:
    """Sort rows by whether they are fit for the objective within `limit` tokens.

    Raises:
        InputError: the tokenizer has no chat template.
    """
    train, held_out, tokens, refused = [], [], [], []
    for row in rows:
        reason, found = unfit(row, objective), None
        if not reason:
            found = tokenize(row, objective, tokenizer)
            reason = unfit_tokens(found, objective, limit)
        if reason or not found:
            refused.append(Refused(row.sample_id, reason))
        elif row.held_out:
            held_out.append(row)
            tokens.append(found)
        else:
            train.append(row)
    return Fit(tuple(train), tuple(held_out), tuple(tokens), tuple(refused))


def fit_by_text(rows: Iterable[Row], objective: Objective) -> Fit:
    """As `fit`, before there is a tokenizer: what is refused here no training can use."""
    found = [(row, unfit(row, objective)) for row in rows]
    useful = [row for row, reason in found if not reason]
    train, held_out = (tuple(row for row in useful if row.held_out == out) for out in (False, True))
    return Fit(train, held_out, (), tuple(Refused(row.sample_id, reason) for row, reason in found if reason))


def enough(found: Fit, training: Training) -> None:
    """Raises InputError where nothing is left to train on, or to measure on, and says what to do."""
    if not found.train:
        raise InputError(f"no row is fit to train on by {training.objective}{_told(found)}. {_remedy(found, training)}")
    if not found.held_out:
        raise InputError(
            f"no row is held out to measure on, of {len(found.train)} that are fit{_told(found)}. "
            f"Raise held_out (now {training.held_out:g}), or grow more rows"
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
    if reason in ("a preference", "no preference"):
        return f"Train with --objective {'dpo' if training.objective == 'sft' else 'sft'}"
    if reason.startswith("longer"):
        return "Raise max_length, as far as the model has positions"
    return "Look at the rows, and grow others" if reason else "The version is empty, or held_out leaves nothing"


def unfit(row: Row, objective: Objective) -> str:
    """Why a row's texts are of no use to the objective; "" if they are."""
    pair = row.kind == "preference"
    if pair != (objective == "dpo"):
        return "a preference" if pair else "no preference"
    if not row.prompt.strip():
        return "empty prompt"
    if not row.answer.strip() or (pair and not row.rejected.strip()):
        return "empty answer"
    return "chosen = rejected" if pair and row.answer.split() == row.rejected.split() else ""


def unfit_tokens(tokens: Tokens, objective: Objective, limit: int) -> str:
    """Why a row's tokens are of no use to the objective; "" if they are."""
    if tokens.length > limit:
        return f"longer than {limit} tokens"
    if not tokens.answer or (objective == "dpo" and not tokens.rejected):
        return "empty answer"
    return "chosen = rejected" if tokens.answer == tokens.rejected else ""


def tokenize(row: Row, objective: Objective, tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """A row's tokens, cut where prompt and answer part, as TRL does it. Raises InputError without a chat template."""
    asked = [{"role": "user", "content": row.prompt}]
    answers = [row.answer, row.rejected] if objective == "dpo" else [row.answer]
    head = _ids(tokenizer, asked, opened=True)
    whole = [_ids(tokenizer, [*asked, {"role": "assistant", "content": text}], opened=False) for text in answers]
    at = min(_shared(head, ids) for ids in whole)
    answer, rejected = [*(ids[at:] for ids in whole), []][:2]
    return Tokens(head[:at], answer, rejected)


def _ids(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], opened: bool) -> list[int]:
    if not tokenizer.chat_template:
        raise InputError(
            f"the model {tokenizer.name_or_path} has no chat template, so it cannot be told how a request looks. "
            "Start from an instruct model, or put a chat_template.jinja in its folder"
        )
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=opened, tokenize=True, return_dict=False)
    return cast("list[int]", ids)  # one conversation gives one list


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
