"""What a server's log-probabilities come to: the odds of each option, and what it is where they tell nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import orjson
import pytest

from benchmarks.mock_server import running
from seedbed.engines import EngineError
from seedbed.records import Message
from seedbed.replies import Unreadable
from tests.test_http import choose, completion, once, talk, top


def test_choose_sums_the_tokens_that_mean_an_option():
    tokens = [("yes", 0.4), (" yes", 0.1), ("Yes", 0.1), ("▁y", 0.1), ("ĠNO", 0.1), ("maybe", 0.1), (" ", 0.05)]
    choice, seen, _ = talk(lambda: completion("yes", top(*tokens)), call=choose("yes", "no"))
    assert choice.probabilities == pytest.approx({"yes": 0.7 / 0.8, "no": 0.1 / 0.8})
    assert choice.mass == pytest.approx(0.8)
    sent = orjson.loads(seen[0][1])
    assert (sent["max_tokens"], sent["temperature"], sent["logprobs"], sent["top_logprobs"]) == (1, 0, True, 20)


@pytest.mark.parametrize(
    ("options", "tokens", "expected"),
    [
        (("accept", "accurate"), {"acc": 0.5, "acce": 0.3, "accurate": 0.1, "accurately": 0.1}, [0.3, 0.1]),
        (("A", "a"), {"a": 0.2, "A": 0.6, "B": 0.2}, [0.6, 0.2]),
        (("1", "10"), {"1": 0.1, "10": 0.2, "100": 0.7}, [0.1, 0.2]),
        (("yes",), {"yes": 0.5, " ": 0.5}, [0.5]),
    ],
)
def test_choose_leaves_out_what_could_be_two_options(options, tokens, expected):
    choice, _, _ = talk(lambda: completion("", top(*tokens.items())), call=choose(*options))
    assert [p * choice.mass for p in choice.probabilities.values()] == pytest.approx(expected)


@pytest.mark.parametrize("logprobs", [None, {}, {"content": []}, {"content": [{"top_logprobs": []}]}])
def test_no_logprobs_is_named(logprobs):
    error, seen, _ = talk(lambda: completion("yes", logprobs), call=choose("yes", "no"))
    assert isinstance(error, EngineError) and len(seen) == 1
    assert "an answer without log-probabilities" in str(error) and "judge: {engine" in str(error)


@pytest.mark.parametrize("silent", [completion, lambda: completion("", None)])
def test_one_answer_without_logprobs_of_a_server_that_tells_them_costs_its_row_only(silent):
    async def twice(engine):
        with suppress(Unreadable):
            await choose("yes", "no")(engine)
        return await choose("yes", "no")(engine)

    odds = lambda: completion("yes", top(("yes", 0.9)))  # noqa: E731
    told, _, _ = talk(odds, silent, call=twice)
    assert isinstance(told, Unreadable) and told.why == "no log-probabilities"
    told, _, _ = talk(lambda: completion("", None), odds, call=twice)
    assert told.probabilities["yes"] == 1, "what has no words says nothing of the server"


def test_no_option_among_the_likely_answers_is_unreadable():
    choice, _, _ = talk(lambda: completion("Well", top(("Well", 0.9), ("Hm", 0.1))), call=choose("A", "B"))
    assert choice.mass == 0 and choice.probabilities == {"A": 0, "B": 0}
    with pytest.raises(Unreadable) as caught:
        choice.meant("judge", "mock")
    assert "mock wanted to say 'Well' (0.9), 'Hm' (0.1)" in caught.value.raw and caught.value.step == "judge"
    assert "thinking: false" in caught.value.remedy and "judge:" in caught.value.remedy


def test_the_mock_judges_mostly_kindly():
    async def judge(engine):
        asked = ([Message(role="user", content=f"Is {n} good?")] for n in range(200))
        return await asyncio.gather(*(engine.choose(m, ["yes", "no"], step="j") for m in asked))

    with running() as url:
        verdicts = once(url, judge)
    assert 150 < sum(choice.probabilities["yes"] > 0.5 for choice in verdicts) < 190
    assert all(choice.mass > 0.9 for choice in verdicts)
