"""Preferences: pairs that the judge stands by in both orders; a judge that follows the place gives only ties."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks.mock_server import running
from generators.preferences import Preferences, preference
from seedbed.drafts import Unfinished
from seedbed.engines import Choice, Engines, Messages, ModelCard, Reply, Sampling
from seedbed.records import Answer, Draft, Leaf, Request, Seed, Turn, Unit
from seedbed.request_file import read_requests
from tests.scripted import Odds, Scripted
from tests.test_run import facts, recipe, seedbed, sql

ALPACA = Path(__file__).parents[2] / "shared" / "data" / "alpaca_eval" / "outputs.parquet"
FILE = Leaf(path="requests/a.jsonl", kind="requests", seeds=(), requests=(Request("Why?"), Request("How?")))


def places(messages: Messages) -> tuple[str, str]:
    """The answers in the first and in the second place, as the judge is shown them."""
    said = messages[-1]["content"]
    first = said.split("Answer A: ")[1].split("\nAnswer B: ")[0]
    return first, said.split("\nAnswer B: ")[1].rsplit("\n", 1)[0]


def longer_wins(messages: Messages) -> Odds:
    first, second = places(messages)
    return {"A": 0.8, "B": 0.2} if len(first) > len(second) else {"A": 0.2, "B": 0.8}


def first_place_wins(messages: Messages) -> Odds:
    return {"A": 0.9, "B": 0.1}


def judge(odds=longer_wins) -> Scripted:
    return Scripted({}, {"preference": odds})


def writer(name: str, *said: str) -> Scripted:
    return Named({"candidate": [Reply(text, 1, 1, call_id=f"{name}-{n}") for n, text in enumerate(said)]}, name=name)


class Named(Scripted):
    """A scripted model with a name of its own."""

    def __init__(self, says, name: str) -> None:
        super().__init__(says)
        self.name = name

    @property
    def card(self) -> ModelCard:
        return ModelCard("scripted", self.name, "1", "none")


def made(engines: Engines, leaf: Leaf = FILE, attempt: int = 0, spent: int = 0, **options) -> Draft:
    return asyncio.run(preference(Unit("r", "preferences", leaf, 0, attempt, spent), engines, Preferences(**options)))


def told(draft: Draft):
    return json.loads(draft.verdicts[-1].transcript or "")


def test_the_pair_is_the_best_and_the_worst_and_says_who_wrote_them_and_how_clear_it_was():
    pool = Engines(
        writer("small", "Short."), judge(), (writer("big", "A much longer answer."), writer("mid", "Middling."))
    )
    draft = made(pool)
    assert (draft.content.question, draft.content.answer, draft.content.rejected) == (
        "Why?",
        "A much longer answer.",
        "Short.",
    )
    [verdict] = draft.verdicts
    assert verdict.keep and verdict.score == pytest.approx(0.6) and verdict.threshold == 0.1
    assert draft.author == "big" and draft.kind == "preference" and draft.parents == ("requests/a.jsonl#0",)
    assert [c["model"] for c in told(draft)["candidates"]] == ["small", "big", "mid"]
    assert told(draft)["orders"] == pytest.approx([0.8, 0.8])
    assert set(draft.call_ids) == {"small-0", "big-0", "mid-0"} and len(verdict.call_ids) == 6, "each two, both ways"


def test_a_judge_that_always_picks_the_first_answer_gives_a_tie_and_no_pair():
    draft = made(Engines(writer("m", "One.", "Two!", "Three?"), judge(first_place_wins)))
    [verdict] = draft.verdicts
    assert not verdict.keep and verdict.reason == "tie: the order decides"
    assert verdict.score is None, "no threshold can make a pair of it afterwards"
    assert {draft.content.answer, draft.content.rejected} < {"One.", "Two!", "Three?"}, "kept apart, not thrown away"


def test_models_temperatures_and_principles_take_turns():
    one, two = writer("one", "1", "3"), writer("two", "2", "4")
    made(Engines(one, judge(), (two,)), candidates=4, temperatures=(0.1, 0.9), principles=("", "Be brief."))
    seen = [(call.sampling.temperature, call.messages[0]) for call in one.calls if call.sampling]
    assert [heat for heat, _ in seen] == [0.1, 0.1] and all(turn["role"] == "user" for _, turn in seen)
    assert all(call.messages[0] == {"role": "system", "content": "Be brief."} for call in two.calls)
    assert len({call.ordinal for call in [*one.calls, *two.calls]}) == 4, "each draw is its own"


def test_a_margin_that_is_too_small_is_no_pair_and_the_score_is_kept_for_another_threshold():
    def barely(messages: Messages) -> Odds:
        first, second = places(messages)
        return {"A": 0.52, "B": 0.48} if len(first) > len(second) else {"A": 0.48, "B": 0.52}

    [verdict] = made(Engines(writer("m", "a", "bb"), judge(barely)), candidates=2).verdicts
    assert not verdict.keep and verdict.reason == "margin below 0.1" and verdict.score == pytest.approx(0.04)


def test_cut_off_empty_and_twin_answers_are_no_candidates():
    replies = [Reply("cut", 1, 1, "length"), Reply(" ", 1, 1), Reply("Same  one", 1, 1), Reply("Same\none", 1, 1)]
    with pytest.raises(Unfinished, match="fewer than two whole, different answers") as failure:
        made(Engines(Scripted({"candidate": list(replies)}), judge()), candidates=4)
    assert failure.value.draft.parents == ("requests/a.jsonl#0",) and failure.value.draft.content.question == "Why?"


def test_answers_that_differ_in_case_only_are_different():
    draft = made(Engines(writer("m", "the answer", "The Answer"), judge()), candidates=2)
    assert {draft.content.answer, draft.content.rejected} == {"the answer", "The Answer"}


def test_a_failure_names_the_line_of_the_file_that_asked():
    asked = (Request("Why?", answers=(Answer("x"),), line=7),)
    leaf = Leaf(path="requests/a.jsonl", kind="requests", seeds=(), requests=asked)
    with pytest.raises(Unfinished) as failure:
        made(Engines(writer("m", "x"), judge()), leaf, candidates=2, requests="a.jsonl")
    assert failure.value.problem.raw.startswith("asked in line 7 of a.jsonl\n")  # type: ignore[union-attr]


def test_a_rubric_rates_each_answer_alone():
    def rates(messages: Messages) -> Odds:
        return {"5": 1.0} if "good" in messages[-1]["content"] else {"2": 1.0}

    draft = made(Engines(writer("m", "bad", "good", "poor"), judge(rates)), judge="rubric")
    assert (draft.content.answer, draft.content.rejected) == ("good", "poor")
    assert draft.verdicts[0].score == pytest.approx(3.0) and told(draft)["scores"] == [2.0, 5.0, 2.0]
    alike = made(Engines(writer("m", "a", "b", "c"), judge(rates)), judge="rubric")
    assert alike.verdicts[0].reason == "tie: rated alike" and alike.content.answer != alike.content.rejected


def test_recorded_answers_are_the_candidates_and_no_model_writes():
    answers = tuple(Answer(text, f"m{len(text)}") for text in ("a", "bb", "ccc", "dddd"))
    leaf = Leaf(path="requests/a.jsonl", kind="requests", seeds=(), requests=(Request("Q?", "", answers),))
    silent = Scripted()
    draft = made(Engines(silent, judge()), leaf, candidates=4)
    assert (draft.content.answer, draft.content.rejected) == ("dddd", "a") and draft.author == "m4"
    assert silent.calls == []


def test_a_request_with_one_answer_gets_others_written_beside_it():
    mixed = (
        Request("A?"),
        Request("B?", "", (Answer("Recorded, long.", "ann"),)),
        Request("C?", "", (Answer("1"), Answer("22"))),
    )
    leaf = Leaf(path="requests/a.jsonl", kind="requests", seeds=(), requests=mixed)
    for n, (written, candidates) in enumerate(((3, 3), (2, 3), (0, 2))):
        model = writer("m", "a", "bb", "ccc")
        unit = Unit("r", "preferences", leaf, n, 0)
        draft = asyncio.run(preference(unit, Engines(model, judge()), Preferences(candidates=3)))
        assert len(model.calls) == written and len(told(draft)["candidates"]) == candidates
        if n == 1:
            assert draft.content.answer == "Recorded, long." and draft.author == "ann"


def test_a_conversation_is_answered_as_it_is_and_kept_with_the_pair():
    turns = (Turn("system", "Be a pirate."), Turn("user", "Hi"), Turn("assistant", "Arr"), Turn("user", "Why?"))
    leaf = Leaf(path="requests/a.jsonl", kind="requests", seeds=(), requests=(Request("Why?", turns=turns),))
    model = writer("m", "a", "bb")
    draft = made(Engines(model, judge()), leaf, candidates=2, principles=("", "Be brief."))
    plain, led = (call.messages for call in model.calls)
    assert [turn["role"] for turn in plain] == ["system", "user", "assistant", "user"]
    assert plain[0]["content"] == "Be a pirate." and led[0]["content"] == "Be brief.\n\nBe a pirate."
    assert plain[1:] == led[1:]
    assert draft.content.turns == turns and [one.content for one in draft.content.responses] == ["bb", "a"]


def test_a_try_that_came_to_nothing_goes_on_to_another_request():
    engines = Engines(writer("m", "a", "bb"), judge())
    assert made(engines, attempt=1, spent=1, candidates=2, per_leaf=1).content.question == "How?"


def test_a_try_that_no_engine_answered_asks_the_same_request_again():
    engines = Engines(writer("m", "a", "bb"), judge())
    assert made(engines, attempt=1, spent=0, candidates=2, per_leaf=1).content.question == "Why?"


@pytest.mark.parametrize(("spent", "per_leaf"), [(2, 1), (1, 2), (1, 8)])
def test_where_the_file_has_no_request_left_the_row_is_dropped_for_that_and_no_model_is_asked(spent, per_leaf):
    draft = made(Engines(Scripted(), Scripted()), attempt=spent, spent=spent, per_leaf=per_leaf)
    [verdict] = draft.verdicts
    assert not verdict.keep and verdict.reason == "no request is left for this place" and draft.kind == "preference"


def test_without_a_file_the_request_is_a_new_one_of_the_leafs_skill_with_its_check():
    skill = Leaf(path="w", kind="skill", task="Explain.", seeds=(Seed("Why a?", "A."), Seed("Why b?", "B.")))
    model = Scripted({"question": ["Why c?"], "candidate": ["Because.", "It is so, as everyone knows."]})
    ruler = Scripted({}, {"question_check": [{"yes": 0.9, "no": 0.1}], "preference": longer_wins})
    draft = made(Engines(model, ruler), skill, candidates=2)
    assert draft.content.question == "Why c?" and [v.step for v in draft.verdicts] == ["question_check", "preference"]
    assert draft.content.answer == "It is so, as everyone knows." and draft.kind == "preference"


def test_a_run_of_preferences_is_a_version_of_pairs_that_trl_takes(tmp_path):
    home = tmp_path / "home"
    (tmp_path / "prompts.jsonl").write_text("".join(f'{{"prompt": "What is {n} plus {n}?"}}\n' for n in range(12)))
    with running() as base_url:
        wanted = [{"preferences": {"per_leaf": 20, "requests": "prompts.jsonl", "candidates": 3}}]
        found = facts("run", recipe(tmp_path, base_url, generate=wanted, taxonomy=None, curate=["rules"]), home=home)
    [leaf] = found["leaves"]
    assert leaf["target"] == 12, "a file has no more pairs to give than requests"
    rows = sql("SELECT outcome, judge, margin, orders, reason, chosen_model, chosen, rejected FROM preferences", home)
    assert len(rows) == 12 and {row["judge"] for row in rows} == {"mock"}
    assert all(row["reason"] for row in rows) and all(len(row["orders"]) == 2 for row in rows)
    assert all(row["margin"] is None for row in rows if row["outcome"] == "tie")
    pairs = [row for row in rows if row["outcome"] == "pair"]
    done = seedbed("export", "scripted", tmp_path / "pairs.jsonl", home=home)
    assert pairs and len(pairs) < 12, "this judge leans to the first place, and only some comparisons are decided"
    assert done.returncode == 0 and len((tmp_path / "pairs.jsonl").read_text().splitlines()) == len(pairs)
    [judged] = sql("SELECT compared, flip_rate FROM judges WHERE curator = 'preferences'", home)
    assert judged["compared"] == 36 and 0 <= judged["flip_rate"] <= 1


def test_no_request_of_a_file_is_kept_twice_however_often_its_places_are_tried(tmp_path):
    home = tmp_path / "home"
    asked = [
        {"prompt": f"Question {n}?", "output": f"{'long ' * (1 + (n * 7 + k * 3) % 5)}answer {n} {k}", "model": f"m{k}"}
        for n in range(12)
        for k in range(2)
    ]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    wanted = [{"preferences": {"per_leaf": 6, "requests": "prompts.jsonl", "candidates": 2}}]
    with running() as base_url:
        path = recipe(tmp_path, base_url, generate=wanted, taxonomy=None, curate=[{"coverage": {"attempts": 5}}])
        facts("run", path, home=home)
    rows = sql("SELECT question, status, reason, ordinal FROM samples", home)
    by_request: dict[str, set[int]] = {}
    for row in rows:
        by_request.setdefault(row["question"], set()).add(row["ordinal"])
    spent = by_request.pop("")
    assert len(spent) == sum(not row["question"] for row in rows), "and then no place is tried again"
    assert spent and {row["reason"] for row in rows if not row["question"]} == {"no request is left for this place"}
    assert len(by_request) > 6, "those that came to nothing had another request"
    assert all(len(places) == 1 for places in by_request.values()), "and none that another place has"
    kept = [row["question"] for row in rows if row["status"] == "kept"]
    assert kept and len(kept) == len(set(kept))


def test_a_request_that_the_judge_did_not_answer_for_is_judged_when_the_run_is_run_again(tmp_path):
    home = tmp_path / "home"
    asked = [{"prompt": f"{n}?", "output": f"Answer {k} of {n}."} for n in range(6) for k in range(2)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    wanted = [{"preferences": {"requests": "prompts.jsonl", "candidates": 2}}]
    for status in (500, 0):
        with running(status=status, fault_every=3) as base_url:
            model = {"retries": 0}
            path = recipe(tmp_path, base_url, generate=wanted, taxonomy=None, curate=["rules"], model=model)
            seedbed("run", path, home=home)
    rows = sql("SELECT question, status, attempt FROM samples WHERE status <> 'failed'", home)
    assert sorted(row["question"] for row in rows) == [f"{n}?" for n in range(6)]
    assert {row["attempt"] for row in rows} > {0}, "some were tried again"


@pytest.mark.skipif(not ALPACA.exists(), reason="needs the real answers in shared/data/alpaca_eval")
def test_on_real_answers_a_judge_that_knows_agrees_and_one_that_follows_the_place_makes_no_pair(tmp_path):
    import duckdb

    with duckdb.connect() as db:
        rows = db.execute(f"SELECT instruction, model, output, preference FROM '{ALPACA}'").fetchall()
    gold = {(q.strip(), a.strip()): p for q, _, a, p in rows if p is not None}
    requests = read_requests(ALPACA)
    assert len(requests) == 805 and {len(r.answers) for r in requests} <= {10, 11}
    leaf = Leaf(path="requests/alpaca", kind="requests", seeds=(), requests=requests[:60])

    class Knows:
        """Prefers what the recorded judge preferred, but leans to the first place by a tenth."""

        card = ModelCard("scripted", "knows", "1", "none")

        async def choose(self, messages, options, *, step) -> Choice:
            asked = messages[-1]["content"].split("Request: ", 1)[1].split("\nAnswer A: ")[0]
            first, second = (gold.get((asked, text), 1.5) for text in places(messages))
            p = min(max(0.6 + (first - second) / 2, 0.0), 1.0)
            return Choice({"A": p, "B": 1 - p}, 1.0, 1)

        async def chat(self, messages, sampling=Sampling(), *, step, ordinal=0, schema=None) -> Reply:
            raise AssertionError("the answers are there already")

    def all_of(ruler) -> list[Draft]:
        units = [Unit("r", "preferences", leaf, n, 0) for n in range(60)]
        work = [preference(unit, Engines(ruler, ruler), Preferences(candidates=4, per_leaf=60)) for unit in units]

        async def together() -> list[Draft]:
            return await asyncio.gather(*work)

        return asyncio.run(together())

    pairs = [draft for draft in all_of(Knows()) if draft.verdicts[-1].keep]
    assert len(pairs) > 30
    for pair in pairs:
        better, worse = (
            gold.get((pair.content.question, text), 1.5) for text in (pair.content.answer, pair.content.rejected)
        )
        assert better > worse
    blind = all_of(judge(first_place_wins))
    assert [draft.verdicts[-1].keep for draft in blind] == [False] * 60
    assert {draft.verdicts[-1].reason for draft in blind} == {"tie: the order decides"}
