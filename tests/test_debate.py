"""Debate: held only where it is in doubt, quotes checked, both orders, and everything of it kept."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from benchmarks.mock_server import running
from curators.debate import STRUCK, Debate, checked, debate
from seedbed.engines import Engines, Messages
from seedbed.records import Content, Sample, Verdict
from seedbed.replies import Unreadable
from tests.grown import sample, stored
from tests.scripted import Odds, Scripted
from tests.test_preferences import Named
from tests.test_run import facts, recipe, seedbed, sql

CONTENT = Content(question="When was it built?", answer="In 1850.", context="The mill was built in 1810 by monks.")
SAMPLE = Sample(sample_id="1", kind="knowledge", method="knowledge", leaf="mill", ordinal=0, attempt=0, content=CONTENT)
ARGUMENTS = {"for": "It answers. <quote>In 1850</quote>", "against": "Wrong: <quote>built in 1810</quote>"}


def argue(messages: Messages) -> str:
    return ARGUMENTS["against" if "is faulty" in messages[0]["content"] else "for"]


def truth_wins(messages: Messages) -> Odds:
    """The judge sides with whoever argues that the answer is faulty, in whatever place."""
    faulty_first = "A argues that the answer is faulty" in messages[0]["content"]
    return {"A": 0.8, "B": 0.2} if faulty_first else {"A": 0.2, "B": 0.8}


def opinions(good: float, faulty: float):
    def odds(messages: Messages) -> Odds:
        yes = good if "answer is good" in messages[0]["content"] else faulty
        return {"yes": yes, "no": 1 - yes}

    return odds


def judge(opinion=None, ruling=truth_wins, mendable: float = 0.0, **more) -> Scripted:
    return Scripted(
        {},
        {
            "debate_opinion": opinion or opinions(0.5, 0.5),
            "debate_ruling": ruling,
            "debate_decisive": lambda _: {"2": 0.7, "1": 0.3},
            "debate_mendable": lambda _: {"yes": mendable, "no": 1 - mendable},
            **more,
        },
    )


def heard(ruler: Scripted, model: Scripted | None = None, sample: Sample = SAMPLE, **options) -> Verdict:
    model = model or Scripted({"debate_argument": argue})
    return asyncio.run(debate(sample, Engines(model, ruler), Debate(**options)))


def told(verdict: Verdict):
    return json.loads(verdict.transcript or "")


@pytest.mark.parametrize(("opinion", "keep"), [((0.9, 0.1), True), ((0.1, 0.9), False)])
def test_where_the_cheap_judge_is_sure_nobody_debates(opinion, keep):
    ruler = judge(opinions(*opinion))
    verdict = heard(ruler)
    assert verdict.keep is keep and ruler.steps == ["debate_opinion"] * 2 and told(verdict)["turns"] == []


@pytest.mark.parametrize("opinion", [(0.55, 0.45), (0.9, 0.9)])
def test_where_it_is_unsure_or_contradicts_itself_there_is_a_debate(opinion):
    verdict = heard(judge(opinions(*opinion)))
    assert not verdict.keep and verdict.reason == "debate lost" and verdict.score == pytest.approx(0.2)
    facts = told(verdict)
    assert [(turn["round"], turn["side"]) for turn in facts["turns"]] == [
        (1, "for"),
        (1, "against"),
        (2, "for"),
        (2, "against"),
    ]
    assert facts["orders"] == pytest.approx([0.2, 0.2]) and "1810" in facts["decisive"]
    assert facts["outcome"] == "drop" and len(verdict.call_ids) == 2 + 4 + 2 + 2


def test_where_a_second_model_contradicts_there_is_a_debate():
    model = Named({"debate_argument": argue}, name="writer")
    model.chooses = {"debate_opinion": opinions(0.1, 0.9)}
    verdict = heard(judge(opinions(0.95, 0.05)), model)
    assert told(verdict)["turns"] and [o["model"] for o in told(verdict)["opinions"]] == ["scripted", "writer"]


@pytest.mark.parametrize(("sure", "held"), [(1.0, True), (0.99, False)])
def test_debate_on_everything_is_held_however_certain_the_judge_is(sure, held):
    verdict = heard(judge(opinions(1.0, 0.0)), sure=sure)
    assert bool(told(verdict)["turns"]) is held


def test_a_judge_that_follows_the_place_decides_nothing_and_the_sample_is_dropped():
    verdict = heard(judge(ruling=lambda _: {"A": 0.9, "B": 0.1}))
    assert not verdict.keep and verdict.reason == "debate undecided" and told(verdict)["decisive"] == ""


def test_the_judge_sees_the_debate_and_not_the_source_text():
    ruler = judge()
    heard(ruler)
    shown = [call.messages[-1]["content"] for call in ruler.calls if call.step == "debate_ruling"]
    assert len(shown) == 2 and all("by monks" not in text and '"built in 1810"' in text for text in shown)
    speakers = [[line[0] for line in text.splitlines() if line[:3] in ("A: ", "B: ")] for text in shown]
    assert speakers == [["A", "B"] * 2] * 2, "whoever is A speaks first, in either order"


def test_a_quote_that_is_not_in_the_text_is_struck_out():
    turn = checked("See <quote>BUILT  in 1810</quote> and <quote>in 1750</quote>, <quote>by monks", CONTENT, 1, "for")
    assert turn.quotes == ("BUILT  in 1810", "by monks") and turn.struck == ("in 1750",)
    assert STRUCK in turn.text and "1750" not in turn.text and "no quote" not in turn.text
    bare = checked("Believe me. <quote></quote>", CONTENT, 1, "for")
    assert bare.text.endswith("[no quote from the text]") and bare.quotes == ()


@pytest.mark.parametrize(
    ("said", "quotes", "struck"),
    [
        ('It says "built in 1999 by the king", see <quote>mill</quote>', ("mill",), ("built in 1999 by the king",)),
        ("It says “built in 1999”, »by him«, „by her“", (), ("built in 1999", "by him", "by her")),
        ("It says ``built in 1999''", (), ("built in 1999",)),
        ('It says "built in 1810."', ("built in 1810",), ()),
        ('<quote>"built in 1810"</quote> and "<quote>by monks</quote>"', ("built in 1810", "by monks"), ()),
        ('<Quote id="1">by monks</ quote > and </quote>', ("by monks",), ()),
        ("<quote>uilt in 18</quote>, <quote>built in 18</quote>", (), ("uilt in 18", "built in 18")),
        ("<quote>1810 by monks. When was</quote>", (), ("1810 by monks. When was",)),
        ("<quote>monks sang</quote>", (), ("monks sang",)),
    ],
)
def test_what_looks_quoted_is_in_the_text_word_for_word_or_struck_out(said, quotes, struck):
    turn = checked(said, CONTENT, 1, "for")
    assert (turn.quotes, turn.struck) == (quotes, struck)
    assert turn.text.count('"') == 2 * len(quotes) and all(f'"{quote}"' in turn.text for quote in quotes)
    assert not set("“”„»«<>`") & set(turn.text) and turn.text.count(STRUCK) == len(struck)
    assert ("no quote" in turn.text) == (not quotes)


def test_a_mark_without_its_other_is_no_quote():
    turn = checked('See <quote>by monks</quote>, and "built in 1999', CONTENT, 1, "for")
    assert turn.text == 'See "by monks", and built in 1999' and turn.struck == ()


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("It can't be so.", "it can", False),
        ("It can\u2019t be so.", "can't be", True),
        ("A non-fatal case.", "fatal case", False),
        ("It costs 1.5 euros.", "costs 1", False),
        ("It costs 1.5 euros.", "5 euros", False),
        ("He said “no”, twice.", 'said "no"', True),
        ("水车建于一八一零年。", "建于一八", True),
        ("The café's owner", "caf", False),
    ],
)
def test_words_are_whole_in_the_scripts_that_part_them(text, words, found):
    turn = checked(f"<quote>{words}</quote>", Content(answer=text), 1, "for")
    assert bool(turn.quotes) is found


def test_a_fault_that_can_be_mended_is_revised_and_the_revision_must_win_and_pass():
    def prefers_new(messages: Messages) -> Odds:
        new_first = "Answer A: In 1810." in messages[-1]["content"]
        return {"A": 0.9, "B": 0.1} if new_first else {"A": 0.1, "B": 0.9}

    def opinion(messages: Messages) -> Odds:
        good = "Answer: In 1810." in messages[-1]["content"]
        odds: Odds = opinions(*((0.9, 0.1) if good else (0.5, 0.5)))(messages)
        return odds

    model = Scripted({"debate_argument": argue, "revise": ["In 1810."]})
    verdict = heard(judge(opinion, mendable=0.9, revision_compare=prefers_new), model)
    assert verdict.keep and verdict.revision and verdict.revision.answer == "In 1810."
    assert told(verdict)["outcome"] == "revise" and told(verdict)["attempt"]["outcome"] == "won"
    assert "1810" in model.calls[-1].text, "it is told the argument that decided"
    model = Scripted({"debate_argument": argue, "revise": ["In 1810."]})
    lost = heard(judge(opinion, mendable=0.9, revision_compare=lambda _: {"A": 0.9, "B": 0.1}), model)
    assert not lost.keep and lost.reason == "debate lost, revision tie" and lost.revision is None
    model = Scripted({"debate_argument": argue, "revise": ["In 1810."]})
    faulty = heard(judge(mendable=0.9, revision_compare=prefers_new), model)
    assert told(faulty)["attempt"]["outcome"] == "won" and faulty.revision, "it wins, and the gate is as unsure of it"
    assert not faulty.keep and faulty.reason == "debate lost, revision faulty too"


def test_of_a_pair_two_debaters_argue_for_one_answer_each():
    content = replace(CONTENT, rejected="In 1810.")
    pair = SAMPLE.model_copy(update={"content": content, "kind": "preference"})

    def ruling(messages: Messages) -> Odds:
        return {"A": 0.8, "B": 0.2} if "A argues that answer 2" in messages[0]["content"] else {"A": 0.2, "B": 0.8}

    model = Scripted({"debate_argument": lambda _: "<quote>in 1810</quote>"})
    verdict = heard(judge(lambda _: {"A": 0.9, "B": 0.1}, ruling), model, pair)
    assert not verdict.keep and verdict.reason == "debate lost" and verdict.revision is None
    positions = {call.messages[0]["content"].split("argue that ")[1].split(".")[0] for call in model.calls}
    assert positions == {"answer 1 is the better one", "answer 2 is the better one"}


def test_one_round_needs_no_question_what_decided():
    ruler = judge()
    verdict = heard(ruler, rounds=1)
    assert "debate_decisive" not in ruler.steps and told(verdict)["decisive"].startswith("Wrong")


def test_a_ruling_stands_though_the_judge_names_no_argument_that_decided_it():
    def unread(_: Messages) -> Odds:
        raise Unreadable("debate_decisive", "the options hold too little", "")

    ruler = judge(debate_decisive=unread, mendable=1.0)
    verdict = heard(ruler)
    assert not verdict.keep and verdict.reason == "debate lost" and told(verdict)["decisive"] == ""
    assert "debate_mendable" not in ruler.steps, "no fault is known that it could be mended by"


def test_the_view_of_revisions_tells_of_those_that_debates_tried(tmp_path):
    attempt = {"revised": "In 1810.", "outcome": "won", "orders": [0.9, 0.8]}
    tries = [attempt, {**attempt, "outcome": "tie"}, {**attempt, "outcome": "unchanged", "orders": None}, None]
    made = []
    for n, one in enumerate(tries):
        facts = {"outcome": "revise" if one else "keep", "orders": [0.2, 0.1], "turns": [], "attempt": one}
        said = Verdict(step="debate", curator="debate", keep=n in (0, 3), call_ids=("c",), transcript=json.dumps(facts))
        made.append((sample(n), (said,)))
    found = stored(tmp_path / "home", made).rows(
        "SELECT outcome, revised, orders, curator, score_before, fixed, broken FROM revisions ORDER BY sample_id"
    )
    plain = {"revised": "In 1810.", "curator": "debate", "score_before": None, "fixed": False, "broken": False}
    assert found == [
        {"outcome": "won", "orders": [0.9, 0.8], **plain},
        {"outcome": "tie", "orders": [0.9, 0.8], **plain},
        {"outcome": "unchanged", "orders": None, **plain},
    ]


def test_in_a_run_the_view_tells_outcome_argument_and_tokens(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        facts("run", recipe(tmp_path, base_url, curate=["rules", {"debate": {"sure": 0.5}}]), home=home)
    rows = sql("SELECT * FROM debates", home)
    held = [row for row in rows if row["debated"]]
    assert held and len(held) < len(rows), "the gate lets some through without a debate"
    assert all(row["tokens_in"] > 0 and row["calls"] >= 2 for row in rows)
    mean = {flag: sum(r["tokens_in"] for r in rows if r["debated"] is flag) for flag in (True, False)}
    assert mean[True] / len(held) > 2 * mean[False] / (len(rows) - len(held)), "a debate is dear"
    decided = next(row for row in held if row["decisive"])
    shown = seedbed("why", decided["sample_id"], home=home)
    assert shown.returncode == 0 and "round 1, for:" in shown.stdout and "decided by" in shown.stdout
