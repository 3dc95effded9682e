"""How many tokens an answer may take where the recipe does not say (`max_tokens` of a model or of a step).

The idea: a model that has said what it had to say stops by itself, so room is not what makes answers short or long; it
bounds what one that does not stop can cost. Examples that are longer than usual make room for answers like them.
"""

from __future__ import annotations

from collections.abc import Iterable

ANSWER = 1024  # tokens, where nothing tells how long an answer is
REMARK = 256  # a critique, a review, a question

_BYTES_A_TOKEN = 2  # of the scripts that tokenizers cut finest; English has four
_AIR = 2


def like(texts: Iterable[str], least: int = ANSWER) -> int:
    """Tokens for an answer like these: twice what the longest can take, and `least` in any case."""
    longest = max((len(text.encode("utf-8", "replace")) for text in texts), default=0)
    return max(least, _AIR * longest // _BYTES_A_TOKEN)


def of_words(words: int) -> int:
    """Tokens for a text that was asked to have at most so many words, for those who count badly too."""
    return max(REMARK, 4 * words)
