"""What a conversation has beside its four texts, as the JSON that the store keeps; empty parts are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from seedbed.conversation import Content, Response, Rest, ToolCall, Turn

TEXTS = ("question", "answer", "context", "rejected")


def rest_json(rest: Rest | None) -> str | None:
    """The rest as JSON; None where there is none."""
    if rest is None:
        return None
    parts: dict[str, object] = {
        "before": [_turn(turn) for turn in rest.before],
        "after": [_turn(turn) for turn in rest.after],
        "responses": [_response(one) for one in rest.responses],
        "tools": list(rest.tools),
        "facts": rest.facts,
        "label": rest.label,
    }
    return orjson.dumps({name: part for name, part in parts.items() if part not in (None, [], {})}).decode()


def read_rest(text: str | None) -> Rest | None:
    """The rest that such a JSON tells of."""
    if not text:
        return None
    told = orjson.loads(text)
    return Rest(
        tuple(_read_turn(turn) for turn in told.get("before", ())),
        tuple(_read_turn(turn) for turn in told.get("after", ())),
        tuple(_read_response(one) for one in told.get("responses", ())),
        tuple(told.get("tools", ())),
        told.get("facts"),
        told.get("label"),
    )


def content_of(row: Mapping[str, Any]) -> Content:
    """The content of a row of the store, by the names of its columns; a text that is NULL is none."""
    question, answer, context, rejected = map(row.get, TEXTS)
    return Content(question or "", answer or "", context or "", rejected or "", read_rest(row.get("rest")))


def _turn(turn: Turn) -> dict[str, object]:
    parts: dict[str, object] = {
        "role": turn.role,
        "content": turn.content,
        "context": turn.context,
        "reasoning": turn.reasoning,
        "tool_calls": _calls(turn.tool_calls),
        "name": turn.name,
        "tool_call_id": turn.tool_call_id,
    }
    return {name: part for name, part in parts.items() if part or name in ("role", "content")}


def _response(one: Response) -> dict[str, object]:
    parts: dict[str, object] = {
        "content": one.content,
        "author": one.author,
        "reasoning": one.reasoning,
        "tool_calls": _calls(one.tool_calls),
    }
    return {name: part for name, part in parts.items() if part}


def _calls(calls: Sequence[ToolCall]) -> list[dict[str, object]]:
    return [{"name": call.name, "arguments": call.arguments} | ({"id": call.id} if call.id else {}) for call in calls]


def _read_turn(told: Mapping[str, Any]) -> Turn:
    return Turn(**{**told, "tool_calls": _read_calls(told)})


def _read_response(told: Mapping[str, Any]) -> Response:
    return Response(**{**told, "tool_calls": _read_calls(told)})


def _read_calls(told: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(**call) for call in told.get("tool_calls", ()))
