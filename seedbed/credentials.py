"""What looks like a secret: in the recipes that are read, in the rows and cards that are published, in error messages.

The idea: the beginnings of keys in use are few and known. In a recipe a beginning is enough for a refusal, because a
false alarm costs a word; in a million rows about programming the rest must look drawn at random as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from seedbed.yamlfile import Value, Where

ENV_ADVICE = "Keep it in an environment variable and give that variable's name: api_key_env: MY_KEY"
SECRET_KEY = re.compile(r"(.*[_-])?(api_?key|token|secret|passw(or)?d|authorization|credentials?)", re.IGNORECASE)
SECRET_TEXT = re.compile(
    r"\b(sk-|hf_|gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|AKIA|AIza|Bearer )[A-Za-z0-9_-]{12,}[A-Za-z0-9_.~+/=-]*"
)
HIDDEN = "[secret]"

_RUN = re.compile(r"[A-Za-z0-9]{16,}")


def secrets_in(text: str, known: Iterable[str] = ()) -> list[str]:
    """The secrets that a text holds: those `known` by their value, and what looks like one through and through."""
    looks = [match[0] for match in SECRET_TEXT.finditer(text) if _drawn_at_random(match[0][len(match[1]) :])]
    return [*(secret for secret in known if secret and secret in text), *looks]


def without_secrets(text: str, known: Iterable[str] = ()) -> str:
    """The text with every secret hidden, whatever begins like one included: for messages that people read."""
    for secret in filter(None, known):
        text = text.replace(secret, HIDDEN)
    return SECRET_TEXT.sub(HIDDEN, text)


def secret_places(value: Value, where: Where = ()) -> Iterator[Where]:
    """Where in a YAML file's value a text stands that is a secret by its key or by how it begins."""
    if isinstance(value, str):
        named = bool(where) and isinstance(where[-1], str) and SECRET_KEY.fullmatch(where[-1])
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
