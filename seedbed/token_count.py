"""How many tokens a text has, for every script and without a model: an estimate that is the same on every machine.

Fitted to the embedded model's tokenizer, a byte-level BPE of English (tests/test_token_count.py holds it to that): a
word is a token for each six letters, a sign or digit is one, and a character beyond ASCII is one for each of its UTF-8
bytes but the first. English, code, Chinese, Thai, Arabic and Hindi come out at 0.8 to 1.5 of its count, German, Korean
and Burmese at two thirds. A model made for a script cuts it more coarsely: of Chinese it may need a third of this.
"""

from __future__ import annotations

import re

_ASCII = r"[A-Z]?[a-z]{1,6}|[A-Z]{1,3}|[\x00-\x08\x0e-\x1f!-@\[-`{-\x7f]|[ \t-\r]{2,16}|\n"
_TOKEN = re.compile(_ASCII)
_UNIT = re.compile(rf"{_ASCII}|[^\x00-\x7f]")


def count(text: str) -> int:
    """Tokens of a text, about."""
    beyond = len(text.encode("utf-8", "surrogatepass")) - len(text)
    return beyond + len(_TOKEN.findall(text))


def reach(text: str, start: int, end: int, most: int) -> int:
    """Where a stretch of at most `most` tokens that begins at `start` ends, in characters: never beyond `end`.

    It has one character at least, however many tokens that takes.
    """
    held = 0
    for unit in _UNIT.finditer(text, start, end):
        held += 1 if unit[0].isascii() else count(unit[0])
        if held > most and unit.start() > start:
            return unit.start()
    return end
