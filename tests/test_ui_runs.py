"""The page of runs: one that is at work tells its pace, one that was killed how it goes on."""

from __future__ import annotations

import re

import pytest

from seedbed.journal import lease
from tests.handmade import twenty
from tests.test_ui import opened, shown


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A run of twenty samples, five of them kept, that says it is running."""
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path))
    monkeypatch.setenv("SEEDBED_REVIEWER", "anna")
    made = twenty(tmp_path)
    with made.writing() as db:
        db.execute("UPDATE base.runs SET status = 'running'")
    yield made
    made.close()


def test_a_killed_run_is_told_as_such_with_the_command_that_goes_on(store):
    said = shown(opened("runs"))
    assert "killed" in said and "seedbed run RECIPE" in said and "No process is at work" in said


def test_a_run_that_is_held_tells_what_the_last_minute_brought_and_what_is_left(store):
    with store.writing() as db:
        db.execute("INSERT INTO base.targets VALUES ('run1', 'skills', 'a/one', 50, '')")
        db.execute("INSERT INTO base.shards VALUES ('run1', 0, 0, 20, true, 1)")
        at = "(now() AT TIME ZONE 'UTC') - to_seconds({})"
        db.execute(f"UPDATE base.samples SET created_at = {at.format('CASE WHEN ordinal < 12 THEN 5 ELSE 300 END')}")
        for n, (ago, status) in enumerate([(1, "ok"), (20, "ok"), (30, "ok"), (30, "error"), (300, "ok")]):
            db.execute(
                "INSERT INTO base.calls (call_id, run_id, status, tokens_in, tokens_out, created_at) "
                f"VALUES ('c{n}', 'run1', '{status}', 1000, 20, {at.format(ago)})"
            )
    [run] = store.rows("SELECT kept, made FROM runs")
    assert (run["kept"], run["made"]) == (5, 20)
    with lease(store.home, "run1"):
        said = " ".join(shown(opened("runs")).split())
    figures = said.split("In the last minute")[1]
    assert re.match(" rows 12 calls 3 tokens 3,060 left 15 min ", figures), figures[
        :200
    ]  # of 50 wanted, 45 lack; 12 x 5/20 a minute are kept
    assert "running" in said and "No process is at work" not in said
    assert "In the last minute" not in shown(opened("runs")), "its process is gone"


def test_what_is_known_in_part_is_told_in_part(store):
    with store.writing() as db:
        for n, (tokens, usd) in enumerate([(1000, "1.5"), (1000, "NULL"), ("NULL", "NULL")]):
            db.execute(
                "INSERT INTO base.calls (call_id, run_id, status, tokens_in, tokens_out, usd) "
                f"VALUES ('c{n}', 'run1', 'ok', {tokens}, {tokens}, {usd})"
            )
    said = " ".join(shown(opened("runs")).split())
    assert "tokens at least 4,000" in said and "cost $1.50 and 2 calls without a price" in said
