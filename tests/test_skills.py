import asyncio
import random
from dataclasses import replace
from typing import Never

import pytest

from generators.skills import Skills, answer_cases, leaves, question_cases, sample_seeds, skill
from seedbed.drafts import Unfinished
from seedbed.engines import Engines, Messages, Reply
from seedbed.records import Draft, Leaf, Seed, Unit
from seedbed.replies import Unreadable
from tests.scripted import Line, Odds, Scripted

WHY = Leaf(
    path="reasoning/why",
    kind="skill",
    task="Answer a why question.",
    seeds=tuple(Seed(f"Why seed question {n}?", f"Because of seed answer {n}.") for n in range(6)),
)
POLITE = Leaf(
    path="writing/polite",
    kind="skill",
    task="Make it polite.",
    seeds=tuple(Seed(f"Polite question {n}?", f"Polite answer {n}.", f"Blunt text {n}.") for n in range(5)),
)
YES, NO = {"yes": 0.9, "no": 0.1}, {"yes": 0.4, "no": 0.6}


def unit(leaf: Leaf = WHY, attempt: int = 0) -> Unit:
    return Unit("recipe", "skills", leaf, 0, attempt, spent=attempt)


def model(**changes) -> Scripted:
    says: dict[str, list[Line]] = {
        "context": ["New text."],
        "question": ["Why is it so?"],
        "answer": ["Because it is."],
    }
    chooses: dict[str, list[Odds]] = {"question_check": [YES], "answer_check": [{"3": 0.6, "1": 0.4}]}
    for step, script in changes.items():
        (says if step in says else chooses)[step] = script
    return Scripted(says, chooses)


def made(engine: Scripted, leaf: Leaf = WHY, attempt: int = 0) -> Draft:
    return asyncio.run(skill(unit(leaf, attempt), Engines(engine, engine), Skills()))


def test_a_sample_that_passes_carries_its_text_its_parents_and_its_calls():
    engine = model()
    draft = made(engine)
    assert (draft.content.question, draft.content.answer) == ("Why is it so?", "Because it is.")
    assert engine.steps == ["question", "question_check", "answer", "answer_check"]
    assert [verdict.keep for verdict in draft.verdicts] == [True, True]
    assert draft.verdicts[1].score == pytest.approx(2.2)
    assert draft.call_ids == ("question-1", "answer-3")
    assert draft.verdicts[0].call_ids == ("question_check-2",)
    assert len(draft.parents) == 3 and all(parent.startswith("reasoning/why#seed") for parent in draft.parents)


def test_a_grounded_leaf_gets_a_text_of_its_own_first():
    engine = model()
    draft = made(engine, POLITE)
    assert engine.steps[0] == "context" and draft.content.context == "New text."
    assert all("New text." in call.text for call in engine.calls[1:])


@pytest.mark.parametrize("leaf", [WHY, POLITE])
def test_examples_come_from_the_units_own_leaf_and_are_those_it_names(leaf):
    engine = model()
    draft = made(engine, leaf)
    asked = next(call for call in engine.calls if call.step == "answer")
    shown = {f"{leaf.path}#seed{n}" for n, seed in enumerate(leaf.seeds) if seed.answer in asked.text}
    assert shown == set(draft.parents)
    other = POLITE if leaf is WHY else WHY
    assert not any(seed.question in call.text for call in engine.calls for seed in other.seeds)


def test_the_draw_decides_the_examples_and_goes_along_as_ordinal():
    parents = {made(model(), attempt=attempt).parents for attempt in range(6)}
    assert len(parents) > 1
    assert made(model()).parents == made(model()).parents
    engine = model()
    made(engine)
    assert [call.ordinal for call in engine.calls if not call.options] == [unit().draw] * 2


@pytest.mark.parametrize(
    ("change", "steps", "reason"),
    [
        ({"question_check": [NO]}, ["question", "question_check"], "question fails its check"),
        (
            {"answer_check": [{"1": 0.6, "3": 0.4}]},
            ["question", "question_check", "answer", "answer_check"],
            "answer fails its check",
        ),
        ({"question": ["  why SEED\nquestion 4? "]}, ["question"], "copies an example"),
        ({"question": [Reply("Why is", 1, 64, "length")]}, ["question"], "question cut off at 64 tokens"),
        ({"answer": ["why is it SO?"]}, ["question", "question_check", "answer"], "answer repeats the question"),
        (
            {"answer": [Reply("Bec", 1, 160, "length")]},
            ["question", "question_check", "answer"],
            "answer cut off at 160 tokens",
        ),
    ],
)
def test_the_first_failing_verdict_ends_the_sample_and_nothing_more_is_spent(change, steps, reason):
    engine = model(**change)
    draft = made(engine)
    assert engine.steps == steps
    assert draft.verdicts[-1].reason == reason
    assert [verdict.keep for verdict in draft.verdicts] == [True] * (len(draft.verdicts) - 1) + [False]


@pytest.mark.parametrize("step", ["context", "question", "answer"])
def test_an_empty_answer_is_unreadable(step):
    with pytest.raises((Unreadable, Unfinished), match=f"{step}: empty answer"):
        made(model(**{step: [" \n"]}), POLITE)


@pytest.mark.parametrize(("step", "kept"), [("question", "New text."), ("question_check", "Why is it so?")])
def test_what_was_written_goes_along_with_what_failed_after_it(step, kept):
    failing = Unreadable(step, "it says nothing", "raw")

    def fails(messages: Messages) -> Never:
        raise failing

    with pytest.raises(Unfinished) as caught:
        made(model(**{step: fails}), POLITE)
    assert caught.value.problem is failing
    draft = caught.value.draft
    assert kept in (draft.content.question, draft.content.context) and draft.call_ids and draft.parents


def test_the_longest_example_makes_room_for_answers_like_it():
    engine, long = model(), "word " * 600
    made(engine, replace(WHY, seeds=(*WHY.seeds, Seed("Why at length?", long))))
    room = {call.step: call.sampling.max_tokens for call in engine.calls if call.sampling}
    assert room["answer"] >= len(long) // 2 and room["question"] < 1000


def test_a_text_that_copies_a_seeds_text_costs_one_call():
    engine = model(context=["blunt  text 2."])
    draft = made(engine, POLITE)
    assert engine.steps == ["context"] and draft.verdicts[-1].reason == "copies an example"


def test_the_checks_begin_alike_for_every_sample_of_a_leaf_and_end_with_what_is_judged():
    first, second = model(), model(question=["Why, though?"], answer=["So it goes."])
    made(first), made(second, attempt=1)
    for step, end in (("question_check", "Why, though?"), ("answer_check", "So it goes.")):
        one, other = (next(c for c in engine.calls if c.step == step) for engine in (first, second))
        assert one.messages[:-1] == other.messages[:-1]
        assert end in other.messages[-1]["content"]


def test_worked_examples_of_the_checks_are_right_or_spoilt_as_labelled():
    own = {seed.question: seed.answer for seed in WHY.seeds}
    for case in answer_cases(WHY.seeds):
        assert (case.answer == own[case.question]) == (case.label == "3")
    assert {case.label for case in answer_cases(WHY.seeds)} == {"1", "3"}
    for case in question_cases(WHY.seeds, 3):
        assert (case.question in own) == (case.label == "yes")


def test_long_seeds_are_shown_one_at_a_time():
    long = [Seed("q" * 2000, "a") for _ in range(4)]
    assert len(sample_seeds(long, 3, random.Random(1))) == 1


def test_only_skill_leaves_are_filled():
    fact = Leaf(path="knowledge/x", kind="knowledge", seeds=WHY.seeds)
    assert leaves([WHY, fact, POLITE], Skills()) == [WHY, POLITE]
