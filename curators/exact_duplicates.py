"""Exact duplicates: of rows that say the same, the first in the plan stays.

A selector: it sees shards as whole sets, in the plan's order, so which twin stays never depends on timing. What makes
two rows the same is a key of 64 bits over all that they say, so that one request with two answers is two rows, unless
the recipe goes by the prompt. Unicode form, case and white space do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seedbed.conversation import Content
from seedbed.folding import all_folded
from seedbed.records import Frozen

STEP = "exact_duplicates"

Keys = npt.NDArray[np.uint64]


class ExactDuplicates(Frozen):
    """What is the same, and against what rows are held."""

    by: Literal["row", "prompt"] = Field(
        default="row", description="row: the prompt with its answers; prompt: the prompt alone."
    )
    across: bool = Field(
        default=False, description="Also drop what runs of other recipes had kept when this run began."
    )


def keys_of(rows: Iterable[tuple[str, Content]], by: str) -> Keys:
    """A key for each row, of which the kind is given first: the same for rows that say the same. Shape (rows,)."""
    texts = all_folded(_parts(kind, content, by) for kind, content in rows)
    return np.frombuffer(b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts), dtype=np.uint64)


def _parts(kind: str, content: Content, by: str) -> tuple[str, ...]:
    if by == "prompt":
        return kind, content.prompt()
    if content.rest is None:
        return kind, content.context, content.question, content.answer, content.rejected
    answers = (part for one in content.responses for part in (one.reasoning, one.text))
    return kind, content.prompt(), *answers, "" if content.label is None else str(content.label)


class Seen:
    """The keys let through so far, 8 bytes each, in sorted runs of which each is longer than the next.

    So a shard costs the logarithm of what was seen, not all of it: a run is merged into the one before it once it is
    as long.
    """

    def __init__(self, keys: Keys) -> None:
        self._runs = [np.unique(keys)]

    def forget(self, keys: Keys) -> None:
        """These may come again: their rows were let through and then had no answer to the end."""
        if len(keys):
            self._runs = [np.setdiff1d(run, keys, assume_unique=False) for run in self._runs]

    def new(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which of these, in order, are the first of their row; they count as seen from now on."""
        first = np.zeros(len(keys), dtype=np.bool_)
        first[np.unique(keys, return_index=True)[1]] = True
        for run in self._runs:
            first &= ~_among(keys, run)
        self._add(np.sort(keys[first]))
        return first

    def _add(self, fresh: Keys) -> None:
        while self._runs and len(self._runs[-1]) <= 2 * len(fresh):
            fresh = np.sort(np.concatenate([self._runs.pop(), fresh]), kind="stable")
        self._runs.append(fresh)


def _among(keys: Keys, run: Keys) -> npt.NDArray[np.bool_]:
    if not len(run):
        return np.zeros(len(keys), dtype=np.bool_)
    among: npt.NDArray[np.bool_] = run[np.minimum(np.searchsorted(run, keys), len(run) - 1)] == keys
    return among
