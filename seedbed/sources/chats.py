"""Chats as lists of turns, in the spellings in use: TRL's and OpenAI's (role, content), ShareGPT's (from, value).

What a turn says beside what is understood is not lost: it is handed back as it is, by the number of the turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from seedbed.conversation import Content, Rest, ToolCall, Turn
from seedbed.nested import MOST_DEPTH, is_deep
from seedbed.reasoning import parted
from seedbed.sources.misfit import Misfit
from seedbed.yamlfile import kind

CALL = "call"  # a turn that is a call of a tool, as JSON
ROLES_IN_USE: dict[str, str] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation"), "tool"),
    "function_call": CALL,
}
_OF_CALLS = frozenset({"id", "type", "function", "name", "arguments"})
REASONING = ("reasoning_content", "reasoning", "thinking")
_MARKS = ("<", "[", "\u25c1", "\u3008")  # what a thought may begin with
_SPOKEN = ("system", "user", "assistant")
_SECOND = {"from": "role", "value": "content"}  # the other spelling, which is read where the first is not there
_WORDS = frozenset({"role", "from", "content", "value"})
_UNDERSTOOD = {
    "system": _WORDS,
    "user": _WORDS,
    "assistant": _WORDS | {"tool_calls", "function_call", *REASONING},
    "tool": _WORDS | {"name", "tool_call_id"},
    CALL: _WORDS,
}

Extras = dict[str, object]
_PLAIN = ("system", "user", "assistant")


class Chats:
    """Reads the chats of one row; `extras` is what their turns say that nobody understands, by the turn's number."""

    def __init__(self, roles: Mapping[str, str]) -> None:
        self.roles = {**ROLES_IN_USE, **roles} if roles else ROLES_IN_USE
        self.extras: Extras = {}

    def turns(self, value: object, column: str, first: int = 0) -> list[Turn]:
        """The turns of a chat. Raises Misfit."""
        if type(value) is dict:  # LLaMA-Factory writes the one turn of a pair's answer so
            value = [value]
        if type(value) is not list:
            raise Misfit(f"{column} is no list of turns", f"it is {kind(value)}")
        return [self._turn(told, column, n) for n, told in enumerate(value, start=first)]

    def _turn(self, told: object, column: str, n: int) -> Turn:
        if type(told) is not dict:
            raise Misfit(f"a turn in {column} is no object", f"turn {n + 1} is {kind(told)}")
        named, value = told.get("role", told.get("from")), told.get("content", told.get("value"))
        role = (self.roles.get(named) or self.roles.get(named.lower())) if type(named) is str else None
        if role is None:
            raise Misfit(f"an unknown role in {column}", f"turn {n + 1} has {_shown(named)}")
        words = value if type(value) is str else _words(value, column, n)
        if len(told) > 2 or value is None or role not in _SPOKEN:
            return self._with_more(told, role, words, column, n)
        if role == "assistant":
            said, thought = reasoning_apart(words)
            return Turn("assistant", said, "", thought)
        return Turn(role, words)  # type: ignore[arg-type] # one of ROLES

    def _with_more(self, told: Mapping[str, Any], role: str, words: str, column: str, n: int) -> Turn:
        understood = _UNDERSTOOD[role]
        more = {name: value for name, value in told.items() if name not in understood and value is not None}
        more |= {name: told[name] for name, first in _SECOND.items() if name in told and first in told}
        if role == CALL:
            turn = _called(words, column)
        elif role == "assistant":
            turn = _assistant(told, words, column, more)
        elif role == "tool":
            turn = Turn(
                "tool", words, name=_name(told, "name", column), tool_call_id=_name(told, "tool_call_id", column)
            )
        else:
            turn = Turn(role, words)  # type: ignore[arg-type] # one of ROLES
        if more:
            self.extras[str(n)] = shallow(more, column)
        return turn


def plain_chat(value: object) -> Content | None:
    """A request and its answer, perhaps after a system prompt, in nothing but words; None for any other chat.

    As most are: it is what the long way gives, in a quarter of the time.
    """
    if type(value) is not list or not 2 <= len(value) <= 3:
        return None
    said = list[str]()
    for turn, role in zip(value, _PLAIN[-len(value) :], strict=True):
        if type(turn) is not dict or len(turn) != 2 or turn.get("role") != role:
            return None
        words = turn.get("content")
        if type(words) is not str:
            return None
        said.append(words)
    asked, answer = said[-2], said[-1]
    if not (asked.strip() and answer.strip()) or reasoning_apart(answer)[0] is not answer:
        return None
    rest = Rest(before=(Turn("system", said[0]),)) if len(said) == 3 else None
    return Content(asked, answer, "", "", rest)


def reasoning_apart(text: str) -> tuple[str, str]:
    """An assistant's words and the thought at their head, if there is one; else the words exactly as they are."""
    said, thought, _ = parted(text)
    if len(said) == len(text):
        return text, ""
    at_head = text.lstrip().startswith(_MARKS) or (said and thought and text.rstrip().endswith(said))
    return (said, thought) if at_head and said != text.strip() else (text, "")


def shallow(value: Any, column: str) -> Any:  # noqa: ANN401 # whatever JSON has
    """A value that is kept as it is. Raises Misfit where it is nested deeper than anybody reads."""
    if type(value) in (dict, list) and is_deep(value):
        raise Misfit(f"{column} is nested more than {MOST_DEPTH} deep")
    return value


def tools_in(value: object, column: str) -> tuple[Mapping[str, object], ...]:
    """The schemas of tools, from a list of them or the JSON of one. Raises Misfit."""
    if value is None or value == "":
        return ()
    if type(value) is str:
        value = _loaded(value, column)
    found = [
        _loaded(item, column) if type(item) is str else item for item in (value if type(value) is list else [value])
    ]
    if any(type(item) is not dict for item in found):
        raise Misfit(f"{column} is no list of schemas")
    return tuple(shallow(found, column))


def _loaded(text: str, column: str) -> Any:  # noqa: ANN401 # whatever JSON has
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Misfit(f"{column} is no JSON", str(error)) from error


def _words(value: object, column: str, n: int) -> str:
    if type(value) is str:
        return value
    if value is None:  # as where a tool is called
        return ""
    if type(value) is not list:
        raise Misfit(f"a turn in {column} whose words are no text", f"those of turn {n + 1} are {kind(value)}")
    for part in value:
        if type(part) is not dict or part.get("type") != "text" or type(part.get("text")) is not str:
            named = _shown(part.get("type")) if type(part) is dict else kind(part)
            raise Misfit(f"a part of a turn in {column} that is no text", f"turn {n + 1} has a part of type {named}")
    return "".join(part["text"] for part in value)


def _assistant(told: Mapping[str, Any], words: str, column: str, more: Extras) -> Turn:
    said, thought = reasoning_apart(words)
    thoughts = {name: told[name] for name in REASONING if told.get(name)}
    more.update((name, value) for name, value in thoughts.items() if type(value) is not str)
    spoken = [value for value in thoughts.values() if type(value) is str]
    listed = told.get("tool_calls") or []
    if type(listed) is not list:
        raise Misfit(f"the calls of tools in {column} are no list", kind(listed))
    if told.get("function_call") is not None:
        listed = [*listed, told["function_call"]]
    calls = tuple(_call(call, column) for call in listed)
    if any(type(call) is dict and call.keys() - _OF_CALLS for call in listed):
        more["tool_calls"] = listed
    return Turn("assistant", said, "", "\n\n".join(dict.fromkeys(filter(None, [*spoken, thought]))), calls)


def _called(words: str, column: str) -> Turn:
    """A turn that is a call, or a list of calls, as JSON."""
    value = _loaded(words, column)
    calls = value if type(value) is list else [value]
    return Turn("assistant", tool_calls=tuple(_call(call, column) for call in calls))


def _call(told: object, column: str) -> ToolCall:
    if type(told) is str:  # the JSON of one, as tables without nesting have it
        told = _loaded(told, column)
    if type(told) is not dict or told.get("type") not in ("function", None):
        raise Misfit(f"a call in {column} that is none of a function", _shown(told))
    function = told.get("function") or told
    name = function.get("name") if type(function) is dict else None
    if type(name) is not str or not name:
        raise Misfit(f"a call of a tool without a name in {column}")
    return ToolCall(name, shallow(function.get("arguments", {}), column), _name(told, "id", column))


def _name(told: Mapping[str, Any], key: str, column: str) -> str:
    value = told.get(key)
    if type(value) is not str and value is not None:
        raise Misfit(f"{key} of a turn in {column} is no text", kind(value))
    return value or ""


def _shown(value: object) -> str:
    return repr(value[:80]) if type(value) is str else kind(value)
