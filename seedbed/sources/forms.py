"""What a row says, by the columns that it has: the forms in use, as a table, in the order that they are looked for.

A mapping in the recipe (`seedbed.sources.columns.Columns`) puts its columns under our names first. What nobody
understands goes along as facts of the row, as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from seedbed.conversation import Content, Response, Rest, Turn
from seedbed.kinds import KINDS
from seedbed.sources.chats import Chats, plain_chat, reasoning_apart, shallow, tools_in
from seedbed.sources.columns import Columns, contents_of, leaf_of, truth, value_at
from seedbed.sources.misfit import Misfit
from seedbed.sources.raw import Row
from seedbed.yamlfile import kind

__all__ = ["Columns", "Misfit", "Understood", "understand"]

FACTS = "rows"  # what a row's facts stand under
QUESTIONS = ("question", "instruction", "prompt")
CONTEXTS = ("context", "input")
ANSWERS = ("answer", "chosen", "output", "response", "completion")
SECONDS = ("rejected", "corrected")
AUTHORS = ("model", "generator", "author")
_OURS = frozenset({*QUESTIONS, *CONTEXTS, *ANSWERS, *SECONDS, "system", "history", "tools"})
_AS_THEY_ARE = Columns()


class Understood(NamedTuple):
    """A row that is a sample: its content, its kind, its leaf ("unassigned" for none), who wrote it, its own id."""

    content: Content
    kind: str
    leaf: str
    author: str
    id: str


@dataclass(slots=True)
class Told:
    """What was read in a row, and the columns that it was read in."""

    turns: list[Turn]
    responses: list[Response] = field(default_factory=list)
    kind: str = ""
    label: bool | None = None
    used: set[str] = field(default_factory=set)


class Form(NamedTuple):
    """A form: what it is called, the columns that make it, and how it is read."""

    name: str
    needs: tuple[str, ...]
    read: Callable[[Row, Chats], Told]


class _NumberAsText(Exception):
    """Where a text is wanted a number stands, whose spelling only the row's JSON knows."""


def understand(
    row: Row, columns: Columns = _AS_THEY_ARE, answers_optional: bool = False, text: bytes = b""
) -> Understood:
    """What a row is. `text` is its JSON, if it has one: a number where a text is wanted is read as it is spelled there.

    Raises:
        Misfit: it is none of the forms, or lacks what its kind needs (with `answers_optional`, the request only).
    """
    if (plain := plain_chat(row.get("messages"))) and not (row.keys() - {"messages", columns.leaf} or columns.odd):
        told_leaf = leaf_of(row, columns)
        return Understood(plain, "instruction" if plain.rest is None else "dialogue", told_leaf, "", "")
    mapped = contents_of(row, columns)
    seen = row if mapped is None else mapped[0]
    form, chats = _form_of(seen), Chats(columns.roles)
    try:
        told = form.read(seen, chats)
    except _NumberAsText:
        told = form.read(_respelled(row, seen, columns, text), chats)
    tools = tools_in(seen.get("tools"), "tools")
    author, author_column = _author(row, columns)
    told.used.add(author_column)
    if columns.leaf and not columns.leaves:  # its value is the row's leaf
        told.used.add(columns.leaf)
    facts = _facts(row if mapped is None else mapped[1], told.used if mapped is None else {author_column}, chats.extras)
    content = _content(told, tools, facts)
    kind = columns.kind or told.kind or _kind(told, tools)
    if flaw := _flaw(content, kind, answers_optional):
        raise Misfit(flaw, f"its columns are {', '.join(row)}"[:500])
    return Understood(content, kind, leaf_of(row, columns), author, _id(row, columns))


def _form_of(row: Row) -> Form:
    for form in FORMS:
        for name in form.needs:
            if row.get(name) is None:
                break
        else:
            return form
    if empty := next((name for name in QUESTIONS if name in row), ""):
        raise Misfit(f"no request in {empty}")
    raise Misfit("none of the forms that are known", f"its columns are {', '.join(row)}"[:500])


def _chat(row: Row, chats: Chats) -> Told:
    """A whole chat in one column: its last turn, if it is an assistant's, is the response."""
    column = "messages" if row.get("messages") is not None else "conversations"
    turns = chats.turns(row[column], column)
    told = Told(turns, used={column, "tools"})
    if turns and turns[-1].role == "assistant":
        told.responses = [_response(turns.pop())]
    told.turns[:0] = _system(row, told)
    _labelled(row, told)
    return told


def _texts(row: Row, chats: Chats) -> Told:
    """A request, an answer and perhaps a second one in columns of their own, each a text or a list of turns."""
    told = Told([], used={"tools"})
    told.turns = [*_system(row, told), *_history(row, told), *_asked(row, told, chats)]
    columns = list(filter(None, (_first(row, ANSWERS), _first(row, SECONDS))))
    ways = list[list[Turn]]()
    for column in columns:
        ways.append(_answer(row, column, chats, len(told.turns) + sum(map(len, ways))))
    told.used.update(columns)
    if ways:
        told.turns, told.responses = _joined(told.turns, ways, columns)
    if columns and columns[-1] in SECONDS:
        told.kind = "correction" if columns[-1] == "corrected" else "preference"
        told.responses = [*([Response()] if len(ways) == 1 else []), *told.responses]
    else:
        _labelled(row, told)
    return told


FORMS = (
    Form("two answers", ("chosen", "rejected"), _texts),
    Form("messages", ("messages",), _chat),
    Form("ShareGPT", ("conversations",), _chat),
    Form("question", ("question",), _texts),
    Form("Alpaca", ("instruction",), _texts),
    Form("prompt", ("prompt",), _texts),
)


def _asked(row: Row, told: Told, chats: Chats) -> list[Turn]:
    """The request; none where it stands in the answers, as in pairs of whole chats."""
    column = _first(row, (*QUESTIONS, "conversations", "messages"))
    if not column:
        return []
    told.used.add(column)
    if type(row[column]) in (list, dict):
        return chats.turns(row[column], column)
    context = _first(row, CONTEXTS)
    told.used.add(context)
    return [Turn("user", _text(row, column), _text(row, context) if context else "")]


def _answer(row: Row, column: str, chats: Chats, first: int) -> list[Turn]:
    if type(row[column]) not in (list, dict):
        said, thought = reasoning_apart(_text(row, column))
        return [Turn("assistant", said, "", thought)]
    if turns := chats.turns(row[column], column, first):
        return turns
    raise Misfit(f"no turn in {column}")


def _joined(
    before: list[Turn], ways: Sequence[list[Turn]], columns: Sequence[str]
) -> tuple[list[Turn], list[Response]]:
    """The turns up to where the answers part, and the answers, which are one turn each from there."""
    shared = min(len(way) for way in ways) - 1
    while any(way[:shared] != ways[0][:shared] for way in ways):
        shared -= 1
    for way, column in zip(ways, columns, strict=True):
        if len(way) > shared + 1:
            raise Misfit(f"{' and '.join(columns)} part before their last turn")
        if way[-1].role != "assistant":
            raise Misfit(f"{column} does not end with a turn of an assistant")
    return _led_to(before, ways[0][:shared], columns[0]), [_response(way[-1]) for way in ways]


def _led_to(before: list[Turn], shared: list[Turn], column: str) -> list[Turn]:
    """The whole way to the answers, where the turns that they share may repeat the request, as UltraFeedback's do."""
    if not shared or shared[0].role in ("assistant", "tool"):
        return [*before, *shared]
    asked = [turn.content.strip() for turn in before if turn.role == "user"]
    if asked and asked[-1] not in [turn.content.strip() for turn in shared if turn.role == "user"]:
        raise Misfit(f"{column} is a whole chat, and the request is none of its turns")
    return [*(turn for turn in before if turn.role == "system" and turn not in shared), *shared]


def _system(row: Row, told: Told) -> list[Turn]:
    if not row.get("system"):
        return []
    told.used.add("system")
    return [Turn("system", _text(row, "system"))]


def _history(row: Row, told: Told) -> list[Turn]:
    """Earlier questions and answers, as LLaMA-Factory's Alpaca has them."""
    value = row.get("history")
    if not value:
        return []
    if type(value) is not list or not all(type(pair) is list and list(map(type, pair)) == [str, str] for pair in value):
        raise Misfit("history is no list of pairs of texts")
    told.used.add("history")
    return [turn for asked, said in value for turn in (Turn("user", asked), Turn("assistant", said))]


def _labelled(row: Row, told: Told) -> None:
    """The label of an answer. In KTO's form it must be one; elsewhere a column of that name may be anything."""
    value = row.get("label")
    if value is None:
        return
    told.label = truth(value)
    if told.label is not None:
        told.kind = "labelled"
        told.used.add("label")
    elif "completion" in told.used:
        raise Misfit("label is neither true nor false", kind(value))


def _text(row: Row, column: str) -> str:
    value = row[column]
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is float:
        raise _NumberAsText
    raise Misfit(f"{column} is no text", kind(value))


def _respelled(row: Row, seen: Row, columns: Columns, text: bytes) -> Row:
    """The row with its fractions as they are spelled, or as Python spells them where it has no JSON."""
    if not text:
        return {name: repr(value) if type(value) is float else value for name, value in seen.items()}
    whole = json.loads(text, parse_float=str, parse_int=str)
    mapped = contents_of(whole, columns)
    spelled = whole if mapped is None else mapped[0]
    return {name: spelled[name] if type(value) is float else value for name, value in seen.items()}


def _first(row: Row, names: Iterable[str]) -> str:
    """The first of these columns that has something, "" if none has."""
    for name in names:
        if row.get(name) is not None and row[name] != "":
            return name
    return ""


def _response(turn: Turn) -> Response:
    return Response(turn.content, "", turn.reasoning, turn.tool_calls)


def _author(row: Row, columns: Columns) -> tuple[str, str]:
    """Who wrote the answer, and the column that says so; "" where none does."""
    if columns.author is not None:
        value = value_at(row, columns.author)
        return (value, columns.author) if type(value) is str else ("", "")
    for name in () if columns.contents else AUTHORS:
        if type(row.get(name)) is str:
            return row[name], name
    return "", ""


def _id(row: Row, columns: Columns) -> str:
    value = row.get("id") if columns.id is None else value_at(row, columns.id)
    return value if type(value) is str else str(value) if type(value) is int else ""


def _facts(left: Row, used: Collection[str], extras: dict[str, object]) -> dict[str, object]:
    """What the row says beside: columns that nobody understood, and what the turns have more."""
    found: dict[str, object] = {}
    for name, value in left.items():
        if name not in used and value is not None and not (name in _OURS and value in ("", [])):
            found[name] = shallow(value, name)
    if extras:
        found["turns of the chat" if "turns" in found else "turns"] = extras
    return {FACTS: found} if found else {}


def _content(told: Told, tools: tuple[Any, ...], facts: dict[str, object]) -> Content:
    turns, responses = told.turns, told.responses
    bare = not tools and not any(one.reasoning or one.tool_calls for one in responses)
    if bare and len(turns) == 1 and turns[0].role == "user":  # as most are: in a third of the time
        answer, rejected = [*[one.content for one in responses], "", ""][:2]
        rest = Rest(facts=facts or None, label=told.label) if facts or told.label is not None else None
        return Content(turns[0].content, answer, turns[0].context, rejected, rest)
    try:
        return Content.of(turns, responses, tools, facts, told.label)
    except ValueError as error:
        raise Misfit("no turn of a user") from error


def _kind(told: Told, tools: tuple[Any, ...]) -> str:
    calls = any(one.tool_calls for one in told.responses)
    return "dialogue" if tools or calls or len(told.turns) > 1 else "instruction"


def _flaw(content: Content, kind: str, answers_optional: bool) -> str:
    """Why a content is none of its kind, "" if it is."""
    if not content.question.strip() and not content.context.strip():
        return "no request"
    if content.rejected and not KINDS[kind].second:
        return f"a second answer in a row of kind {kind}"
    if KINDS[kind].pair and content.replies()[0].split() == content.replies()[1].split():
        return "its two answers are the same"
    lacks = "" if answers_optional else KINDS[kind].lacks(content)
    return f"no {lacks}" if lacks else ""
