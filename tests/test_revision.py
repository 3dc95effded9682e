"""Critique to revision: a pair only if the revision wins blind; what it broke is told beside what it mended."""

from __future__ import annotations

import asyncio
import json

import pytest

from benchmarks.mock_server import running
from curators.critique import Critique, critique
from curators.revision import pair_of
from seedbed.engines import Engines, Messages, Reply
from seedbed.records import Content, Sample, Verdict
from tests.scripted import Odds, Scripted
from tests.test_run import BALANCE, facts, recipe, sql

SAMPLE = Sample(
    sample_id="1",
    kind="instruction",
    method="skills",
    leaf="why",
    ordinal=0,
    attempt=0,
    content=Content(question="Why is ice cold?", answer="Ice."),
    model="writer",
)
REVISED = "Because it is frozen water."


def prefers(text: str):
    def odds(messages: Messages) -> Odds:
        first = messages[-1]["content"].split("Answer A: ")[1].split("\nAnswer B: ")[0]
        return {"A": 0.9, "B": 0.1} if first == text else {"A": 0.1, "B": 0.9}

    return odds


def judged(
    scores: tuple[float, float], better: str, said: str | Reply = REVISED, **options
) -> tuple[Verdict, Scripted]:
    """Scores before and after are of 1 and 5 in the proportion that gives them."""
    model = Scripted({"revise": [said]})
    ruler = Scripted(
        {"critique": ["It gives no reason.", "None."]},
        {
            "critique_score": [{"5": (s - 1) / 4, "1": (5 - s) / 4} for s in scores],
            "revision_compare": prefers(better),
        },
    )
    options = {"keep_at": 3.0, "revise_below": 5.0, **options}
    return asyncio.run(critique(SAMPLE, Engines(model, ruler), Critique(**options))), model


def told(verdict: Verdict):
    return json.loads(verdict.transcript or "")


def test_a_revision_that_wins_takes_the_answers_place_and_makes_a_pair():
    verdict, model = judged((2.0, 4.0), better=REVISED)
    assert verdict.keep and verdict.score == pytest.approx(4.0) and verdict.revision is not None
    assert verdict.revision.answer == REVISED and verdict.revision.orders == pytest.approx((0.9, 0.9))
    assert "It gives no reason." in model.calls[0].text and "Ice." in model.calls[0].text
    facts = told(verdict)
    assert facts["outcome"] == "won" and facts["fixed"] and not facts["broken"]
    pair, said = pair_of(SAMPLE, verdict, "2")
    assert (pair.content.answer, pair.content.rejected, pair.kind) == (REVISED, "Ice.", "preference")
    assert pair.parents == ("1",) and pair.derived == "critique" and said.score == pytest.approx(0.8)


def test_a_revision_that_loses_changes_nothing_and_what_it_broke_is_told():
    verdict, _ = judged((4.0, 2.0), better="Ice.")
    assert verdict.keep and verdict.score == pytest.approx(4.0) and verdict.revision is None
    facts = told(verdict)
    assert facts["outcome"] == "lost" and facts["broken"] and not facts["fixed"]
    assert (facts["before"], facts["after"]) == pytest.approx((4.0, 2.0))


def test_a_judge_that_follows_the_place_lets_no_revision_through():
    ruler = Scripted(
        {"critique": ["Bad.", "Good."]},
        {"critique_score": [{"1": 1.0}, {"5": 1.0}], "revision_compare": lambda _: {"A": 0.9, "B": 0.1}},
    )
    engines = Engines(Scripted({"revise": [REVISED]}), ruler)
    verdict = asyncio.run(critique(SAMPLE, engines, Critique(keep_at=3.0, revise_below=3.0)))
    assert not verdict.keep and verdict.revision is None and told(verdict)["outcome"] == "tie"


def test_better_but_still_poor_is_a_pair_and_no_sample():
    verdict, _ = judged((1.0, 2.0), better=REVISED)
    assert verdict.revision is not None and not verdict.keep and verdict.reason == "critique below 3"


@pytest.mark.parametrize(
    ("said", "outcome"),
    [("Ice.", "unchanged"), (" ", "unusable"), (Reply("Because it", 1, 9, "length"), "unusable")],
)
def test_what_is_no_revision_is_not_judged(said, outcome):
    verdict, _ = judged((2.0, 2.0), better=REVISED, said=said)
    assert told(verdict)["outcome"] == outcome and not verdict.keep
    assert (told(verdict)["after"] is None and "revise-1" in verdict.call_ids) or isinstance(said, Reply)


def test_good_answers_are_left_alone_and_without_the_option_all_are():
    ruler = Scripted({"critique": ["Fine.", "Fine."]}, {"critique_score": [{"5": 1.0}, {"1": 1.0}]})
    for options in (Critique(revise_below=4.0), Critique()):
        verdict = asyncio.run(critique(SAMPLE, Engines(Scripted(), ruler), options))
        assert told(verdict) == {"critique": "Fine."} and verdict.revision is None


def test_in_a_run_a_pair_ends_as_the_sample_with_its_chosen_answer_and_is_kept_where_none_has_it(tmp_path):
    home = tmp_path / "home"
    short = {"rules": {"max_words": 40}}  # the scripted model writes some 25 to 60
    curate = ["exact_duplicates", {"critique": {"keep_at": 3.5, "revise_below": 4.8}}, short]
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, per_leaf=90, curate=curate), home=home)
    ends = sql(
        "SELECT p.status, p.step, p.reason, s.status AS status_of_parent, s.step AS step_of_parent, "
        "s.reason AS reason_of_parent, s.answer = p.answer AS taken "
        "FROM samples p JOIN samples s ON s.sample_id = p.parents[1] WHERE p.kind = 'preference'",
        home,
    )
    assert sql("SELECT count(*) AS n FROM revisions WHERE outcome = 'won'", home) == [{"n": len(ends)}], "none is lost"
    seen = {end["step_of_parent"] for end in ends}
    assert {"", "critique", "rules"} <= seen, "some kept, some too poor even so, some that a later step drops"
    for end in ends:
        if end["step_of_parent"] == "critique":
            assert (end["status"], end["step"], end["reason"], end["taken"]) == ("kept", "", "", False)
        else:
            assert (end["status"], end["step"], end["reason"]) == tuple(
                end[f"{name}_of_parent"] for name in ("status", "step", "reason")
            )
            assert end["taken"]


def test_in_a_run_pairs_stand_beside_the_samples_the_books_balance_and_the_report_tells_fixes_and_breakages(tmp_path):
    home = tmp_path / "home"
    curate = ["exact_duplicates", "rules", {"critique": {"keep_at": 3.5, "revise_below": 4.8}}]
    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=24, curate=curate)
        found = facts("run", path, home=home)
        again = facts("run", path, home=home)
    assert sql(BALANCE, home) == [{"n": 0}] and again["run"]["made"] == found["run"]["made"]
    revisions = sql("SELECT outcome, fixed, broken, sample_id FROM revisions", home)
    won = [row for row in revisions if row["outcome"] == "won"]
    pairs = sql("SELECT sample_id, parents, answer, rejected FROM samples WHERE kind = 'preference'", home)
    assert won and {row["sample_id"] for row in won} == {pair["parents"][0] for pair in pairs}
    assert len(won) < len(revisions), "pairs come of those that won and of no others"
    parents = {row["sample_id"]: row for row in sql("SELECT sample_id, answer, step FROM samples", home)}
    for pair in pairs:
        parent = parents[pair["parents"][0]]
        taken = parent["step"] != "critique"  # which alone leaves the answer as it was, where it drops
        assert parent["answer"] == pair["answer" if taken else "rejected"]
    told = found["revisions"][0]
    assert told["tried"] == len(revisions) and told["won"] == len(won)
    assert (told["fixed"], told["broken"]) == tuple(sum(row[k] for row in revisions) for k in ("fixed", "broken"))
    wanted = sum(leaf["target"] for leaf in found["leaves"])
    assert sum(leaf["made"] for leaf in found["leaves"]) == wanted, "a pair fills no place of its leaf"
