"""Reading what an OpenAI-compatible server sends back: a chat completion, its counts and its log-probabilities.

What is no completion at all may pass (a proxy's page, half a body) and is asked again. A completion of an odd shape was
paid for and would come back the same: it is unreadable, with what is odd about it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import orjson

from seedbed.engines import Choice, EngineGone, Reply
from seedbed.replies import Tokens, Unreadable, choice, reply

THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # fields that servers put a model's reasoning in
NAME = 200  # characters of a server's own word: a finish, a model's name, a token
_APART = frozenset((*THOUGHTS, "refusal", "tool_calls", "function_call"))  # fields of a message beside its text
WANTED = 3  # likeliest first tokens that are worth telling
CLEAR = 0.5  # of the probability on the options: more, and nobody asks what else was wanted
STREAM_SIGNS = (b"data:", b"event:", b": ")


class PassingFault(Exception):
    """A failure that may pass: worth another try, after `retry_after` seconds where the server said so.

    `busy`: the server is well but has too much to do. `absent`: nobody answered. `kind`: the fault in a few words.
    """

    def __init__(
        self,
        why: str,
        retry_after: float | None = None,
        *,
        kind: str = "",
        busy: bool = False,
        absent: bool = False,
        status: int = 0,
    ) -> None:
        super().__init__(why)
        self.retry_after, self.busy, self.absent, self.status = retry_after, busy, absent, status
        self.kind = kind or (f"HTTP {status}" if status else why)


def loaded(content: bytes, where: str, said: Callable[[], str]) -> dict[str, Any]:
    """A body as JSON, also where it spells numbers that JSON has not (-Infinity); `said` is it as it may be quoted.

    Raises:
        PassingFault: it is no JSON object. EngineGone: it is a stream.
    """
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        found = _leniently(content, where, said)
    if not isinstance(found, dict):
        raise PassingFault(f"the body is no chat completion: {said()}", kind="no chat completion")
    return found


def _leniently(content: bytes, where: str, said: Callable[[], str]) -> object:
    if content.lstrip().startswith(STREAM_SIGNS):
        raise EngineGone(
            f"{where}: it streams its answers although it is told not to (`stream: false`): {said()[:120]} …. Switch "
            "streaming off in the server, or in the gateway before it",
            "streams",
        )
    try:
        return json.loads(content.decode("utf-8-sig"))  # of bytes it would take UTF-16 too, in which no key is found
    except (ValueError, RecursionError) as error:
        raise PassingFault(
            f"the body is no chat completion: {said() or '(empty)'}", kind="no chat completion"
        ) from error


def completion(answer: Mapping[str, Any], step: str) -> tuple[Reply, Mapping[str, Any]]:
    """The reply of a chat completion, and the entry of `choices` that it came from.

    Raises:
        PassingFault: it is no completion. Unreadable: it is an odd one.
    """
    choices = answer.get("choices")
    if not isinstance(choices, list):
        raise PassingFault(f"the body is no chat completion: {_quoted(answer)[:500]}", kind="no chat completion")
    tokens = usage(answer.get("usage"))
    try:
        if not choices:
            raise _OddError("no choices: as a rule a filter of the provider has taken the answer out")
        first = choices[0]
        sent, apart = _message(first)
        apart["served"] = _name(answer.get("model"))
        found = reply(_whole(sent), _name(first.get("finish_reason")), tokens, **apart)
    except _OddError as odd:
        raise Unreadable(step, str(odd), _quoted(choices), tokens=tokens) from odd
    except (RecursionError, TypeError, ValueError, LookupError, AttributeError) as odd:  # it was paid for all the same
        raise Unreadable(step, "an answer of a shape that is none", _quoted(choices), tokens=tokens) from odd
    return found, first


def _quoted(value: object) -> str:
    """A part of a body as it may be told."""
    try:
        return json.dumps(value, default=str)[:2000]
    except (RecursionError, ValueError):
        return "(nested too deep to be shown)"


class _OddError(Exception):
    """What is odd about a completion."""


def _message(first: object) -> tuple[str, dict[str, str]]:
    """The text of an entry of `choices`, and what stands apart from it: reasoning, refusal, tool calls."""
    if not isinstance(first, dict):
        raise _OddError(f"the entry of `choices` is {_kind(first)}")
    message = first.get("message")
    if message is None and isinstance(first.get("text"), str):  # the shape of the older completions
        return first["text"], {}
    if not isinstance(message, dict):
        raise _OddError(f"the message is {_kind(message)}")
    content = message.get("content")
    if isinstance(content, str) and not _APART & message.keys():
        return content, {}
    text, thoughts, refusals = (content, [], []) if isinstance(content, str) else _parts(content)
    thoughts += [_plain(message[name]) for name in THOUGHTS if message.get(name)][:1]
    refusals += [_plain(message["refusal"])] if message.get("refusal") else []
    calls = message.get("tool_calls") or message.get("function_call")
    if not (thoughts or refusals or calls):
        return text, {}
    told = {"reasoning": "\n\n".join(thoughts), "refusal": "\n".join(refusals)}
    told["tool_calls"] = json.dumps(calls, ensure_ascii=False) if calls else ""
    return text, {name: _whole(value) for name, value in told.items()}


def _parts(content: object) -> tuple[str, list[str], list[str]]:
    """Content in parts: the text of it, the thoughts, the refusals."""
    texts, thoughts, refusals = list[str](), list[str](), list[str]()
    for part in content if isinstance(content, list) else [] if content is None else [content]:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict):
            raise _OddError(f"the content is {_kind(content)}, with {_kind(part)} in it")
        match str(part.get("type", "text")):
            case "text" | "output_text":
                texts.append(_plain(part.get("text")))
            case "thinking" | "reasoning" | "reasoning_content" | "redacted_thinking":
                thoughts.append(_plain(next((part[k] for k in ("thinking", "reasoning", "text") if part.get(k)), "")))
            case "refusal":
                refusals.append(_plain(part.get("refusal")))
            case other:
                raise _OddError(f"the content has a part of type {_name(other)[:40]}")
    return "".join(texts), thoughts, refusals


def _plain(value: object) -> str:
    """A text, or the texts in a list of parts."""
    if isinstance(value, list):
        return "".join(_plain(part.get("text") if isinstance(part, dict) else part) for part in value)
    return value if isinstance(value, str) else ""


def _whole(text: str) -> str:
    """The text, if a file and a table can hold it."""
    if text.isascii():  # which costs nothing to know
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _OddError("half a character in the answer") from error
    return text


def _name(value: object) -> str:
    """A server's own word, as long as words are and such as a table can hold; "" for what is none."""
    return _storable(value) if isinstance(value, str) else ""


@lru_cache(maxsize=256)  # the same few words come back with every call
def _storable(word: str) -> str:
    return word[:NAME].encode("utf-8", "replace").decode()


def _kind(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", bool: "a truth value", type(None): "missing"}
    return names.get(type(value), "a number")


def usage(told: object) -> Tokens:
    """Tokens in and out as a server counts them; None for what it does not tell."""
    if not isinstance(told, dict):
        return None, None
    into, out = told.get("prompt_tokens"), told.get("completion_tokens")
    if type(into) is int and type(out) is int and 0 <= into < 2**31 and 0 <= out < 2**31:
        return into, out
    return _count(into), _count(out)


def _count(tokens: object) -> int | None:
    """A number of tokens as the store can hold it."""
    if type(tokens) is int and 0 <= tokens < 2**31:
        return tokens
    if isinstance(tokens, str) and tokens.isdecimal() and len(tokens) < 10:
        return int(tokens)
    return int(tokens) if isinstance(tokens, float) and 0 <= tokens < 2**31 else None


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


def chosen(
    first: Mapping[str, Any], options: tuple[str, ...], tokens_in: int | None, clear: float = CLEAR
) -> Choice | None:
    """The odds of each option among the likeliest first tokens; None if the server gave no such list.

    What else was wanted is told where the options hold no more than `clear` of the probability.
    """
    likeliest = _likeliest(first.get("logprobs"))
    if not likeliest:
        return None
    found, mass = dict.fromkeys(options, 0.0), 0.0
    for token, logprob in likeliest:
        option = _option(token, options) if type(token) is str else None
        if option is not None:
            p = _probability(logprob)
            found[option] += p
            mass += p
    return choice(found, {} if mass > clear else _wanted(likeliest), tokens_in)


def _wanted(likeliest: list[tuple[object, object]]) -> dict[str, float]:
    """The likeliest tokens of all with their probabilities."""
    odds = sorted(((_probability(logprob), n) for n, (_, logprob) in enumerate(likeliest)), reverse=True)
    return {_name(likeliest[n][0]): p for p, n in odds[:WANTED]}


def _likeliest(logprobs: object) -> list[tuple[object, object]]:
    """The first token's alternatives with their log-probabilities, in the chat's shape or the older one."""
    try:
        if "content" in logprobs:  # type: ignore[operator]  # whatever it is: TypeError is caught
            return [(one["token"], one["logprob"]) for one in logprobs["content"][0]["top_logprobs"]]  # type: ignore[index]
        return list(logprobs["top_logprobs"][0].items())  # type: ignore[index]
    except (LookupError, TypeError, AttributeError):
        return []


def _probability(logprob: object) -> float:
    """Of -Infinity and of what is no number: none."""
    if type(logprob) is float or type(logprob) is int:
        return math.exp(max(min(logprob, 0.0), -1e3)) if logprob == logprob else 0.0
    return 0.0


@lru_cache(maxsize=4096)  # the same few tokens come back with every call
def _option(token: str, options: tuple[str, ...]) -> str | None:
    """The option that a token spells or alone begins; as written first, then whatever the case."""
    token = token.strip().lstrip("\u2581\u0120").strip()  # white space as tokenizers write it
    if not token:
        return None
    for fold in (str, str.casefold):
        word = fold(token)
        equal = [option for option in options if fold(option) == word]
        near = equal or [option for option in options if fold(option).startswith(word)]
        if len(near) == 1:
            return near[0]
    return None
