"""A conversation as lines for people: who says what, calls of tools, reasoning, the responses, what is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from seedbed.conversation import Content, Response, ToolCall, Turn, told_arguments
from seedbed.conversation_json import content_of
from seedbed.kinds import KINDS
from seedbed.told_facts import told_facts

Part = tuple[str, str]


def parts(row: Mapping[str, object]) -> Iterator[Part]:
    """What a row of the store says, in order: each part's name, and its words."""
    content, second = content_of(row), KINDS[str(row["kind"])].second or "other"
    if content.single:
        yield from _said([("context", content.context), ("question", content.question)])
    else:
        yield from _conversation(content)
    for n, response in enumerate(content.responses):
        yield from _response("answer" if n == 0 else second if n == 1 else f"answer {n + 1}", response)
    if content.label is not None:
        yield "labelled", "as it should be" if content.label else "not as it should be"
    for method, facts in content.facts.items():
        yield from ((f"{method}, {name}", value) for name, value in told_facts(facts))


def _conversation(content: Content) -> Iterator[Part]:
    for tool in content.tools:
        yield "tool offered", told_arguments(tool)
    for turn in content.turns:
        yield from _turn(turn)


def _turn(turn: Turn) -> Iterator[Part]:
    name = f"tool {turn.name}".strip() if turn.role == "tool" else turn.role
    yield from _said([("reasoning", turn.reasoning), ("context", turn.context), (name, turn.content)])
    yield from map(_call, turn.tool_calls)


def _response(name: str, response: Response) -> Iterator[Part]:
    by = f" by {response.author}" if response.author else ""
    yield from _said([("reasoning", response.reasoning), (f"{name}{by}", response.content)])
    yield from map(_call, response.tool_calls)


def _said(named: list[Part]) -> Iterator[Part]:
    return ((name, text) for name, text in named if text)


def _call(call: ToolCall) -> Part:
    return f"calls {call.name}", told_arguments(call.arguments)
