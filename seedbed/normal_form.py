"""Unicode's normal form NFKC, in which texts that look alike are alike, of any text in no time.

Python sorts the marks on a letter by moving each past the others: 20,000 marks each of two kinds take seconds. So a run
of more than 30 is parted by a sign that is not seen (Unicode's stream-safe format, UAX #15, section 13).
"""

from __future__ import annotations

import re
import unicodedata

_MOST_MARKS, _JOINER = 30, "\u034f"
_MAYBE_MARKS = re.compile(rf"[^\w\s\x00-\x7f]{{{_MOST_MARKS + 1},}}")


def nfkc(text: str) -> str:
    """The text in NFKC."""
    if text.isascii():
        return text
    if len(text.encode("utf-8", "surrogatepass")) - len(text) > _MOST_MARKS:  # enough signs beyond ASCII for a run
        text = _MAYBE_MARKS.sub(_parted, text)
    return unicodedata.normalize("NFKC", text)


def _parted(run: re.Match[str]) -> str:
    signs = run[0]
    if not any(map(unicodedata.combining, signs)):  # dashes, or emoji
        return signs
    return _JOINER.join(signs[at : at + _MOST_MARKS] for at in range(0, len(signs), _MOST_MARKS))
