"""What a reply is read as: words without reasoning, whole only after a good end, unknown counts unknown."""

from __future__ import annotations

import math

import pytest

from seedbed.engines.completion import PassingFault, chosen, completion, loaded
from seedbed.replies import Choice, Reply, Unreadable, reply

SAID = "Wipe the trail with vinegar."


def body(content: object = SAID, finish: object = "stop", usage: object = None, **message: object) -> dict[str, object]:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return {"choices": [choice], "usage": usage}


def read(answer: dict[str, object]) -> Reply:
    return completion(answer, "step")[0]


THOUGHT = {
    "in a block": "<think>\nHmm, ants.\n</think>\n\n{}",
    "in capitals": "<THINK>Hmm</THINK>{}",
    "only closed": "Hmm, ants.\n</think>\n{}",
    "with attributes": '<thinking budget="8">Hmm</thinking>{}',
    "empty": "<think></think>\n\n{}",
    "speaking of its mark": "<think>I write <think> first.</think>{}",
    "with code in it": "<think>a ` here</think>{}",
    "in square brackets": "[THINK]Hmm[/THINK]{}",
    "in triangles": "\u25c1think\u25b7Hmm\u25c1/think\u25b7{}",
    "with a prefix": "<seed:think>Hmm</seed:think>{}",
    "as special tokens": "<|START_THINKING|>Hmm<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
    "as begun and ended": "<|begin_of_thought|>Hmm<|end_of_thought|>\n<|begin_of_solution|>{}<|end_of_solution|>",
    "in a channel": "<|channel|>analysis<|message|>Hmm<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
    "in a bare channel": "analysisWe need to.assistantfinal{}",
    "then an answer in marks": "<reasoning>Hmm</reasoning><answer>{}</answer>",
    "twice": "<think>Hmm</think>{}<think>Done.</think>",
    "behind it": "{}\n<thought>That was short.</thought>",
}


@pytest.mark.parametrize("how", THOUGHT)
@pytest.mark.parametrize("said", [SAID, '{"question": "Why?", "answer": "So."}'])
def test_reasoning_is_no_part_of_the_words_however_it_is_marked(how, said):
    found = read(body(THOUGHT[how].replace("{}", said)))
    assert found.words("step") == said and not found.cut
    assert found.sent == THOUGHT[how].replace("{}", said), "the ledger keeps what was sent"
    assert found.reasoning or how == "empty"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_in_a_field_of_its_own_is_kept_apart(field):
    found = read(body(**{field: "Hmm, ants."}))
    assert (found.words("step"), found.reasoning) == (SAID, "Hmm, ants.")


def test_content_in_parts_is_its_texts_and_its_thoughts_stand_apart():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}
    parts = [thinking, {"type": "text", "text": SAID[:9]}, {"type": "output_text", "text": SAID[9:]}]
    found = read(body(parts))
    assert (found.words("step"), found.reasoning) == (SAID, "Hmm.")


@pytest.mark.parametrize(
    "said",
    [
        "Use the `<think>` mark.",
        "```\n<think>\n```\nThat is it.",
        "1 < 2 and [1], <b>bold</b>",
        "He [thinking] sat down.",
    ],
)
def test_what_only_speaks_of_marks_stays_as_it_is(said):
    assert read(body(said)).words("step") == said


@pytest.mark.parametrize(
    "answer",
    [
        body("<think>I will", "length", {"prompt_tokens": 9, "completion_tokens": 64}),
        body("<think>I will", "stop"),
        body("", "length", reasoning_content="I will"),
        body(f"{SAID}<think>but", "stop"),
    ],
)
def test_a_thought_that_breaks_off_says_so_and_what_to_do(answer):
    with pytest.raises(Unreadable, match="cut off while still thinking") as caught:
        read(answer).words("step")
    assert "thinking: false" in caught.value.remedy and "max_tokens:" in caught.value.remedy


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (body("<think>Hmm</think>"), "reasoning and no answer"),
        (body(None, refusal="I will not."), "the model refused"),
        (body([{"type": "refusal", "refusal": "I will not."}]), "the model refused"),
        (body(None, "tool_calls", tool_calls=[{"function": {"name": "look"}}]), "a tool call and no words"),
        (body(" \n"), "empty answer"),
        (body("", "content_filter"), r"empty answer, cut off \(content_filter\)"),
    ],
)
def test_a_reply_without_words_says_what_there_is_instead(answer, why):
    with pytest.raises(Unreadable, match=why):
        read(answer).words("step")


@pytest.mark.parametrize("finish", ["stop", "STOP", "eos", "end_turn", "stop_sequence", None, "", "COMPLETE"])
def test_a_known_good_end_is_whole(finish):
    assert read(body(finish=finish)).cut == ""


@pytest.mark.parametrize(
    "finish", ["length", "max_tokens", "MAX_TOKENS", "model_length", "content_filter", "error", "odd"]
)
def test_every_other_end_is_cut_by_its_name(finish):
    found = read(body(finish=finish, usage={"prompt_tokens": 1, "completion_tokens": 30}))
    known = finish.lower() in ("length", "max_tokens", "model_length")
    assert found.cut == ("cut off at 30 tokens" if known else f"cut off ({finish})")


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, (None, None)),
        ({}, (None, None)),
        ({"prompt_tokens": 7, "completion_tokens": "3"}, (7, 3)),
        ({"prompt_tokens": None, "completion_tokens": -1}, (None, None)),
        ({"prompt_tokens": True, "completion_tokens": 2**40}, (None, None)),
        ("7", (None, None)),
    ],
)
def test_a_count_that_nobody_tells_is_none_and_never_zero(usage, tokens):
    found = read(body(usage=usage))
    assert (found.tokens_in, found.tokens_out) == tokens


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"choices": []}, "no choices"),
        ({"choices": ["x"]}, "the entry of `choices` is a text"),
        ({"choices": [{}]}, "the message is missing"),
        ({"choices": [{"message": []}]}, "the message is a list"),
        (body(7), "the content is a number"),
        (body([{"type": "image_url", "image_url": "x"}]), "a part of type image_url"),
        (body("half \ud83d"), "half a character"),
    ],
)
def test_an_odd_completion_is_unreadable_with_what_is_odd_and_with_its_price(answer, why):
    with pytest.raises(Unreadable, match=why) as caught:
        completion({**answer, "usage": {"prompt_tokens": 5, "completion_tokens": 2}}, "step")
    assert caught.value.tokens == (5, 2)
    caught.value.raw.encode()


def test_the_older_completions_shape_is_read_too():
    first = {
        "text": "B",
        "logprobs": {"top_logprobs": [{" B": math.log(0.7), "A": math.log(0.2)}]},
        "finish_reason": "stop",
    }
    found, choice = completion({"choices": [first]}, "step")
    odds = chosen(choice, ("A", "B"), None)
    assert found.text == "B" and odds is not None and odds.probabilities["B"] == pytest.approx(0.7 / 0.9)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 2_000, b"<html>", b"", b"7"])
def test_what_is_no_completion_may_pass_and_never_ends_the_program(content):
    with pytest.raises(PassingFault, match="no chat completion"):
        loaded(content, "there", lambda: "said")


def test_minus_infinity_and_nan_are_no_probability():
    told = b'{"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"top_logprobs": '
    told += (
        b'[{"token": "A", "logprob": -Infinity}, {"token": "C", "logprob": NaN}, {"token": "B", "logprob": -0.1}]}]}}]}'
    )
    _, first = completion(loaded(told, "there", str), "step")
    odds = chosen(first, ("A", "B"), None)
    assert odds is not None and odds.probabilities == {"A": 0.0, "B": 1.0}


def test_a_choice_that_the_model_did_not_mean_names_what_it_wanted():
    choice = Choice({"yes": 0.95, "no": 0.05}, 2e-7, 9, "", {"<think>": 0.9999})
    with pytest.raises(Unreadable) as caught:
        choice.meant("vote", "judge-8b")
    assert "judge-8b wanted to say '<think>' (0.9999); yes, no hold 2e-07 together" in caught.value.raw
    assert choice.meant("vote", "judge-8b", least=0) is choice


def test_a_recorded_reply_is_read_again_as_it_was():
    first = read(body("<think>Hmm</think>Yes.", reasoning_content="Before."))
    again = reply(first.sent, first.finish, (1, 1), reasoning=first.reasoning)
    assert (again.text, again.reasoning) == (first.text, first.reasoning) == ("Yes.", "Before.\n\nHmm")
