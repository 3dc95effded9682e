"""Faults planted in good answers: a labelled test for any judge, for free (as in CriticGPT, arXiv 2407.00215).

A fault is planted by a rule, not by a model, so that its label is certain: another question's answer, another number,
or a statement turned into its opposite.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seedbed.records import Content, Leaf, Sample, Seed

_NUMBER = re.compile(r"(?<!\d)\d{1,18}(?!\d)")  # Python reads none of thousands of digits
_VERB = re.compile(r"\b(is|are|was|were|can|could|will|would|should|must|has|have|had|does|do|did)\b( not\b)?")


@dataclass(frozen=True, slots=True)
class Item:
    """A sample whose label is known: `fault` is "" for a good one, else what was planted."""

    sample: Sample
    fault: str


def other_number(answer: str, dice: random.Random) -> str | None:
    """One of its numbers moved by one to nine; None where it has none."""
    found = list(_NUMBER.finditer(answer))
    if not found:
        return None
    number = dice.choice(found)
    return f"{answer[: number.start()]}{int(number[0]) + dice.randint(1, 9)}{answer[number.end() :]}"


def opposite(answer: str, dice: random.Random) -> str | None:
    """Its first statement denied, or a denial taken out; None where no verb is found to do it with."""
    if not _VERB.search(answer):
        return None
    return _VERB.sub(lambda verb: verb[1] if verb[2] else f"{verb[1]} not", answer, count=1)


RULES: dict[str, Callable[[str, random.Random], str | None]] = {"number": other_number, "opposite": opposite}


def planted(leaves: Sequence[Leaf], rows: int, seed: int = 0) -> list[Item]:
    """Seeds as they are and with a fault, in turn over the leaves: `rows` items at most, half of them faulty.

    The kinds of fault take turns where an answer allows more than one.
    """
    dice = random.Random(seed)
    pairs = [(leaf, n) for leaf in leaves for n in range(len(leaf.seeds)) if len(leaf.seeds) > 1]
    dice.shuffle(pairs)
    items: list[Item] = []
    for turn, (leaf, n) in enumerate(pairs):
        found = _faults(leaf.seeds, n, dice)
        if found and len(items) + 2 <= rows:
            fault, answer = found[turn % len(found)]
            good = leaf.seeds[n]
            items += [
                Item(_sample(leaf, n, good, good.answer, ""), ""),
                Item(_sample(leaf, n, good, answer, fault), fault),
            ]
    return items


def _faults(seeds: Sequence[Seed], n: int, dice: random.Random) -> list[tuple[str, str]]:
    others = [seed.answer for seed in seeds if seed.answer.strip() != seeds[n].answer.strip()]
    found = [("another answer", dice.choice(others))] if others else []
    changed = ((name, rule(seeds[n].answer, dice)) for name, rule in RULES.items())
    return found + [(name, answer) for name, answer in changed if answer]


def _sample(leaf: Leaf, n: int, seed: Seed, answer: str, fault: str) -> Sample:
    return Sample(
        sample_id=f"{leaf.path}#seed{n}{'/' if fault else ''}{fault}",
        kind="knowledge" if leaf.kind == "knowledge" else "instruction",
        method="planted",
        leaf=leaf.path,
        ordinal=n,
        attempt=0,
        content=Content(question=seed.question, answer=answer, context=seed.context),
    )
