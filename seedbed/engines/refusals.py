"""What a server's refusal means, by its status and its own words, and what to do about it in the recipe.

Told apart: a field that it does not take, a model or key that it does not know, a quota that is spent (the next call
would hear the same: the run stops), a prompt that is too long or not allowed (this one request is turned down for
good), a busy minute and a server that is down (worth another try).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from seedbed.engines import EngineError, EngineGone, EngineRefused
from seedbed.engines.completion import PassingFault

RETRIED = frozenset({408, 409, 425, 429})
BUSY = frozenset({429, 503, 529})  # the server is there and asks for patience
GATEWAY = frozenset({502, 504})  # a proxy says that nobody is behind it
DOUBTFUL = frozenset({400, 403, 404, 405, 413, 415, 422, 451, 501})  # the words must tell what is meant

_TOO_LONG = re.compile(
    r"context[ _]?(?:length|window|size)|maximum context|too (?:long|large|many tokens)|max_model_len"
    r"|maximum model length|prompt is too|input length|exceeds? the (?:limit|max)|reduce the length|token limit",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content[ _-]?(?:filter|management|policy|violation)|responsible ?ai|moderation|safety (?:system|filter|polic)"
    r"|flagged|prohibited|inappropriate|jailbreak|usage polic",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"insufficient[ _]?(?:quota|credit|balance|funds)|exceeded your (?:current |monthly )?quota|out of credits?|billing"
    r"|spend(?:ing)? limit|payment required|balance is (?:too low|not enough)|quota (?:is )?exhausted",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model[^.]{0,80}(?:not found|does not exist|not exist|unknown|not available|not supported|no access)"
    r"|no such model|unknown model|invalid model|model_not_found",
    re.IGNORECASE,
)
_NO_KEY = re.compile(
    r"(?:api|access)[ _-]?key|unauthori[sz]ed|authenticat|invalid (?:token|credentials)|permission", re.IGNORECASE
)
_REFUSES = re.compile(
    r"unsupported|not supported|does ?n[o']t support|unrecogni[sz]ed|unknown|unexpected|extra (?:inputs?|fields?)"
    r"|not permitted|not allowed|must be|should be|invalid|only the default|deprecated|not (?:yet )?implemented"
    r"|cannot|can't|use '",
    re.IGNORECASE,
)
_NO_SYSTEM = re.compile(
    r"system (?:role|message|prompt|turn)|roles? must alternate|developer (?:message|instruction)", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Said:
    """What a server said with a refusal: the status, its words, and the field and code that it names."""

    status: int
    words: str
    field: str = ""
    code: str = ""
    retry_after: float | None = None


def heard(status: int, content: bytes, retry_after: float | None) -> Said:
    """An error body, read as far as it can be; its words may still hold a key."""
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError:
        return Said(status, content.decode(errors="replace"), retry_after=retry_after)
    error = told.get("error", told) if isinstance(told, dict) else told
    if isinstance(error, str):
        return Said(status, error, retry_after=retry_after)
    if not isinstance(error, dict):
        return Said(status, content.decode(errors="replace"), retry_after=retry_after)
    message, field, code = (error.get(name) for name in ("message", "param", "code"))
    words = message if isinstance(message, str) and message else content.decode(errors="replace")
    inner = error.get("metadata")  # what the provider behind a router said
    if isinstance(inner, dict) and isinstance(inner.get("raw"), str):
        words = f"{words}: {inner['raw']}"
    code = code or error.get("type")
    return Said(
        status,
        words,
        field if isinstance(field, str) else "",
        str(code) if isinstance(code, str | int) else "",
        retry_after,
    )


def refusal(said: Said, where: str, fields: Iterable[str], keyed: bool) -> PassingFault | EngineError:
    """What to make of it; `fields` are those of the request, `keyed` whether a key was sent with it."""
    status, told = said.status, f"{where}: HTTP {said.status}: {said.words.rstrip(' .')}"
    about = f"{said.words} {said.code}"
    if status == 402 or (status in (403, 429) and _QUOTA.search(about)):
        return EngineGone(
            f"{told}. The quota is spent: top up the account or raise its limit, then run again", "quota spent"
        )
    if status in RETRIED or (status >= 500 and status not in DOUBTFUL):
        why = f"HTTP {status}: {said.words}"
        return PassingFault(why, said.retry_after, busy=status in BUSY, absent=status in GATEWAY, status=status)
    if status == 401:
        return EngineGone(f"{told}. {_key_remedy(keyed)}", "key refused")
    if status in DOUBTFUL:
        return _by_words(said, told, about, tuple(fields), keyed)
    return EngineRefused(f"{told}. Check that the server supports what was asked", f"HTTP {status}")


def _by_words(said: Said, told: str, about: str, fields: tuple[str, ...], keyed: bool) -> EngineError:
    if said.status == 413 or _TOO_LONG.search(about):
        return EngineRefused(
            f"{told}. Shorten what the prompt shows (examples, documents), lower max_tokens, or let the server take "
            "longer prompts",
            "prompt too long",
            about_prompt=True,
        )
    if _FILTERED.search(about):
        return EngineRefused(
            f"{told}. The provider does not allow this prompt", "prompt not allowed", about_prompt=True
        )
    if _NO_SYSTEM.search(said.words):
        return EngineGone(f"{told}. Write under this model: system_role: false", "the system role is refused")
    if field := _field(said, fields):
        return EngineGone(f"{told}. {field_remedy(field, said.words)}", f"the field {field} is refused")
    if said.status == 404 or _NO_MODEL.search(about):
        return EngineGone(
            f"{told}. Check the model's name and base_url (it usually ends in /v1)", "no such model or page"
        )
    if said.status == 403 and _NO_KEY.search(about):
        return EngineGone(f"{told}. {_key_remedy(keyed)}, and what it may use", "key refused")
    if said.status in (403, 405, 501):
        return EngineError(f"{told}. Check base_url, and what this account may use", f"HTTP {said.status}")
    return EngineRefused(f"{told}. Check that the server supports what was asked", f"HTTP {said.status}")


def _key_remedy(keyed: bool) -> str:
    if keyed:
        return "Check the key in the environment variable that api_key_env names"
    return "No key was sent: put it in an environment variable and name that one in the recipe (api_key_env: MY_KEY)"


def _field(said: Said, fields: tuple[str, ...]) -> str:
    """The field of the request that the server will not take, if it names one; the longest name that occurs."""
    if said.field.split(".")[0] in fields and said.field.split(".")[0] != "messages":
        return said.field.split(".")[0]
    if not _REFUSES.search(said.words) and not said.code.startswith("unsupported"):
        return ""
    named = [name for name in fields if re.search(rf"(?<![A-Za-z_]){re.escape(name)}(?![A-Za-z_])", said.words)]
    return max((name for name in named if name not in ("model", "messages")), key=len, default="")


def field_remedy(field: str, words: str) -> str:
    """What to write in the recipe, under this model, where a server refuses a field."""
    if field == "max_tokens" and "max_completion_tokens" in words:
        return "Write under this model: rename: {max_tokens: max_completion_tokens}"
    if field == "top_logprobs":
        most = [int(n) for n in _NUMBER.findall(words) if 0 < int(n) < 20]
        return f"Write under this model: top_logprobs: {max(most, default=5)}"
    if field == "logprobs":
        return (
            "Judgements are read from log-probabilities, and this model gives none. Name a model that has them: "
            "judge: {engine: …, model: …}"
        )
    if field == "chat_template_kwargs":
        return "Take thinking: and template: out under this model, or say the same by a field that it knows: extra: {…}"
    return f"Write under this model: omit: [{field}]"
