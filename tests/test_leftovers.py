"""What a reader of replies should have taken out and did not: the net behind it, in `rules` and before a push."""

from __future__ import annotations

import pytest

from flows.publication import Publication
from flows.publish import build
from seedbed.prompts import fence
from seedbed.reasoning_marks import has_reasoning_mark
from tests.grown import PASSED, pairs, rows, sample, scored, stored
from tests.test_rules import ASKED, TOLD, judge

MARKS = [
    "<think>",
    "</think>",
    "<Think >",
    "< / THINK >",
    "<think/>",
    '<think budget="3">',
    "<thinking>",
    "</antThinking>",
    "<reasoning>",
    "<thought>",
    "<seed:think>",
    "</seed:think>",
    "[THINK]",
    "[/THINK]",
    "[REASONING]",
    "</reflection>",
    "<scratchpad>",
    "<inner_monologue>",
    "〈think〉",
    "<unused94>thought",
    "<|channel|>",
    "<|channel>",
    "<channel|>",
    "<|START_THINKING|>",
    "<|end_of_thought|>",
    "<\uff5cbegin\u2581of\u2581thinking\uff5c>",
    "◁think▷",
    "◁/think▷",
]
TERMS = Publication(license="cc-by-4.0", model_licences={"other-3b": "mit"})


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_of_reasoning_in_question_or_answer_drops_the_sample(mark):
    for question, answer in ((ASKED, f"Let me see. {mark} {TOLD}"), (f"{mark}\n{ASKED}", TOLD)):
        verdict = judge(question, answer)
        assert (verdict.keep, verdict.reason) == (False, "reasoning marks")


@pytest.mark.parametrize(
    "answer",
    [
        "Put it between `<think>` and `</think>`, the model's own marks.",
        "Write this:\n```xml\n<thinking>a plan</thinking>\n```\nThen go on.",
        "``Use <think> here``, as the manual says.",
        "I think > guess, and a < b; see [think tank], [Thinking] and <thinker>.",
        "An <i>idea</i> is a thought; the channel is open, and the reasoning is sound.",
    ],
)
def test_a_text_that_speaks_of_such_marks_as_code_is_kept(answer):
    assert judge("What does it do?", answer).keep


def test_an_unclosed_code_block_ends_where_the_text_does():
    assert not has_reasoning_mark("Run:\n```\n<think>") and has_reasoning_mark("a ` b </think> c")


def test_marks_of_reasoning_are_found_before_a_push_with_the_samples_that_hold_them(tmp_path):
    made = [*rows(3), *pairs(8, 2)]
    made += [(sample(4, answer="Well </think> yes."), (PASSED, scored(4)))]
    made += [(sample(5, answer="Write `<think>` there."), (PASSED, scored(4)))]
    made += [(sample(6, "preference", rejected="<|channel|>analysis"), (PASSED, scored(4)))]
    built = build(stored(tmp_path / "home", made), "desk", tmp_path / "tree", TERMS)
    told = [problem for problem in built.problems if "reasoning" in problem]
    assert len(told) == 2 and f"{4:020d}" in told[0] and f"{6:020d}" in told[1] and f"{5:020d}" not in str(told)


def test_a_delimiter_of_ours_in_a_text_drops_the_sample_wherever_it_stands():
    for mark in (fence("a"), "~1a2b3c4d"):
        assert judge(ASKED, f"{TOLD}\n{mark}").reason == "leaked prompt text in the answer"
        assert judge(f"{mark} {ASKED}", TOLD).reason == "leaked prompt text in the question"
    assert judge("How many?", "About ~12345678901234567890 grains, or ~/0123456789abcdef0123.").keep


@pytest.mark.parametrize(
    "answer",
    [
        "It is $\x0crac{1}{2}$ of it.",
        "So x = \x0crac12 holds.",
        "It holds \x0corall x in the set.",
        "Write \x0cbox{this} here.",
        "The sum is ($\x0coo$).",
        "Take $\x08eta$ for it.",
        "Write \x08egin{align} first.",
    ],
)
def test_latex_that_json_ate_is_broken(answer):
    assert judge(ASKED, answer).reason == "broken characters"


@pytest.mark.parametrize("text", ["First page, 12\n\x0cSecond page", "One\x0ctwo", "A\tb\r\n\tc\n\n\x0c\nlatter"])
def test_a_form_feed_between_pages_is_not(text):
    assert judge("What does it say?", "It says a lot of things.", context=text).keep
