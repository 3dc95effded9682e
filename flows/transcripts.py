"""A verdict's transcript as lines for people: a debate's turns, a pair's comparisons, what came of a revision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson


def lines(transcript: str) -> list[str]:
    """The transcript told line by line; one that is no JSON of ours is its own words."""
    try:
        facts = orjson.loads(transcript)
    except orjson.JSONDecodeError:
        return [transcript]
    if isinstance(facts, list):  # a vote
        return [f"{one['yes']:.2f} for yes: {one['review']}" for one in facts]
    if not isinstance(facts, dict):
        return [transcript]
    for key, tell in TOLD.items():
        if key in facts:
            return list(tell(facts))
    return [transcript]


def _pair(facts: dict[str, Any]) -> Iterator[str]:
    who = {facts["chosen"]: "chosen", facts["rejected"]: "rejected"}
    for n, candidate in enumerate(facts["candidates"]):
        part = who.get(n, "not used") + (f", rated {facts['scores'][n]:.2f}" if "scores" in facts else "")
        yield f"answer {n + 1} by {candidate['model'] or 'unknown'} ({part}): {candidate['text']}"
    for one in facts.get("comparisons", ()):
        yield (
            f"answer {one['a'] + 1} is the better of {one['a'] + 1} and {one['b'] + 1}: "
            f"{one['in_front']:.2f} when it comes first, {one['behind']:.2f} when second"
        )


def _debate(facts: dict[str, Any]) -> Iterator[str]:
    for opinion in facts["opinions"]:
        yield f"{opinion['model']} before: good {opinion['orders'][0]:.2f}, not faulty {opinion['orders'][1]:.2f}"
    for turn in facts["turns"]:
        yield f"round {turn['round']}, {turn['side']}: {turn['text']}"
    if facts["orders"]:
        yield f"the judge for it: {facts['orders'][0]:.2f} and {facts['orders'][1]:.2f} with the sides changed"
    if facts["decisive"]:
        yield f"decided by: {facts['decisive']}"
    if facts["attempt"]:
        yield from _revision(facts["attempt"])


def _revision(facts: dict[str, Any]) -> Iterator[str]:
    if facts.get("critique"):
        yield facts["critique"]
    after = f", score {facts['before']:.2f} before and {facts['after']:.2f} after" if facts.get("after") else ""
    orders = facts["orders"] and f" ({facts['orders'][0]:.2f} and {facts['orders'][1]:.2f} in the two orders)"
    yield f"revision {facts['outcome']}{orders or ''}{after}: {facts['revised']}"


TOLD = {"turns": _debate, "candidates": _pair, "revised": _revision}
