"""A conversation as a list of messages: the form that TRL, transformers and OpenAI's servers share.

A user's turn on a text is that text and the question. A call's arguments are an object, as chat templates read them.
Reasoning stands beside the words as `reasoning_content`, and only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from seedbed.conversation import Content, Response, ToolCall, Turn, told_arguments

Messages = list[dict[str, Any]]


def messages_of(turns: Sequence[Turn], reasoning: bool = False, as_text: bool = False) -> Messages:
    """These turns, in order; `as_text`: the arguments of calls as text, as OpenAI's servers give and want them."""
    return [_message(turn, reasoning, as_text) for turn in turns]


def prompt_of(content: Content, reasoning: bool = False) -> Messages:
    """What stands before the responses."""
    return messages_of(content.turns, reasoning)


def response_of(response: Response, reasoning: bool = False) -> Messages:
    """One response, as the messages that follow the prompt."""
    return messages_of([response.turn], reasoning)


def _message(turn: Turn, reasoning: bool, as_text: bool) -> dict[str, Any]:
    words = f"{turn.context}\n\n{turn.content}" if turn.context else turn.content
    message: dict[str, Any] = {"role": turn.role, "content": words}
    if reasoning and turn.reasoning:
        message["reasoning_content"] = turn.reasoning
    if turn.tool_calls:
        message["tool_calls"] = [_call(call, as_text) for call in turn.tool_calls]
    if turn.name:
        message["name"] = turn.name
    if turn.tool_call_id:
        message["tool_call_id"] = turn.tool_call_id
    return message


def _call(call: ToolCall, as_text: bool) -> dict[str, Any]:
    arguments = told_arguments(call.arguments) if as_text else parsed_arguments(call.arguments)
    told = {"type": "function", "function": {"name": call.name, "arguments": arguments}}
    return {"id": call.id, **told} if call.id else told


def parsed_arguments(arguments: object) -> object:
    """The arguments as an object, where they are one or the text of one; else as they came."""
    if isinstance(arguments, str):
        try:
            found = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return arguments
        return found if isinstance(found, dict) else arguments
    return arguments
