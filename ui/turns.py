"""A conversation as people read it: each turn under its role; tools, calls, reasoning and facts folded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import orjson

from seedbed.conversation import Content, Response, ToolCall, Turn
from seedbed.told_facts import told_facts
from ui.safe import Html, code, folded, line, stacked, table, titled, words

LONG = 600  # characters of a tool's result that are shown without a click
LABELS = {True: "labelled: as it should be", False: "labelled: not as it should be"}

Show = Callable[[str, str], Html]  # draws a text; the name is that of the stored text, "" of any other


def asked(content: Content, show: Show) -> Html:
    """What comes before the responses."""
    if content.single:
        texts = (("context", content.context), ("question", content.question))
        return stacked(*(titled(name.capitalize(), show(name, text)) for name, text in texts if text))
    before = len(content.rest.before) if content.rest else 0
    turns = (_turn(turn, show, n == before) for n, turn in enumerate(content.turns))
    return stacked(*_offered(content.tools), *turns)


def responded(response: Response, name: str, show: Show) -> Html:
    """A response; `name` is that of the stored text that has its words."""
    bare = not response.content and bool(response.tool_calls)
    said = [] if bare else [show(name, response.content)]
    calls = (_call(call, shown=bare) for call in response.tool_calls)
    return stacked(*_reasoning(response.reasoning, show), *said, *calls)


def further(content: Content, show: Show) -> Html:
    """The responses after the second, folded."""
    drawn = [titled(f"Answer {n}", responded(one, "", show), 3) for n, one in enumerate(content.responses[2:], 3)]
    return folded(f"{len(drawn)} more answers" if len(drawn) > 1 else "1 more answer", *drawn) if drawn else stacked()


def labelled(content: Content) -> Html:
    """Whether the answer is as it should be, where somebody says so."""
    return stacked() if content.label is None else line(LABELS[content.label])


def known(facts: Mapping[str, object]) -> Html:
    """What methods know of the row: each method's facts in a table, folded."""
    tables = {
        method: table(f"Facts of {method}", ("fact", "value"), told_facts(told)) for method, told in facts.items()
    }
    return stacked(*(folded(f"Facts of {method}", drawn) for method, drawn in tables.items()))


def _turn(turn: Turn, show: Show, stored: bool) -> Html:
    """A turn under its role; the words of the last of a user's are a stored text."""
    if turn.role == "tool":
        return titled(f"tool {turn.name}".strip(), _result(turn.content))
    named = (("context", turn.context), ("question", turn.content))
    said = [show(name if stored else "", text) for name, text in named if text]
    return titled(turn.role, stacked(*_reasoning(turn.reasoning, show), *said, *map(_call, turn.tool_calls)))


def _offered(tools: Sequence[Mapping[str, object]]) -> Iterator[Html]:
    if tools:
        names = ", ".join(str(_function(tool).get("name", "unnamed")) for tool in tools)
        yield folded(f"Tools offered: {names}", *(code(_pretty(tool), "json") for tool in tools))


def _function(tool: Mapping[str, object]) -> Mapping[str, object]:
    inner = tool.get("function")
    return inner if isinstance(inner, Mapping) else tool


def _call(call: ToolCall, shown: bool = False) -> Html:
    return folded(f"Calls {call.name}", code(_pretty(call.arguments), "json"), shown=shown)


def _result(text: str) -> Html:
    """What a tool gave back: data as data, all else as it was written."""
    pretty = _pretty(text)
    drawn = words(text) if pretty == text else code(pretty, "json")
    return folded(f"Result, {len(text):,} characters", drawn) if len(text) > LONG else drawn


def _reasoning(text: str, show: Show) -> Iterator[Html]:
    if text:
        yield folded(f"Reasoning, {len(text.split()):,} words", show("", text))


def _pretty(value: object) -> str:
    """Data in lines; a text that holds none stays as it is."""
    if not isinstance(value, str):
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() if isinstance(found, dict | list) else value
