"""What methods know of a row, in words: a page, a heading, the answer that was given for right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson


def told_facts(facts: object) -> list[tuple[str, str]]:
    """Each of a method's facts with its name in words; what lies deeper is JSON."""
    return [(name.replace("_", " "), _told(value)) for name, value in _named(facts, "")]


def _named(value: object, name: str) -> Iterator[tuple[str, object]]:
    if not isinstance(value, Mapping) or ":" in name:
        yield name.removesuffix(": ") or "fact", value
        return
    for part, inner in value.items():
        yield from _named(inner, f"{name}: {part}" if name else str(part))


def _told(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return ", ".join(map(str, value))
    return orjson.dumps(value, default=str).decode()
