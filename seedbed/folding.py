"""A text folded: in one Unicode form, in small letters, each stretch of white space as one space.

`" ".join(nfkc(text).casefold().split())`, in UTF-8. Plain ASCII, which most texts are, is folded without a list of its
words: by a table, in which all white space is one sign.
"""

from __future__ import annotations

from seedbed.normal_form import nfkc

_SPACES = b"\t\n\v\f\r\x1c\x1d\x1e\x1f"  # what Python's split() takes for white space, but the space
_FOLD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ" + _SPACES, b"abcdefghijklmnopqrstuvwxyz" + b" " * len(_SPACES))


def folded(text: str) -> bytes:
    """The text folded."""
    if not text.isascii():
        return " ".join(nfkc(text).casefold().split()).encode("utf-8", "surrogatepass")
    found = text.replace("\n\n", "\n").encode().translate(_FOLD).strip(b" ")  # where most double spaces come from
    while b"  " in found:
        found = found.replace(b"  ", b" ")
    return found
