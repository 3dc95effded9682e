"""How a model's tokenizer spells the options of a choice where they are read: after this prompt, not by themselves.

A tokenizer may mark where a word begins, cut a number into digits or join what meets at a border. So an option's tokens
are those that the prompt with it has more than the prompt without. Options that begin alike are told apart by reading
on: how likely their common beginning is, and what follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product

from seedbed.engines import EngineError

Spelling = tuple[int, ...]
Spelled = tuple[frozenset[Spelling], ...]  # of each option


def spell(encode: Callable[[str], list[int]], before: str, options: Sequence[str]) -> Spelled:
    """The tokens of each option after the text `before`, as it stands and after a space.

    Raises:
        EngineError: what one option is spelled with is all, or the beginning, of what another one is.
    """
    start = encode(before)
    spelled = tuple(
        frozenset(_following(start, encode(before + option), encode(f"{before} {option}")))
        or frozenset({tuple(encode(option))})
        for option in options
    )
    for (one, ones), (other, others) in combinations(zip(options, spelled, strict=True), 2):
        if any(a[: len(b)] == b[: len(a)] for a, b in product(ones, others)):
            raise EngineError(
                f"the options {one!r} and {other!r} cannot be told apart: to this model's tokenizer one is the other, "
                "or its beginning. Take options that do not begin alike, such as letters, or another judge"
            )
    return spelled


def _following(start: list[int], *whole: list[int]) -> Iterator[Spelling]:
    """What comes after `start`, where it is still spelled as without."""
    for tokens in whole:
        if tokens[: len(start)] == start and len(tokens) > len(start):
            yield tuple(tokens[len(start) :])


def ways(spelled: Spelled, prefix: Spelling, blank: Callable[[int], bool]) -> tuple[dict[int, int], list[int]]:
    """The next tokens after `prefix`: those that tell one option, with its number, and those to read on after.

    A `blank` token, such as the mark of a word's beginning, tells none: anything may follow it.
    """
    leads: dict[int, set[int]] = {}
    for number, spellings in enumerate(spelled):
        for spelling in spellings:
            if len(spelling) > len(prefix) and spelling[: len(prefix)] == prefix:
                leads.setdefault(spelling[len(prefix)], set()).add(number)
    telling = {token: min(numbers) for token, numbers in leads.items() if len(numbers) == 1 and not blank(token)}
    return telling, [token for token in leads if token not in telling]
