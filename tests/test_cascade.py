"""A cascade: cheap judges end what is clear, dearer ones see the rest, and the books show price and yield of each."""

from __future__ import annotations

import pytest

from benchmarks.mock_server import running
from tests.test_run import facts, recipe, seedbed, sql, stats

CASCADE = [
    "rules",
    "exact_duplicates",
    {"glance": {"drop_below": 0.2, "sure_at": 0.85}},
    {"critique": {"keep_at": 3.5}},
]


def grown(tmp_path, base_url, name, curate):
    home = tmp_path / "home"
    found = facts("run", recipe(tmp_path, base_url, per_leaf=16, name=name, curate=curate), home=home)
    assert found["status"] in ("done", "short")
    return {row["step"]: row for row in sql(f"FROM costs WHERE run_id = '{found['run']['run_id']}'", home)}


def test_what_a_glance_settles_no_dearer_judge_is_asked_about(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        costs = grown(tmp_path, base_url, "cascade", CASCADE)
    unasked = sql("SELECT * FROM verdicts WHERE step = 'critique'", home)
    assert unasked and all(row["reason"] == "settled by glance" and not row["call_ids"] for row in unasked)
    assert "critique" not in costs, "the scripted judge is always sure"
    glance = costs["glance"]
    assert glance["rows"] == glance["calls"] and glance["dropped"] > 0
    assert glance["yield"] == pytest.approx(glance["dropped"] / glance["rows"])
    assert glance["tokens_per_drop"] == pytest.approx((glance["tokens_in"] + glance["tokens_out"]) / glance["dropped"])
    assert costs["rules"]["calls"] == 0 and costs["rules"]["rows"] > 0


def test_what_a_glance_leaves_open_goes_on_and_each_step_is_priced(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        open_ = [*CASCADE[:2], {"glance": {"drop_below": 0.2, "sure_at": 1.0}}, {"critique": {"sure_at": 4}}, "debate"]
        costs = grown(tmp_path, base_url, "open", open_)
    assert costs["critique"]["rows"] == costs["glance"]["rows"] - costs["glance"]["dropped"]
    assert costs["critique"]["calls"] == 2 * costs["critique"]["rows"]
    assert "debate" not in costs, "the critique settled what it kept"
    spent = sql("SELECT sum(c.calls) = (SELECT count(*) FROM calls) AS same FROM costs c", home)
    assert spent == [{"same": True}], "every call stands under exactly one step"


def test_a_version_under_another_threshold_keeps_what_was_settled(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        grown(tmp_path, base_url, "cascade", CASCADE)
        before = stats(base_url)["requests"]
        assert seedbed("refilter", "cascade", "glance=0.95", home=home).returncode == 0
        assert stats(base_url)["requests"] == before
    kept = sql("SELECT kept FROM runs", home)[0]["kept"]
    samples = [row["samples"] for row in sql("SELECT samples FROM versions ORDER BY created_at", home)]
    assert samples[0] == kept > 0 and samples[-1] == 0 and set(samples) == {kept, 0}


def test_a_glance_whose_bounds_cross_is_refused(tmp_path):
    with running() as base_url:
        path = recipe(tmp_path, base_url, curate=[{"glance": {"drop_below": 0.9, "sure_at": 0.5}}])
        done = seedbed("run", path, home=tmp_path / "home")
    assert done.returncode == 2 and "drop_below is over sure_at" in done.stderr
