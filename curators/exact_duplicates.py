"""Exact duplicates, across all runs: of rows whose prompts fold to the same text, the first in the plan stays.

A selector: it sees shards as whole sets, in the plan's order, so which twin stays never depends on timing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seedbed.records import Frozen

STEP = "exact_duplicates"


class ExactDuplicates(Frozen):
    """It has no options: prompts are compared with Unicode form, case and white space folded."""


class Seen:
    """The 64-bit text hashes let through so far, sorted; 8 bytes each."""

    def __init__(self, hashes: npt.NDArray[np.uint64]) -> None:
        self._hashes = np.unique(hashes)

    def forget(self, hashes: npt.NDArray[np.uint64]) -> None:
        """These may come again: their rows were let through and then had no answer to the end."""
        if len(hashes):
            self._hashes = np.setdiff1d(self._hashes, hashes)

    def new(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which of these, in order, are the first of their text; they count as seen from now on."""
        first = np.zeros(len(hashes), dtype=np.bool_)
        first[np.unique(hashes, return_index=True)[1]] = True
        keep = first & ~np.isin(hashes, self._hashes)
        self._hashes = np.union1d(self._hashes, hashes[keep])
        return keep
