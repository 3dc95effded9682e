"""What differs between two texts, word by word. White space alone makes no difference."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

# A word, a sign, or one character of a script that is written without spaces; each with the white space behind it.
_DENSE = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_PIECE = re.compile(rf"[{_DENSE}]\s*|[^\W{_DENSE}]+\s*|[^\w\s]\s*|\s+")


class Span(NamedTuple):
    """A stretch of a text: in both, only in the first (gone), or only in the second (new)."""

    what: Literal["same", "gone", "new"]
    text: str


def compare(first: str, second: str) -> tuple[list[Span], list[Span]]:
    """The first text with what the second lacks marked gone, and the second with what the first lacks marked new."""
    a, b = _PIECE.findall(first), _PIECE.findall(second)
    matcher = SequenceMatcher(None, [piece.strip() for piece in a], [piece.strip() for piece in b])
    left, right = list[Span](), list[Span]()
    for tag, i, j, k, m in matcher.get_opcodes():
        if i < j:
            left.append(Span("same" if tag == "equal" else "gone", "".join(a[i:j])))
        if k < m:
            right.append(Span("same" if tag == "equal" else "new", "".join(b[k:m])))
    return left, right
