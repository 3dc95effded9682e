"""The forms that samples leave in, as a table: for TRL, OpenAI, LLaMA-Factory, Alpaca's readers and spreadsheets.

A form says its columns and how a conversation becomes a row of them. What a form cannot hold is `Unfit` and never made
flat: a row is whole or it is not written. Which kinds fit a form is told by `seedbed.kinds`.

Sources: TRL 1.16, "Dataset formats"; LLaMA-Factory 0.9, `data/README.md` and `data/converter.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import orjson

from seedbed.conversation import Content, Turn
from seedbed.messages import Messages, messages_of, parsed_arguments, prompt_of, response_of
from seedbed.store.selection import Traits

if TYPE_CHECKING:
    from datasets import Features

Row = dict[str, Any]  # by column, as JSON would hold it
Column = Literal["chat", "text", "flag", "schemas", "lines", "line", "rounds", "scores", "number"]
Columns = Mapping[str, Column]


class Unfit(ValueError):
    """A row that a form cannot hold. The message is the reason, short enough to group by."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form. `turns` and `tools` are the further columns of a file in which some row has several turns, or tools."""

    what: str
    columns: Columns
    row: Callable[[Content, bool], Row]
    turns: Columns = field(default_factory=dict)
    tools: Columns = field(default_factory=dict)
    tags: tuple[str, ...] = ("sft",)

    @property
    def conversational(self) -> bool:
        """Whether its columns are lists of messages."""
        return "chat" in self.columns.values()

    @property
    def tabular(self) -> bool:
        """Whether a spreadsheet can hold it."""
        return not {"chat", "lines", "line"} & set(self.columns.values())


def row_of(content: Content, form: str, reasoning: bool = False) -> Row:
    """A conversation as a row of a form; columns that only some rows need are there where this one needs them.

    Raises:
        Unfit: the form cannot hold it.
    """
    return FORMS[form].row(content, reasoning)


def columns_of(form: str, traits: Traits) -> Columns:
    """The columns of a file of a form, for rows of these traits."""
    found = FORMS[form]
    return {**found.columns, **(found.turns if traits.turns else {}), **(found.tools if traits.tools else {})}


def features_of(columns: Columns, loose: bool) -> Features:
    """The columns as features of `datasets`. Where messages are `loose`, each may have keys of its own (tools)."""
    from datasets import Features, Json, List, Value

    text, line = Value("string"), {"from": Value("string"), "value": Value("string")}
    score = {**dict.fromkeys(("step", "curator", "judge"), text), **dict.fromkeys(SCORE_NUMBERS, Value("float64"))}
    known = {
        "chat": List(Json()) if loose else List({"role": text, "content": text}),
        "text": text,
        "flag": Value("bool"),
        "schemas": List(Json()),
        "lines": List(line),
        "line": line,
        "rounds": List(List(text)),
        "scores": List(score),
        "number": Value("int64"),
    }
    return Features({name: known[column] for name, column in columns.items()})


SCORE_NUMBERS = ("score", "threshold")
EMPTY: Mapping[Column, object] = {"text": "", "rounds": []}  # of a column that a row does not need; null for others


def _sides(content: Content, reasoning: bool) -> list[Messages]:
    """The prompt, and up to two responses, as messages."""
    if content.rest is None:  # nearly all of them, so that no turn is made
        texts = [content.answer, *([content.rejected] if content.rejected else [])]
        asked = [{"role": "user", "content": content.prompt()}]
        return [asked, *([{"role": "assistant", "content": text}] for text in texts)]
    said = (response_of(one, reasoning) for one in content.responses[:2])
    return [prompt_of(content, reasoning), *said]


def _offered(content: Content) -> Row:
    return {"tools": list(content.tools)} if content.tools else {}


def _messages(content: Content, reasoning: bool) -> Row:
    prompt, answer, *_ = _sides(content, reasoning)
    return {"messages": prompt + answer, **_offered(content)}


def _openai(content: Content, reasoning: bool) -> Row:
    """As `messages`, but arguments are the text of an object, as OpenAI's servers want and give them."""
    turns = [*content.turns, content.responses[0].turn]
    return {"messages": messages_of(turns, reasoning, as_text=True), **_offered(content)}


def _prompt_completion(content: Content, reasoning: bool) -> Row:
    prompt, answer, *_ = _sides(content, reasoning)
    return {"prompt": prompt, "completion": answer, **_offered(content)}


def _kto(content: Content, reasoning: bool) -> Row:
    return {**_prompt_completion(content, reasoning), "label": content.label}


def _preference(content: Content, reasoning: bool) -> Row:
    prompt, chosen, rejected = _sides(content, reasoning)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **_offered(content)}


def _preference_whole(content: Content, reasoning: bool) -> Row:
    prompt, chosen, rejected = _sides(content, reasoning)
    return {"chosen": prompt + chosen, "rejected": prompt + rejected, **_offered(content)}


def _texts(content: Content) -> tuple[str, str, str]:
    """One request and up to two answers, as texts. Raises Unfit."""
    if content.rest is not None:
        if content.tools:
            raise Unfit("tools")
        if not content.single:
            raise Unfit("several turns or a system prompt")
        if any(one.tool_calls for one in content.rest.responses):
            raise Unfit("a call of a tool")
    return content.prompt(), content.answer, content.rejected


def _standard(content: Content, reasoning: bool) -> Row:
    prompt, answer, _ = _texts(content)
    return {"prompt": prompt, "completion": answer}


def _kto_standard(content: Content, reasoning: bool) -> Row:
    return {**_standard(content, reasoning), "label": content.label}


def _preference_standard(content: Content, reasoning: bool) -> Row:
    prompt, chosen, rejected = _texts(content)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _correction(content: Content, reasoning: bool) -> Row:
    question, answer, corrected = _texts(content)
    return {"question": question, "answer": answer, "corrected": corrected}


def _alpaca(content: Content, reasoning: bool) -> Row:
    """The last request, with what it is about as `input`; earlier requests and answers as `history`."""
    turns = content.turns
    if content.tools or any(turn.role == "tool" or turn.tool_calls for turn in (*turns, *_answers(content))):
        raise Unfit("tools")
    system, turns = (turns[0].content, turns[1:]) if turns[0].role == "system" else ("", turns)
    if [turn.role for turn in turns] != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
        raise Unfit("turns that do not alternate")
    past = [turn.text for turn in turns[:-1]]
    more: Row = {"system": system} if system else {}
    more |= {"history": [list(round_) for round_ in zip(past[::2], past[1::2], strict=True)]} if past else {}
    return {"instruction": content.question, "input": content.context, "output": content.answer, **more}


def _answers(content: Content) -> list[Turn]:
    return [one.turn for one in content.responses]


def _sharegpt(content: Content, reasoning: bool) -> Row:
    return _dialogue([*content.turns, *_answers(content)[:1]], content)


def _sharegpt_preference(content: Content, reasoning: bool) -> Row:
    chosen, rejected = _answers(content)[:2]
    row = _dialogue([*content.turns, chosen], content)
    return {**row, "conversations": row["conversations"][:-1], "chosen": _line(chosen), "rejected": _line(rejected)}


def _dialogue(turns: Sequence[Turn], content: Content) -> Row:
    """Turns that alternate between who asks (human, observation) and who answers (gpt, function_call)."""
    system, turns = (turns[0].content, turns[1:]) if turns[0].role == "system" else ("", turns)
    lines = [_line(turn) for turn in turns]
    if [line["from"] in ("human", "observation") for line in lines] != [n % 2 == 0 for n in range(len(lines))]:
        raise Unfit("turns that do not alternate")
    tools = {"tools": _json(list(content.tools))} if content.tools else {}
    return {"conversations": lines, **({"system": system} if system else {}), **tools}


def _line(turn: Turn) -> dict[str, str]:
    if turn.role == "system":
        raise Unfit("a system prompt after the beginning")
    if not turn.tool_calls:
        said = {"user": "human", "assistant": "gpt", "tool": "observation"}[turn.role]
        return {"from": said, "value": turn.text}
    if turn.content:
        raise Unfit("words beside a call of a tool")
    calls = [{"name": call.name, "arguments": parsed_arguments(call.arguments)} for call in turn.tool_calls]
    return {"from": "function_call", "value": _json(calls[0] if len(calls) == 1 else calls)}


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


_TOOLS: Columns = {"tools": "schemas"}
_TRL_PAIR: Columns = {"prompt": "chat", "chosen": "chat", "rejected": "chat"}
_PAIR_TAGS = ("preference", "dpo", "rlhf")
_SYSTEM: Columns = {"system": "text"}

FORMS: dict[str, Form] = {
    "messages": Form("chats: `messages`", {"messages": "chat"}, _messages, tools=_TOOLS),
    "openai": Form("chats as OpenAI's servers have them: `messages`", {"messages": "chat"}, _openai, tools=_TOOLS),
    "prompt-completion": Form(
        "chats, cut before the last answer: `prompt`, `completion`",
        {"prompt": "chat", "completion": "chat"},
        _prompt_completion,
        tools=_TOOLS,
    ),
    "standard": Form(
        "requests and answers as texts: `prompt`, `completion`", {"prompt": "text", "completion": "text"}, _standard
    ),
    "sharegpt": Form(
        "chats of ShareGPT's form: `conversations`",
        {"conversations": "lines"},
        _sharegpt,
        turns=_SYSTEM,
        tools={"tools": "text"},
    ),
    "alpaca": Form(
        "requests and answers of Alpaca's form: `instruction`, `input`, `output`",
        {"instruction": "text", "input": "text", "output": "text"},
        _alpaca,
        turns={**_SYSTEM, "history": "rounds"},
    ),
    "preference": Form(
        "pairs of answers to one prompt: `prompt`, `chosen`, `rejected`",
        _TRL_PAIR,
        _preference,
        tools=_TOOLS,
        tags=_PAIR_TAGS,
    ),
    "preference-standard": Form(
        "pairs of answers as texts: `prompt`, `chosen`, `rejected`",
        {"prompt": "text", "chosen": "text", "rejected": "text"},
        _preference_standard,
        tags=_PAIR_TAGS,
    ),
    "preference-whole": Form(
        "pairs of whole chats, alike up to the answer: `chosen`, `rejected`",
        {"chosen": "chat", "rejected": "chat"},
        _preference_whole,
        tools=_TOOLS,
        tags=_PAIR_TAGS,
    ),
    "sharegpt-preference": Form(
        "pairs of answers of ShareGPT's form: `conversations`, `chosen`, `rejected`",
        {"conversations": "lines", "chosen": "line", "rejected": "line"},
        _sharegpt_preference,
        turns=_SYSTEM,
        tools={"tools": "text"},
        tags=_PAIR_TAGS,
    ),
    "correction": Form(
        "answers and what they were corrected to: `question`, `answer`, `corrected`",
        {"question": "text", "answer": "text", "corrected": "text"},
        _correction,
        tags=("correction",),
    ),
    "kto": Form(
        "answers and whether they are as they should be: `prompt`, `completion`, `label`",
        {"prompt": "chat", "completion": "chat", "label": "flag"},
        _kto,
        tools=_TOOLS,
        tags=("kto", "rlhf"),
    ),
    "kto-standard": Form(
        "answers as texts, and whether they are as they should be: `prompt`, `completion`, `label`",
        {"prompt": "text", "completion": "text", "label": "flag"},
        _kto_standard,
        tags=("kto", "rlhf"),
    ),
}
