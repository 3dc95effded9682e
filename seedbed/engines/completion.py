"""Reading what an OpenAI-compatible server sends back: its words, counts, waits and probabilities."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import orjson


class PassingFault(Exception):
    """A failure that may pass: worth another try, after `retry_after` seconds where the server said so.

    `busy`: the server is well but has too much to do. `absent`: nobody answered.
    """

    def __init__(
        self, why: str, retry_after: float | None = None, *, busy: bool = False, absent: bool = False, status: int = 0
    ) -> None:
        super().__init__(why)
        self.retry_after, self.busy, self.absent, self.status = retry_after, busy, absent, status


def words(content: bytes) -> str | bytes:
    """The server's own words in its error body, or the body."""
    try:
        said = orjson.loads(content)
        error: Any = said.get("error", said)
        message = error if isinstance(error, str) else error["message"]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return content
    return message if isinstance(message, str) else content


def count(tokens: float | str | None) -> int:
    """A number of tokens as the store can hold it, whatever the server says."""
    return min(max(int(tokens or 0), 0), 2**31 - 1)


def retry_after(text: str) -> float | None:
    """Seconds to wait from a Retry-After header: a number or a date (RFC 9110, 10.2.3)."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isnan(seconds):
        return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def masses(choice: dict[str, Any], options: tuple[str, ...]) -> dict[str, float] | None:
    """The probability of each option among the likeliest first tokens; None if the server gave no such list."""
    found = dict.fromkeys(options, 0.0)
    try:
        likeliest = choice["logprobs"]["content"][0]["top_logprobs"]
        for token in likeliest:
            option = _option(token["token"], options)
            if option is not None:
                found[option] += math.exp(min(token["logprob"], 0.0))
    except (LookupError, TypeError, AttributeError):
        return None
    return found if likeliest else None


@lru_cache(maxsize=4096)  # the same few tokens come back with every call
def _option(token: str, options: tuple[str, ...]) -> str | None:
    """The option that a token spells or alone begins; as written first, then whatever the case."""
    token = token.strip().lstrip("▁Ġ").strip()  # white space as tokenizers write it
    if not token:
        return None
    for fold in (str, str.casefold):
        word = fold(token)
        equal = [option for option in options if fold(option) == word]
        near = equal or [option for option in options if fold(option).startswith(word)]
        if len(near) == 1:
            return near[0]
    return None
