"""Values within values: rows of files that are not ours have texts in lists and mappings."""

from __future__ import annotations

from collections.abc import Iterator


def texts_in(value: object) -> Iterator[str]:
    """The texts in a value of lists and mappings, however deep; MT-Bench, for one, has lists of turns."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_in(item)
