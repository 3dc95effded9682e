"""Asking the Hub: the token, the deadlines, what a failure means, and when to ask again.

huggingface_hub waits for ever and gives up at once, here a call has a deadline, and passing failures are waited out as
the Hub asks. The token is its own affair: it is looked up there, and hidden wherever a message might repeat it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from seedbed.credentials import without_secrets

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOG = logging.getLogger(__name__)
WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try, where the Hub names none
LONGEST_WAIT = 300.0
SIGN_IN = "Sign in with `hf auth login`, or set HF_TOKEN to a token that may write to the repository"
_PASSING = (408, 429, 500, 502, 503, 504)
_REMEDIES = {
    400: "Correct what it names",
    401: f"The token is not accepted. {SIGN_IN}",
    403: "The token may not do that. Make one with write access to this repository on the Hub's settings page",
    404: "Check the name of the repository, and that the token may see it",
    413: "The tree is too large for one commit",
}
T = TypeVar("T")


class HubError(Exception):
    """The Hub did not do what was asked: the message says what happened, what is on the Hub now, what to do next."""


def hub_api() -> HfApi:
    """The Hub, with the token that huggingface_hub finds, and with deadlines, for it has none of its own."""
    import httpx2
    from huggingface_hub import HfApi, get_session

    get_session().timeout = httpx2.Timeout(300, connect=20)
    return HfApi(token=True, library_name="seedbed")


def token_of_hub() -> str:
    """The token that huggingface_hub finds in the environment or where it signed in; "" if there is none."""
    from huggingface_hub import get_token

    return get_token() or ""


def signed_in() -> bool:
    """Whether huggingface_hub finds a token."""
    return bool(token_of_hub())


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, without a secret in it; `passing` where another try may help, after `wait` seconds if told."""

    told: str
    passing: bool
    wait: float | None


def hub_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises: its own errors are OSErrors; RuntimeError wraps an upload's, ValueError a card's."""
    import httpx2

    return OSError, httpx2.HTTPError, RuntimeError, ValueError


def failure_of(error: Exception, repo: str) -> Failure:
    """What an error of the Hub means."""
    import json

    import httpx2

    cause = error.__cause__ if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception) else error
    response = getattr(cause, "response", None)
    status = response.status_code if response is not None else 0
    lost = isinstance(cause, httpx2.TransportError | json.JSONDecodeError)
    said = without_secrets(" ".join(str(cause).split()), [token_of_hub()])[:300] or type(cause).__name__
    told = f"the Hub failed for {repo}: {said}"
    if status in _PASSING or lost:
        told += ". Run the same command again later: it looks first whether this push arrived"
    elif "xet" in said:
        told += ". With HF_HUB_DISABLE_XET=1 files are sent in the older way"
    elif remedy := _REMEDIES.get(status):
        told += f". {remedy}"
    return Failure(told, status in _PASSING or lost, _retry_after(response.headers) if response is not None else None)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, as a number or a date (RFC 9110, section 10.2.3), or by its rate limit."""
    told = headers.get("retry-after", "").strip()
    if told.isdigit():
        return float(told)
    if told:
        try:
            return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
        except ValueError:
            return None
    spent = re.search(r"\br=0;t=([0-9]+)", headers.get("ratelimit", "").replace(" ", ""))
    return float(spent[1]) if spent else None


def wait_for(failure: Failure, wait: float) -> None:
    """Sleep as long as the Hub asked, or else `wait` seconds."""
    seconds = min(LONGEST_WAIT, wait if failure.wait is None else failure.wait)
    LOG.warning("%s; trying again in %.0f s", failure.told.partition(". Run")[0], seconds)
    time.sleep(seconds)


def patiently(ask: Callable[[], T], repo: str, waits: Sequence[float]) -> T:
    """Ask again after passing failures; only for what does no harm when done twice."""
    for wait in (*waits, None):
        try:
            return ask()
        except hub_errors() as error:
            failure = failure_of(error, repo)
        if wait is None or not failure.passing:
            raise HubError(failure.told)
        wait_for(failure, wait)
    raise AssertionError("the last round returns or raises")
