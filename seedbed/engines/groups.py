"""Which rows had better be read together: those that begin alike, their common beginning once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

REMEMBER = 8_192  # tokens of prefixes whose keys and values are kept
_PASS = 32  # a forward pass costs about as much as this many tokens, however few it has


def cut(rows: Sequence[list[int]]) -> list[tuple[int, list[int]]]:
    """Rows that had better be read together: the length of their common prefix, and their numbers.

    Sorted rows are cut into groups so that the least is read in all: each group's prefix once, and a pass for each.
    """
    order = sorted(range(len(rows)), key=rows.__getitem__)
    alike = [_common(rows[one], rows[next_]) for one, next_ in pairwise(order)]
    best = [(0, 0, 0)]  # the least cost of the rows up to here, where their last group begins, and its prefix
    for end in range(1, len(order) + 1):
        tokens, shared, tried = 0, len(rows[order[end - 1]]) - 1, list[tuple[int, int, int]]()
        for begin in reversed(range(end)):
            tokens += len(rows[order[begin]])
            if begin + 1 < end:
                shared = min(shared, alike[begin], len(rows[order[begin]]) - 1)
            tried.append((best[begin][0] + tokens - (end - begin - 1) * shared + _PASS, begin, shared))
        best.append(min(tried))
    found, end = list[tuple[int, list[int]]](), len(order)
    while end:
        _, begin, shared = best[end]
        found += _evened(rows, shared, order[begin:end])
        end = begin
    return found


def _evened(rows: Sequence[list[int]], shared: int, members: list[int]) -> list[tuple[int, list[int]]]:
    """The group in parts of like length, each a pass of its own, where that is cheaper than filling up to the longest.

    Its prefix is read once all the same: the second part finds it remembered.
    """
    if shared > REMEMBER:
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
