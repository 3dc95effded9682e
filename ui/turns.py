"""A conversation as people read it: each turn under its role; tools, calls, reasoning and facts folded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import orjson

from seedbed.conversation import Content, Response, ToolCall, Turn
from seedbed.told_facts import told_facts
from ui.markdown import rendered
from ui.safe import Html, code, folded, line, stacked, table, titled, words

AT_ONCE = 16_000  # characters of a sample that are drawn before anybody asks for all: a key shall not wait for more
LONG = 600  # characters of a tool's result that are shown without a click
DATA = "data"
LABELS = {True: "labelled: as it should be", False: "labelled: not as it should be"}

# Draws a text by its name: that of a text that the store has, "data" for what a program wrote, "" for any other.
Show = Callable[[str, str], Html]


def showing(content: Content, markdown: bool, whole: bool) -> Show:
    """How the texts of a sample are drawn: of long ones the beginning, unless the whole is asked for."""
    limit = None if whole else share(content)

    def show(name: str, said: str) -> Html:
        begun, more = said[:limit], len(said[limit:]) if limit is not None else 0
        drawn = _data(begun) if name == DATA else rendered(begun) if markdown else words(begun)
        return stacked(drawn, line(f"… and {more:,} characters more")) if more else drawn

    return show


def share(content: Content) -> int | None:
    """How much of each text is drawn at once, so that all together stay within bounds; None if that is all."""
    room, lengths = AT_ONCE, sorted(map(len, content.texts()))
    for place, length in enumerate(lengths):
        each = room // (len(lengths) - place)
        if length > each:
            return max(each, LONG)
        room -= length
    return None


def asked(content: Content, show: Show) -> Html:
    """What comes before the responses."""
    if content.single:
        texts = (("context", content.context), ("question", content.question))
        return stacked(*(titled(name.capitalize(), show(name, text)) for name, text in texts if text))
    before = len(content.rest.before) if content.rest else 0
    turns = (_turn(turn, show, n == before) for n, turn in enumerate(content.turns))
    return stacked(*_offered(content.tools, show), *turns)


def responded(response: Response, name: str, show: Show) -> Html:
    """A response; `name` is that of the stored text that has its words."""
    bare = not response.content and bool(response.tool_calls)
    said = [] if bare else [show(name, response.content)]
    calls = (_call(call, show, opened=bare) for call in response.tool_calls)
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
        return titled(f"tool {turn.name}".strip(), _result(turn.content, show))
    named = (("context", turn.context), ("question", turn.content))
    said = [show(name if stored else "", text) for name, text in named if text]
    calls = (_call(call, show) for call in turn.tool_calls)
    return titled(turn.role, stacked(*_reasoning(turn.reasoning, show), *said, *calls))


def _offered(tools: Sequence[Mapping[str, object]], show: Show) -> Iterator[Html]:
    if tools:
        names = ", ".join(str(_function(tool).get("name", "unnamed")) for tool in tools)
        yield folded(f"Tools offered: {names}", show(DATA, _pretty(list(tools))))


def _function(tool: Mapping[str, object]) -> Mapping[str, object]:
    inner = tool.get("function")
    return inner if isinstance(inner, Mapping) else tool


def _call(call: ToolCall, show: Show, opened: bool = False) -> Html:
    return folded(f"Calls {call.name}", show(DATA, _pretty(call.arguments)), shown=opened)


def _result(text: str, show: Show) -> Html:
    """What a tool gave back, folded where it is long."""
    drawn = show(DATA, _pretty(text))
    return folded(f"Result, {len(text):,} characters", drawn) if len(text) > LONG else drawn


def _reasoning(text: str, show: Show) -> Iterator[Html]:
    if text:
        yield folded(f"Reasoning, {len(text.split()):,} words", show("", text))


def _pretty(value: object) -> str:
    """Data in lines; a text that holds none stays as it is."""
    try:
        found = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        found = value
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() if isinstance(found, dict | list) else str(value)


def _data(text: str) -> Html:
    return code(text, "json") if text.startswith(("{", "[")) else words(text)
