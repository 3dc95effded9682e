"""What is or looks like a secret: in recipes that are read, in what servers say, in rows and cards, in error messages.

The keys in use are known, and hidden wherever they come from (`hidden`). Of others only the beginnings are: in a recipe
a beginning is enough for a refusal, because a false alarm costs a word; in a million rows about programming the rest
must look drawn at random as well.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache

from seedbed.yamlfile import Value, Where

ENV_ADVICE = "Keep it in an environment variable and give that variable's name: api_key_env: MY_KEY"
SECRET_KEY = re.compile(
    r"(?:\A|[_-])(?:api_?key|token|secret|passw(?:or)?d|authorization|credentials?)\Z", re.IGNORECASE
)
SECRET_TEXT = re.compile(
    r"\b(sk-|hf_|gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|AKIA|AIza|Bearer )[A-Za-z0-9_-]{12,}[A-Za-z0-9_.~+/=-]*"
)
HIDDEN = "[secret]"
SHORTEST_KEY = 8  # characters; a shorter one is a stand-in such as EMPTY or none, and stands in any text
# What the manuals of local servers tell to give for a key: no secret, and texts may speak of it.
STAND_INS = frozenset(
    {"lm-studio", "no-api-key", "no-key-required", "not-needed", "sk-no-key-required", "token-abc123"}
)

_RUN = re.compile(r"[A-Za-z0-9]{16,}")


def hidden(body: bytes, keys: Iterable[str]) -> bytes:
    """What a server sent, UTF-8, with the keys in use hidden, also as URLs, JSON, Markdown and base64 spell them.

    Where there is none it is the very same body, for a few searches a key: call it on everything that comes in. What a
    server spells in a way of its own, nobody can know.
    """
    for key in keys:
        if holds_key(body, key):
            body = _pattern(key).sub(HIDDEN.encode(), body)
    return body


def holds_key(body: bytes, key: str) -> bool:
    """Whether a key stands in a body, however it is spelled there."""
    if len(key) < SHORTEST_KEY or key in STAND_INS or not key.isascii():
        return False
    plain = _encoded(key)
    for text in plain:
        if text in body:
            return True
    if b"%" not in body and b"\\" not in body:
        return False
    unescaped = _ESCAPE.sub(_sign, body)
    return any(text in unescaped for text in plain)


def secrets_in(text: str, known: Iterable[str] = ()) -> list[str]:
    """The secrets that a text holds: those `known` by their value, and what looks like one through and through."""
    looks = [match[0] for match in SECRET_TEXT.finditer(text) if _drawn_at_random(match[0][len(match[1]) :])]
    body = text.encode("utf-8", "surrogatepass")
    return [*(key for key in known if holds_key(body, key)), *looks]


def without_secrets(text: str, known: Iterable[str] = ()) -> str:
    """The text with every secret hidden, whatever begins like one included: for messages that people read."""
    body = hidden(text.encode("utf-8", "surrogatepass"), known)
    return SECRET_TEXT.sub(HIDDEN, body.decode("utf-8", "surrogatepass"))


# Of ASCII, in a URL, in JSON (within JSON there are many "\\") and in Markdown.
ESCAPE = r"%([2-7][0-9A-Fa-f])|\\{1,8}(?:u00([2-7][0-9A-Fa-f])|([!-/:-@\[-`{-~]))"
_ESCAPE = re.compile(ESCAPE.encode())


def _sign(escape: re.Match[bytes]) -> bytes:
    code = escape[1] or escape[2]
    return bytes.fromhex(code.decode()) if code else escape[3]


@lru_cache(maxsize=64)
def _pattern(key: str) -> re.Pattern[bytes]:
    """All spellings of a key, in which signs and their escapes may mix."""
    return re.compile("|".join("".join(map(_escaped_or_not, text)) for text in spellings(key)).encode())


def _escaped_or_not(sign: str) -> str:
    code = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(sign):02x}")
    bare = sign if sign.isalnum() else rf"\\{{0,8}}{re.escape(sign)}"
    return rf"(?:{bare}|%{code}|\\{{1,8}}u00{code})"


def spellings(key: str) -> tuple[str, ...]:
    """A key, and what is the same of it in base64 whatever stands before and behind it, as in `Basic` a user's name."""
    found = [key]
    for before in range(3):
        code = b64encode(b"\0" * before + key.encode()).decode()
        whole = len(code.rstrip("=")) - code.endswith("=")  # the last one holds bits of what comes behind
        code = code[(0, 2, 3)[before] : whole]
        found += [code, code.translate(str.maketrans("+/", "-_"))]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=64)
def _encoded(key: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in spellings(key))


def secret_places(value: Value, where: Where = ()) -> Iterator[Where]:
    """Where in a YAML file's value a text stands that is a secret by its key or by how it begins."""
    if isinstance(value, str):
        named = bool(where) and isinstance(where[-1], str) and SECRET_KEY.search(where[-1])
        if value and (named or SECRET_TEXT.search(value)):
            yield where
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from secret_places(item, (*where, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from secret_places(item, (*where, at))


def _drawn_at_random(body: str) -> bool:
    """No name such as `hf_hub_download`, no stand-in such as `sk-XXXXXXXXXXXXXXXXXXXX`."""
    return any(_mixed(run) for run in _RUN.findall(body))


def _mixed(run: str) -> bool:
    digits = any(map(str.isdigit, run)) and not run.isdigit()
    cases = not run[1:].islower() and not run.isupper() and not run.isdigit()
    return (digits or cases) and len(set(run)) >= 8 and "EXAMPLE" not in run
