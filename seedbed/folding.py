"""Texts folded: in one Unicode form, in small letters, each stretch of white space as one space.

`" ".join(nfkc(text).casefold().split())`, in UTF-8; and the same of many texts at once, as one array of bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from seedbed.normal_form import nfkc

_ROW, _PART, _SPACE = "\0", "\x01", ord(" ")  # between texts, and between the parts of one
_WHITE = "\t\n\v\f\r\x1c\x1d\x1e\x1f"  # what Python's split() takes for white space in ASCII, but the space
_WIDE = "\x85\u1680\u2028\u2029"  # and beyond it, but what NFKC makes a space of
_AT_ONCE = 1024  # texts: more than that, and they leave the processor's cache
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FOLD = bytes.maketrans((_UPPER + _WHITE).encode(), (_UPPER.lower() + " " * len(_WHITE)).encode())


def folded(text: str) -> bytes:
    """The text folded."""
    return " ".join(nfkc(text).casefold().split()).encode("utf-8", "surrogatepass")


def all_folded(texts: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Texts of several parts each: each part folded, with a sign between them."""
    ahead = iter(texts)
    while some := list(islice(ahead, _AT_ONCE)):
        yield from _all_folded(some)


def _all_folded(texts: list[Sequence[str]]) -> list[bytes]:
    rows = [_PART.join(parts) for parts in texts]
    whole = _ROW.encode().join([row.encode() if row.isascii() else _folded_wide(row) for row in rows])
    parts = sum(map(len, texts))
    if whole.count(_ROW.encode()) >= len(texts) or whole.count(_PART.encode()) > parts - len(
        texts
    ):  # our signs stand in a text
        return [_PART.encode().join(map(folded, parts)) for parts in texts]
    signs = np.frombuffer(whole.translate(_FOLD), dtype=np.uint8)
    space = signs == _SPACE
    again = space.copy()  # behind other white space, or at the beginning of a part
    again[1:] &= (space | (signs <= ord(_PART)))[:-1]
    again[:1] = space[:1]
    signs = signs[~again]
    last = np.append(np.flatnonzero(signs <= ord(_PART)), len(signs)) - 1  # of each part
    if len(signs):
        signs = np.delete(signs, last[signs[last] == _SPACE])
    return signs.tobytes().split(_ROW.encode())


def _folded_wide(text: str) -> bytes:
    text = nfkc(text).casefold()
    for sign in _WIDE:
        text = text.replace(sign, " ")
    return text.encode("utf-8", "surrogatepass")
