"""A judge that answers in prose, on answers of eleven real models: it decides nothing, and is named at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seedbed.store import Store
from tests.answering import answering, kindly, odds
from tests.test_run import recipe, seedbed

OUTPUTS = Path(__file__).parent.parent.parent / "shared" / "data" / "alpaca_eval" / "outputs.parquet"
IN_PROSE = {"Both": 0.6, "The": 0.3996, "A": 1.6e-4, "B": 4e-5}
LEANING = {"A": 0.97, "B": 0.02}


@pytest.fixture
def answers(tmp_path):
    """Forty requests with the answers of all eleven models, as a file of requests."""
    if not OUTPUTS.exists():
        pytest.skip("shared/data/alpaca_eval is not there")
    import duckdb

    found = (
        duckdb.connect()
        .execute(
            f"SELECT instruction, output, model AS generator FROM read_parquet('{OUTPUTS}') WHERE instruction IN "
            f"(SELECT DISTINCT instruction FROM read_parquet('{OUTPUTS}') ORDER BY instruction LIMIT 40)"
        )
        .fetchall()
    )
    path = tmp_path / "answers.jsonl"
    names = ("instruction", "output", "generator")
    path.write_text("".join(f"{json.dumps(dict(zip(names, row, strict=True)))}\n" for row in found))
    return path


@pytest.mark.parametrize(("judge", "how"), [("pairwise", IN_PROSE), ("rubric", {**IN_PROSE, "5": 2e-4, "1": 1e-5})])
def test_of_recorded_answers_of_eleven_models_a_judge_in_prose_keeps_no_pair(tmp_path, answers, judge, how):
    home = tmp_path / "home"
    with answering(lambda request: odds(how) if request.get("logprobs") else kindly(request)) as server:
        wanted = [{"preferences": {"requests": answers.name, "per_leaf": 40, "candidates": 3, "judge": judge}}]
        path = recipe(
            tmp_path, server.base_url, model={"model": "prose-70b"}, generate=wanted, taxonomy=None, curate=[]
        )
        done = seedbed("run", path, home=home)
    assert done.returncode == 1
    assert "prose-70b wanted to say 'Both' (0.6), 'The' (0.3996)" in done.stderr
    assert "thinking: false" in done.stderr and "`judge:`" in done.stderr
    store = Store(home)
    assert store.rows("SELECT 1 AS one FROM samples WHERE status = 'kept'") == []
    assert store.rows("SELECT 1 AS one FROM versions") == []


def test_the_same_answers_make_ties_of_a_judge_that_follows_the_place(tmp_path, answers):
    with answering(lambda request: odds(LEANING) if request.get("logprobs") else kindly(request)) as server:
        wanted = [{"preferences": {"requests": answers.name, "per_leaf": 8, "candidates": 2}}]
        path = recipe(tmp_path, server.base_url, generate=wanted, taxonomy=None, curate=[])
        seedbed("run", path, home=tmp_path / "home")
    reasons = Store(tmp_path / "home").rows("SELECT DISTINCT reason FROM samples")
    assert reasons == [{"reason": "tie: the order decides"}]
