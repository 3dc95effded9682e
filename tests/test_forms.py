"""What rows of others mean: every form in use, by its columns or by a mapping; what does not fit has a reason."""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest

from seedbed.conversation import Content, Response, ToolCall, Turn
from seedbed.conversation_json import read_rest, rest_json
from seedbed.messages import prompt_of, response_of
from seedbed.sources.forms import Columns, Misfit, understand
from seedbed.sources.readers import File, read_file

USER, BOT = Turn("user", "Why?"), Response("Because.")
ASKED = {"role": "user", "content": "Why?"}
SAID = {"role": "assistant", "content": "Because."}
WORSE = {"role": "assistant", "content": "No idea."}
HUMAN, GPT = {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}
SUM = {"name": "sum", "arguments": {"a": 1}}
TOOL = {"type": "function", "function": {"name": "sum", "parameters": {"type": "object"}}}
PAIR = Content("Why?", "Because.", rejected="No idea.")


def facts_of(found) -> Any:
    return found.content.facts["rows"]


def misfit(row, **options):
    with pytest.raises(Misfit) as found:
        understand(row, **options)
    return found.value


ONE_TURN = {
    "TRL and OpenAI": {"messages": [ASKED, SAID]},
    "OpenAI's parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}, SAID]},
    "ShareGPT": {"conversations": [HUMAN, GPT]},
    "Alpaca": {"instruction": "Why?", "input": "", "output": "Because."},
    "prompt and completion": {"prompt": "Why?", "completion": "Because."},
    "the same as chats": {"prompt": [ASKED], "completion": [SAID]},
    "Seedbed's own": {"question": "Why?", "answer": "Because.", "context": None},
    "a plain list": {"prompt": "Why?", "response": "Because."},
}


@pytest.mark.parametrize("row", ONE_TURN.values(), ids=ONE_TURN)
def test_one_request_with_its_answer_is_the_same_in_every_form(row):
    found = understand(row)
    assert found == (Content("Why?", "Because."), "instruction", "unassigned", "", "")


PAIRS = {
    "texts": {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea."},
    "chats": {"prompt": [ASKED], "chosen": [SAID], "rejected": [WORSE]},
    "whole chats": {"chosen": [ASKED, SAID], "rejected": [ASKED, WORSE]},
    "UltraFeedback": {"prompt": "Why?", "chosen": [ASKED, SAID], "rejected": [ASKED, WORSE]},
    "LLaMA-Factory": {"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "No idea."}},
    "own": {"question": "Why?", "answer": "Because.", "rejected": "No idea."},
}


@pytest.mark.parametrize("row", PAIRS.values(), ids=PAIRS)
def test_a_pair_is_the_same_in_every_form(row):
    assert understand(row)[:2] == (PAIR, "preference")


def test_a_pair_at_the_end_of_a_long_chat_has_all_that_went_before():
    head = [{"role": "system", "content": "Be brief."}, ASKED, SAID, {"role": "user", "content": "And?"}]
    whole = Content.of(
        [Turn("system", "Be brief."), USER, BOT.turn, Turn("user", "And?")], [Response("x"), Response("y")]
    )
    x, y = ({"role": "assistant", "content": text} for text in "xy")
    for row in (
        {"chosen": [*head, x], "rejected": [*head, y]},
        {"prompt": head, "chosen": [x], "rejected": [y]},
        {"prompt": head[:2], "chosen": [*head[2:], x], "rejected": [*head[2:], y]},
        {"system": "Be brief.", "prompt": "And?", "chosen": [*head[1:], x], "rejected": [*head[1:], y]},
    ):
        assert understand(row)[:2] == (whole, "preference")
    assert "part before their last turn" in misfit({"chosen": [ASKED, SAID, ASKED, x], "rejected": [ASKED, y]}).reason
    assert "none of its turns" in misfit({"prompt": "Else?", "chosen": [ASKED, x], "rejected": [ASKED, y]}).reason


@pytest.mark.parametrize(("label", "meant"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_kto_has_a_label(label, meant):
    for prompt, completion in (("Why?", "Because."), ([ASKED], [SAID])):
        found = understand({"prompt": prompt, "completion": completion, "label": label})
        assert found[:2] == (Content.of([USER], [BOT], label=meant), "labelled")
    assert understand({"messages": [ASKED, SAID], "label": label}).content.label is meant


def test_a_label_that_is_none_is_refused_in_ktos_form_and_a_fact_elsewhere():
    assert misfit({"prompt": "a", "completion": "b", "label": 3}).reason == "label is neither true nor false"
    assert understand({"question": "a", "answer": "b", "label": 3}).content.facts == {"rows": {"label": 3}}


def test_a_correction_is_two_answers_of_which_the_second_is_right():
    found = understand({"question": "Why?", "answer": "No idea.", "corrected": "Because."})
    assert found[:2] == (Content("Why?", "No idea.", rejected="Because."), "correction")


def test_system_history_and_earlier_turns_make_a_dialogue():
    system, earlier = Turn("system", "Be brief."), [Turn("user", "a"), Turn("assistant", "b")]
    told = {"role": "developer", "content": "Be brief."}
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    expected = Content.of([system, *earlier, USER], [BOT])
    for row in (
        {"messages": [told, *said, ASKED, SAID]},
        {
            "system": "Be brief.",
            "conversations": [{"from": "user", "value": "a"}, {"from": "bard", "value": "b"}, HUMAN, GPT],
        },
        {"system": "Be brief.", "history": [["a", "b"]], "instruction": "Why?", "output": "Because."},
        {"prompt": [told, *said, ASKED], "completion": [SAID]},
    ):
        assert understand(row)[:2] == (expected, "dialogue")


def test_calls_of_tools_are_kept_as_they_came_with_what_came_of_them():
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": SUM}]}
    answered = {"role": "tool", "name": "sum", "tool_call_id": "c1", "content": "1"}
    found = understand({"messages": [ASKED, called, answered, SAID], "tools": [TOOL]})
    calls = (ToolCall("sum", {"a": 1}, "c1"),)
    turns = [USER, Turn("assistant", tool_calls=calls), Turn("tool", "1", name="sum", tool_call_id="c1")]
    assert found[:2] == (Content.of(turns, [BOT], [TOOL]), "dialogue")
    as_text = {**called, "tool_calls": [{"function": {"name": "sum", "arguments": '{"a": 1}'}}]}
    [call] = understand({"messages": [ASKED, as_text], "tools": json.dumps([TOOL])}).content.responses[0].tool_calls
    assert call == ToolCall("sum", '{"a": 1}')
    old = {**called, "tool_calls": None, "function_call": SUM}
    assert understand({"messages": [ASKED, old]}).content.responses[0].tool_calls == (ToolCall("sum", {"a": 1}),)


def test_llama_factorys_calls_and_observations_are_read():
    call = {"from": "function_call", "value": json.dumps(SUM)}
    row = {"conversations": [HUMAN, call, {"from": "observation", "value": "1"}, GPT], "tools": json.dumps([TOOL])}
    turns = [USER, Turn("assistant", tool_calls=(ToolCall("sum", {"a": 1}),)), Turn("tool", "1")]
    assert understand(row).content == Content.of(turns, [BOT], [TOOL])


def test_a_thought_at_the_head_of_an_answer_is_kept_apart_and_any_other_text_is_left_exactly_as_it_is():
    said = "<think>\nHm.\n</think>\n\nBecause."
    beside = {"role": "assistant", "content": "Because.", "reasoning_content": "Hm."}
    for row in (
        {"messages": [ASKED, {"role": "assistant", "content": said}]},
        {"messages": [ASKED, beside]},
        {"instruction": "Why?", "output": said},
        {"prompt": "Why?", "completion": said.replace("think", "thinking")},
        {"prompt": "Why?", "completion": said.removeprefix("<think>\n")},
    ):
        assert understand(row).content == Content.of([USER], [Response("Because.", reasoning="Hm.")])
    for text in ("  spaces \n", "Use <think> for it, and close it.", "a < b [1]", "`<think>` is a mark </think>"):
        assert understand({"prompt": "Why?", "completion": text}).content.answer == text


def test_numbers_and_truth_values_are_read_as_the_texts_that_stand_in_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = ["42", "1.50", "-0.0", "1e3", "true", "false", "123456789012345678901234567890"]
    path.write_text("".join(f'{{"question": 6, "answer": {answer}, "score": 0.50}}\n' for answer in rows))
    read = [understand(row.row, text=row.text) for row in read_file(File("a.jsonl", lambda: path.open("rb")))]
    assert [found.content.answer for found in read] == rows and {found.content.question for found in read} == {"6"}
    assert {facts_of(found)["score"] for found in read} == {0.5}, "beside, a number is a number"
    mapped = [
        understand(row.row, Columns(question="question", answer="answer"), text=row.text).content.answer
        for row in read_file(File("a.jsonl", lambda: path.open("rb")))
    ]
    assert mapped == rows


def test_what_nobody_understands_goes_along_as_it_is():
    turns = [{**ASKED, "weight": 0, "name": "Ann"}, {**SAID, "logprobs": [0.5]}]
    row = {"id": 7, "messages": turns, "source": {"url": "x", "n": [1, None]}, "model": "m", "nothing": None}
    found = understand(row)
    assert found.id == "7" and found.author == "m"
    facts = facts_of(found)
    assert facts == {
        "id": 7,
        "source": {"url": "x", "n": [1, None]},
        "turns": {"0": {"weight": 0, "name": "Ann"}, "1": {"logprobs": [0.5]}},
    }
    assert facts_of(understand({**row, "turns": 2}))["turns of the chat"] == facts["turns"]


def test_a_row_comes_back_from_the_store_and_as_messages_as_it_was():
    chat = [{"role": "system", "content": "S"}, ASKED, SAID, {"role": "user", "content": " And?\n"}, WORSE]
    content = understand({"messages": chat, "source": "x"}).content
    again = Content(
        content.question, content.answer, content.context, content.rejected, read_rest(rest_json(content.rest))
    )
    assert again == content and again.facts == {"rows": {"source": "x"}}
    assert prompt_of(again) + response_of(again.responses[0]) == chat
    alpaca = understand({"instruction": "Sum up.", "input": "A text.", "output": "A."}).content
    assert (alpaca.question, alpaca.context, alpaca.answer) == ("Sum up.", "A text.", "A.")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"frage": "Why?"}, "none of the forms that are known"),
        ({"prompt": None, "completion": "x"}, "no request in prompt"),
        ({"prompt": " ", "completion": "x"}, "no request"),
        ({"prompt": "Why?"}, "no answer"),
        ({"prompt": "Why?", "completion": ""}, "no answer"),
        ({"prompt": "Why?", "completion": []}, "no turn in completion"),
        ({"prompt": "Why?", "completion": [ASKED]}, "completion does not end with a turn of an assistant"),
        ({"prompt": {"a": 1}, "completion": "x"}, "an unknown role in prompt"),
        ({"question": "Why?", "answer": ["x"]}, "a turn in answer is no object"),
        ({"messages": []}, "no turn of a user"),
        ({"messages": "Why?"}, "messages is no list of turns"),
        ({"messages": ["Why?"]}, "a turn in messages is no object"),
        ({"messages": [ASKED]}, "no answer"),
        ({"messages": [SAID]}, "no turn of a user"),
        ({"messages": [ASKED, {"role": "boss", "content": "x"}]}, "an unknown role in messages"),
        ({"messages": [ASKED, {"content": "x"}]}, "an unknown role in messages"),
        ({"messages": [ASKED, {"role": "assistant", "content": 5}]}, "a turn in messages whose words are no text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, SAID]},
            "a part of a turn in messages that is no text",
        ),
        (
            {"messages": [ASKED, {**SAID, "tool_calls": [{"function": {}}]}]},
            "a call of a tool without a name in messages",
        ),
        ({"messages": [ASKED, {**SAID, "tool_calls": 5}]}, "the calls of tools in messages are no list"),
        ({"messages": [ASKED, SAID], "tools": "search"}, "tools is no JSON"),
        ({"messages": [ASKED, SAID], "tools": [5]}, "tools is no list of schemas"),
        ({"conversations": [HUMAN, {"from": "function_call", "value": "sum(1)"}]}, "conversations is no JSON"),
        ({"instruction": "a", "output": "b", "history": ["c"]}, "history is no list of pairs of texts"),
        ({"chosen": "a", "rejected": "b"}, "no turn of a user"),
    ],
)
def test_what_does_not_fit_has_a_reason_to_group_by(row, reason):
    assert misfit(row).reason == reason


def test_a_request_without_an_answer_is_enough_where_answers_are_optional():
    found = understand({"messages": [ASKED]}, answers_optional=True)
    assert found.content == Content("Why?") and not found.content.responses


def test_two_equal_answers_are_no_pair():
    with pytest.raises(Misfit, match="its two answers are the same"):
        understand({"prompt": "Why?", "chosen": "So.", "rejected": " So."})


NAMES = (
    *("messages", "conversations", "prompt", "completion", "chosen", "rejected", "label", "instruction", "input"),
    *("output", "system", "history", "tools", "question", "answer", "id", "model", "role", "content", "from", "value"),
    *("tool_calls", "function", "name", "arguments", "type", "text", "x"),
)
LEAVES = (
    None,
    True,
    0,
    1.5,
    10**18,
    "",
    " ",
    "user",
    "assistant",
    "gpt",
    "human",
    "tool",
    "function_call",
    "[",
    "<think>",
)


def anything(dice: random.Random, depth: int):
    """Some JSON, with a leaning to what rows are made of."""
    match dice.randrange(7 if depth else 3):
        case 3 | 4:
            return [anything(dice, depth - 1) for _ in range(dice.randrange(4))]
        case 5 | 6:
            return {dice.choice(NAMES): anything(dice, depth - 1) for _ in range(dice.randrange(5))}
    return dice.choice(LEAVES)


@pytest.mark.parametrize("seed", range(8))
def test_any_json_at_all_is_understood_or_a_misfit_and_what_is_understood_can_be_stored(seed):
    dice = random.Random(seed)
    mappings = [Columns(), Columns(question="x", answer="prompt.text"), Columns(leaf="id", author="model", id="x.name")]
    understood = 0
    for _ in range(5_000):
        row = {dice.choice(NAMES): anything(dice, 4) for _ in range(dice.randrange(5))}
        try:
            found = understand(row, dice.choice(mappings), dice.random() < 0.5, orjson.dumps(row))
        except Misfit:
            continue
        understood += 1
        assert read_rest(rest_json(found.content.rest)) == found.content.rest
    assert understood > 20


@pytest.mark.parametrize("depth", [120, 1_000])
@pytest.mark.parametrize("column", ["messages", "tools", "x", "history", "prompt", "chosen"])
def test_values_that_are_nested_without_end_are_a_misfit(depth, column):
    deep = orjson.loads("[" * depth + "]" * depth)
    row = {"messages": [ASKED, SAID], "prompt": "Why?", "rejected": "x", column: deep}
    assert misfit(row).reason
    assert misfit({"messages": [ASKED, {**SAID, "extra": deep}]}).reason == "messages is nested more than 100 deep"
    call = {"name": "f", "arguments": deep}
    assert (
        misfit({"messages": [ASKED, {**SAID, "tool_calls": [call]}]}).reason == "messages is nested more than 100 deep"
    )


@pytest.mark.parametrize(
    "turns",
    [
        [("user", "Why?"), ("assistant", "Because.")],
        [("system", "Be kind."), ("user", "Why?"), ("assistant", "Because.")],
        [("user", "Why?"), ("assistant", "<think>Hm.</think>Because.")],
        [("user", " "), ("assistant", "Because.")],
        [("user", "Why?"), ("assistant", "Weil. Ä")],
        [("assistant", "Hello"), ("user", "Why?"), ("assistant", "Because.")],
    ],
)
def test_a_plain_chat_is_read_as_the_long_way_reads_it(turns):
    row = {"messages": [{"role": role, "content": words} for role, words in turns]}
    long_way = {**row, "source": "x"}
    try:
        found = understand(long_way)
    except Misfit as misfit:
        with pytest.raises(Misfit, match=misfit.reason):
            understand(row)
        return
    plain = understand(row)
    assert plain.kind == found.kind and plain.content.turns == found.content.turns
    assert plain.content.responses == found.content.responses and not plain.content.facts
