"""Values within values: rows of files that are not ours have texts in lists and mappings."""

from __future__ import annotations

from collections.abc import Iterator

MOST_DEPTH = 100


def texts_in(value: object) -> Iterator[str]:
    """The texts in a value of lists and mappings, in their order; MT-Bench, for one, has lists of turns.

    Raises:
        ValueError: they are nested more than MOST_DEPTH deep, which no row of a data set is.
    """
    open_ = [iter((value,))]
    while open_:
        for item in open_[-1]:
            if isinstance(item, str):
                yield item
            elif isinstance(item, dict | list):
                if len(open_) > MOST_DEPTH:
                    raise ValueError(f"values are nested more than {MOST_DEPTH} deep")
                open_.append(iter(item.values() if isinstance(item, dict) else item))
                break
        else:
            open_.pop()


def is_deep(value: object) -> bool:
    """Whether values are nested more than MOST_DEPTH deep in it, which no row of a data set is."""
    try:
        return not all(True for _ in texts_in(value))
    except ValueError:
        return True
