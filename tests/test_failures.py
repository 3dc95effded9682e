"""Failures end where they belong: in their row, with cause and request; what was paid for is kept; the rest goes on."""

from __future__ import annotations

import pytest

from flows.doctor import examine
from seedbed.engines import EngineError
from seedbed.store import Store
from tests.answering import Answer, answering, chat, grown, kindly, last, odds, system
from tests.test_run import recipe, seedbed

TIPS = """\
task_description: Give a household tip.
seed_examples:
  - question: How do I keep bread fresh?
    answer: Keep it in a paper bag, away from sun and damp.
  - question: How do I get wax off a cloth?
    answer: Cool it with ice, scrape it off, then iron the rest into paper.
"""
FILTERED: tuple[int, Answer] = (
    400,
    {"error": {"message": "The prompt was filtered by our content management policy", "code": "content_filter"}},
)
ANTS = "What keeps ants out of a kitchen?"


@pytest.fixture
def tips(tmp_path):
    """A recipe of one leaf, for a server; what is given goes into it."""
    folder = tmp_path / "tax" / "compositional_skills" / "advice" / "tips"
    folder.mkdir(parents=True)
    (folder / "qna.yaml").write_text(TIPS)

    def make(server, per_leaf=6, curate=("rules",), **changes):
        model = {"model": "m", "retries": 0, "timeout": 5, **changes.pop("model", {})}
        told = {"taxonomy": str(tmp_path / "tax"), "curate": list(curate), **changes}
        return recipe(tmp_path, server.base_url, per_leaf, model=model, **told)

    return make


def rows(home, what, where="true"):
    return Store(home).rows(f"SELECT {what} FROM samples WHERE {where} ORDER BY position")


def refusing(words, answer):
    """The kind server, that gives this answer to every prompt in which these words stand."""
    return lambda request: answer if words in repr(request["messages"][1:]) else kindly(request)


def test_a_prompt_that_is_never_answered_fails_its_row_for_good_and_the_run_makes_its_version(tips, tmp_path):
    home = tmp_path / "home"
    with answering(refusing(ANTS, FILTERED)) as server:
        path = tips(server, per_leaf=12)
        first = grown(path, home)
        asked = len(server.asked)
        again = grown(path, home)
        assert len(server.asked) == asked, "what is refused for good is not asked again"
    assert first.status == "short" and first.version and again.version == first.version
    failed = rows(home, "reason, error, call_ids, question", "status = 'failed'")
    assert failed and failed[-1]["reason"] == "refused: prompt not allowed"
    assert all(row["question"] == ANTS and "content management policy" in str(row["error"]) for row in failed)
    [call] = Store(home).rows("SELECT DISTINCT prompt FROM calls WHERE call_id = ?", [failed[0]["call_ids"][-1]])
    assert ANTS in str(call["prompt"]), "the request that was refused is on the books"
    [funnel] = Store(home).rows("SELECT DISTINCT step, failed FROM funnel WHERE failed > 0 AND outcome = 'failed'")
    assert funnel == {"step": "skills", "failed": len(failed)}


def test_a_server_that_refuses_everything_has_refused_nothing_for_good(tips, tmp_path):
    home, open_for_business = tmp_path / "home", list[bool]()
    with answering(lambda request: kindly(request) if open_for_business else FILTERED) as server:
        path = tips(server)
        assert grown(path, home).status == "failed"
        open_for_business.append(True)
        assert grown(path, home).status == "done"


def test_a_row_that_the_server_dies_on_time_and_again_does_not_keep_the_run_from_its_version(tips, tmp_path):
    home = tmp_path / "home"
    with answering(refusing(ANTS, (500, {"error": "boom"}))) as server:
        path = tips(server, per_leaf=12)
        first = grown(path, home)
        assert first.status == "failed" and "tries them again" in first.message
        second = grown(path, home)
        asked = len(server.asked)
        assert second.status == "short" and second.version
        assert grown(path, home).version == second.version and len(server.asked) == asked


def test_a_judge_that_fails_for_a_while_costs_no_answer_that_was_paid_for(tips, tmp_path):
    down = [3]

    def script(request):
        if request.get("logprobs") and "You rate answers" in system(request) and down[0]:
            down[0] -= 1
            return 500, {"error": "busy elsewhere"}
        return kindly(request)

    with answering(script) as server:
        outcome = grown(tips(server, per_leaf=8), tmp_path / "home")
        written = [*server.bodies("You write requests"), *server.bodies("Answer correctly")]
    assert outcome.status == "done"
    assert len(written) == len(set(written)) == 16, "each is asked for once"


def test_a_judge_that_fails_leaves_what_was_written_in_the_failed_row(tips, tmp_path):
    home = tmp_path / "home"

    def deaf(request):
        if request.get("logprobs") and "from 1 to 5" in system(request):
            return odds({"<think>": 0.999, "5": 1e-7})
        return kindly(request)

    with answering(deaf) as server:
        outcome = grown(tips(server, per_leaf=4, curate=["rules", "critique"]), home)
    assert outcome.status == "failed"
    failed = rows(home, "question, answer, reason, error, call_ids", "status = 'failed'")
    assert len(failed) == 4 and all(row["question"] and row["answer"] for row in failed)
    assert "m wanted to say '<think>'" in failed[0]["error"]


NOISE = {"yes": 2e-7, "no": 1e-8, "1": 1e-8, "3": 2e-7, "5": 3e-7, "2": 1e-8, "A": 2e-7, "B": 1e-8, "<think>": 0.9999}


def test_a_judge_that_does_not_judge_keeps_nothing_and_is_named_in_the_first_batch(tips, tmp_path):
    with answering(lambda r: odds(NOISE) if r.get("logprobs") else kindly(r)) as server:
        done = seedbed("run", tips(server, per_leaf=40, curate=["rules", "critique"]), home=tmp_path / "home")
        assert len(server.asked) < 3 * 40, "it stops with its first batch"
    assert done.returncode == 1
    assert "m wanted to say '<think>' (0.9999)" in done.stderr and "thinking: false" in done.stderr
    assert rows(tmp_path / "home", "1 AS one", "status = 'kept'") == []


def test_doctor_finds_with_one_question_what_would_spoil_a_run(tips, tmp_path):
    def thinking(request):
        return odds(NOISE) if request.get("logprobs") else chat("<think>The user asks whether", "length", (20, 64))

    with answering(thinking) as server:
        found = {check.name: check for check in examine(tmp_path / "home", tips(server))}
    assert (
        not found["model"].ok and "still thinking" in found["model"].seen and "thinking: false" in found["model"].remedy
    )
    assert not found["judge"].ok and "m wanted to say '<think>'" in found["judge"].seen
    with answering() as server:
        found = {check.name: check for check in examine(tmp_path / "home", tips(server))}
    assert found["model"].ok and found["judge"].ok and "hold 0.99 of the probability" in found["judge"].seen


def test_a_run_that_keeps_nothing_makes_no_version_and_says_why(tips, tmp_path):
    with answering() as server:
        outcome = grown(tips(server, curate=[{"rules": {"max_words": 1}}]), tmp_path / "home")
    assert (outcome.status, outcome.version) == ("failed", "")
    assert "no row was kept, so there is no version: 6 x rules: answer over 1 words" in outcome.message
    assert Store(tmp_path / "home").rows("SELECT 1 AS one FROM versions") == []


SORRY = "I'm sorry, but I can't assist with that request."


def test_a_revision_passes_the_gates_that_its_words_have_not_passed(tips, tmp_path):
    def script(request):
        asked = system(request)
        if "You correct answers" in asked:
            return chat(SORRY)
        if request.get("logprobs") and "letter only" in asked:  # the revision wins in both orders
            return odds({"A": 0.95, "B": 0.04} if f"Answer A: {SORRY}" in last(request) else {"B": 0.95, "A": 0.04})
        if request.get("logprobs") and "from 1 to 5" in asked:
            return odds({"5": 0.95} if SORRY in last(request) else {"1": 0.95})
        return kindly(request)

    home = tmp_path / "home"
    with answering(script) as server:
        outcome = grown(tips(server, curate=["rules", {"critique": {"revise_below": 3.0}}]), home)
    assert outcome.status == "failed", "nothing of it is kept"
    assert rows(home, "DISTINCT step, reason, status", "kind = 'instruction'") == [
        {"step": "rules-again", "reason": "refusal", "status": "dropped"}
    ]
    assert rows(home, "DISTINCT status", "kind = 'preference'") == [{"status": "dropped"}], "its pair falls with it"


def test_a_revision_that_passes_is_checked_by_the_generators_own_check_too(tips, tmp_path):
    better = "Rinse it with vinegar, then with water."

    def script(request):
        asked = system(request)
        if "You correct answers" in asked:
            return chat(better)
        if request.get("logprobs") and "letter only" in asked:
            return odds({"A": 0.95, "B": 0.04} if f"Answer A: {better}" in last(request) else {"B": 0.95, "A": 0.04})
        if request.get("logprobs") and "from 1 to 5" in asked:
            return odds({"5": 0.95} if better in last(request) else {"1": 0.95})
        return kindly(request)

    home = tmp_path / "home"
    with answering(script) as server:
        assert grown(tips(server, curate=["rules", {"critique": {"revise_below": 3.0}}]), home).version
    said = Store(home).rows("SELECT DISTINCT step FROM verdicts WHERE ends_with(step, '-again') ORDER BY step")
    assert [row["step"] for row in said] == ["answer_check-again", "rules-again"]


def test_a_budget_that_cannot_be_kept_says_so_at_the_first_answer(tips, tmp_path):
    def silent(request):
        return {**kindly(request), "usage": None}

    with answering(silent) as server:
        outcome = grown(tips(server, budget={"tokens": 10_000}), tmp_path / "home")
        asked = len(server.asked)
        free = grown(tips(server, name="free"), tmp_path / "home")
    assert outcome.status == "failed" and asked == 1
    assert "a budget of 10,000 tokens cannot be kept" in outcome.message and "minutes" in outcome.message
    assert free.status == "done"
    [run] = Store(tmp_path / "home").rows("SELECT tokens_in, tokens_out, unmetered FROM runs WHERE recipe = 'free'")
    assert run["tokens_in"] is None and run["tokens_out"] is None and int(str(run["unmetered"])) > 10


def test_new_weights_behind_an_old_name_are_told_and_old_answers_stay(tips, tmp_path):
    home, weights = tmp_path / "home", ["m-2025"]

    def script(request):
        return {**kindly(request), "model": weights[0]}

    with answering(script) as server:
        path = tips(server)
        assert not grown(path, home).progress.notices
        weights[0] = "m-2026"
        asked = len(server.asked)
        outcome = grown(tips(server, per_leaf=7), home)
    assert len(server.asked) - asked < 6, "six rows are there already"
    assert [notice for notice in outcome.progress.notices if "m is m-2026 by now, and was m-2025" in notice]


CRASHING = """\
from pydantic import BaseModel

from flows.methods import Judge
from seedbed.records import Verdict


class Options(BaseModel):
    pass


async def crash(sample, engines, options):
    if "kettle" in sample.content.question:
        raise ZeroDivisionError("one by nothing")
    return Verdict(step="crash", curator="crash", keep=True)


JUDGE = Judge(Options, crash)
"""


def test_a_bug_in_a_method_costs_its_row_and_is_kept_with_its_traceback(tips, tmp_path):
    package = tmp_path / "site"
    (package / "crashing-1.dist-info").mkdir(parents=True)
    (package / "crashing.py").write_text(CRASHING)
    (package / "crashing-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: crashing\nVersion: 1\n")
    (package / "crashing-1.dist-info" / "entry_points.txt").write_text("[seedbed.curators]\ncrash = crashing:JUDGE\n")
    home, more = tmp_path / "home", {"PYTHONPATH": f"{package}:{__file__.rsplit('/tests/', 1)[0]}"}
    with answering() as server:
        done = seedbed("run", tips(server, per_leaf=12, curate=["rules", "crash"]), home=home, **more)
    assert done.returncode == 0, done.stderr
    failed = rows(home, "reason, error", "status = 'failed'")
    assert failed and {row["reason"] for row in failed} == {"a bug: ZeroDivisionError: one by nothing"}
    assert "crashing.py" in failed[0]["error"] and "Traceback" in failed[0]["error"]


@pytest.mark.parametrize(
    "nasty", ['{"question": ' + "[" * 1000, "{" * 50_000, '{"question": "q", "answer": "\\ud800"}']
)
def test_no_answer_stops_a_run(tips, tmp_path, nasty):
    (tmp_path / "page.md").write_text("The quay was built in 1850. It has two cranes and a lighthouse.")
    sound, seen = '{"question": "When was the quay built?", "answer": "In 1850."}', []

    def script(request):
        if "You write one question" in system(request):
            seen.append(1)
            return chat(nasty if len(seen) % 2 else sound)
        return kindly(request)

    with answering(script) as server:
        wanted = [{"knowledge": {"per_leaf": 6, "documents": "page.md"}}]
        outcome = grown(tips(server, generate=wanted, taxonomy=None), tmp_path / "home")
    assert outcome.version and outcome.progress.failed == outcome.progress.kept == 3


def test_an_engine_error_has_a_kind_that_groups():
    assert EngineError("HTTP 500 at 12:01\nmore").kind == "HTTP 500 at 12:01"
