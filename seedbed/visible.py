"""Text of others as it may be shown: what a terminal would obey, or nobody could see, is written as an escape.

The set is Unicode's control characters but newline and tab, its line and paragraph separators, half characters, and
what its property Default_Ignorable_Code_Point names: characters that reorder, join or mark others and have no shape of
their own. Joiners and variation selectors stay where a script or an emoji needs them: one, behind a character beyond
ASCII.
"""

from __future__ import annotations

import json
import re

_EMOJI = "\ufe0f"  # asks for a picture; in a family of emoji a joiner follows it
_JOINING = "\u180b-\u180d\u180f\u200c\u200d\ufe00-\ufe0e\U000e0100-\U000e01ef"
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff"
    "\U000e01f0-\U000e0fff"
)
_HIDDEN = re.compile(
    f"[{_UNSEEN}]|(?<![^\x00-\x7f{_UNSEEN}{_JOINING}])[{_JOINING}]"
    f"|(?<![^\x00-\x7f{_UNSEEN}{_JOINING}{_EMOJI}]){_EMOJI}(?!\u20e3)"  # U+20E3 puts a digit on a key
)
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")


def visible(text: str) -> str:
    r"""The text with all that hides or commands as an escape, such as `\x1b`; newlines and tabs stay."""
    return _HIDDEN.sub(lambda found: _escape(found[0]), text)


def on_one_line(text: str) -> str:
    r"""The same for what stands on one line: newlines and tabs too are shown, as `\n` and `\t`."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def in_json(text: str, encoding: str = "utf-8") -> str:
    """JSON of the same meaning with the same characters escaped, and those that an encoding lacks."""
    told = _HIDDEN.sub(_json_escape, text)
    try:
        told.encode(encoding)
    except UnicodeEncodeError:
        return _BEYOND_ASCII.sub(_json_escape, told)
    return told


def _escape(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return rf"\x{number:02x}"
    return rf"\u{number:04x}" if number < 0x10000 else rf"\U{number:08x}"


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
