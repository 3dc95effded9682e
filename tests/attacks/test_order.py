"""What came last is what went in last: no clock decides it, one that goes back a year included."""

from __future__ import annotations

import pytest

from seedbed.standing import runs
from seedbed.store import Store, bulk
from seedbed.store.filters import Filter, scopes
from seedbed.store.leases import Waiting, hold, take
from seedbed.store.lineage import life, reviews
from seedbed.store.passed import kept_by_others
from seedbed.store.reviews import Event, record, undo
from seedbed.store.runs import begin, find_run, grown, latest_of
from seedbed.store.schema import MIGRATIONS
from seedbed.store.tallies import versions
from seedbed.store.versions import find_version, freeze, refilter
from tests.grown import JUDGE, RECIPE, WRITER, rows, sample, scored, stored
from tests.handmade import keys, twenty

CARDS = {"model": WRITER, "judge": JUDGE}
CLOCKS = {
    "goes back a year": "now() AT TIME ZONE 'UTC' - INTERVAL 1 YEAR * {}",
    "stands still": "TIMESTAMP '2026-01-01'",
}


def at_the_time(store: Store, clock: str, step: int) -> None:
    """Whatever was entered just now has this time: what a clock that is wrong would have given it."""
    just_now = "now() AT TIME ZONE 'UTC' - INTERVAL 1 HOUR"
    times = {"runs": "started_at", "versions": "created_at", "samples": "created_at", "reviews": "created_at"}
    with store.writing() as db:
        for table, column in times.items():
            db.execute(f"UPDATE base.{table} SET {column} = {CLOCKS[clock].format(step)} WHERE {column} > {just_now}")


@pytest.fixture(params=CLOCKS)
def clock(request):
    return request.param


@pytest.fixture
def home(tmp_path, clock):
    """Three runs of one recipe, each with a version."""
    for n in (1, 2, 3):
        store = stored(tmp_path, rows(3 + n), run_id=f"run{n}")
        at_the_time(store, clock, n)
        store.close()
    return Store(tmp_path)


def test_the_latest_version_and_run_are_the_last_that_were_made(home):
    assert find_version(home, "desk") == "desk-v3"
    assert find_run(home, "desk") == "run3" == latest_of(home, ["run1", "run3", "run2"])
    assert set(grown(home, "desk").values()) == {"run3"}
    assert [run["run_id"] for run in runs(home)] == ["run3", "run2", "run1"]
    assert [version["version"] for version in versions(home)] == ["desk-v3", "desk-v2", "desk-v1"]
    assert [scope.version or scope.run for scope in scopes(home)] == [
        *("desk-v3", "run3", "desk-v2", "run2", "desk-v1", "run1")
    ]


def test_the_same_rows_make_no_other_version(home):
    plots = [("run3", "skills", leaf) for leaf in ("writing/letters", "writing/poems")]
    assert freeze(home, "run3", plots).version == "desk-v3" and not freeze(home, "run3", plots).new
    assert refilter(home, "desk", {"critique": 4.2}).version == "desk-v4"
    assert find_version(home, "desk") == "desk-v4"
    again = refilter(home, "desk-v3", {"critique": 4.2})
    assert (again.version, again.new) == ("desk-v4", False), "as after a kill behind its commit"


def test_rows_of_several_runs_are_in_the_order_in_which_the_runs_began(home):
    wanted = [(f"run{n}", "skills", leaf) for n in (3, 1, 2) for leaf in ("writing/letters", "writing/poems")]
    made = freeze(home, "run3", wanted)
    found = home.rows("SELECT run_id FROM version_samples WHERE version = ? ORDER BY place", [made.version])
    assert [row["run_id"] for row in found] == ["run1"] * 4 + ["run2"] * 5 + ["run3"] * 6


def test_only_what_others_had_kept_before_a_run_began_counts_against_it(tmp_path, clock):
    other = RECIPE | {"name": "other"}
    store = stored(tmp_path, rows(2), run_id="before", recipe=other)
    at_the_time(store, clock, 1)
    begin(store, "mine", "mine", "{}", CARDS, [("skills", "leaf", 1, "")])
    at_the_time(store, clock, 2)
    store.close()
    later = stored(tmp_path, [(sample(7), (scored(4),))], run_id="after", recipe=other)
    at_the_time(later, clock, 0)
    questions = {row.content.question for row, _ in rows(2)}
    kept = [row for table in kept_by_others(later, "mine", "mine") for row in table["question"].to_pylist()]
    assert set(kept) == questions and len(kept) == len(questions)


def test_the_last_word_of_a_reviewer_is_the_one_said_last(tmp_path, clock):
    store = twenty(tmp_path)
    [key, *_] = keys(store, kind="instruction")
    for n, action in enumerate(("keep", "drop", "unsure", "keep")):
        record(store, "anna", Event(key.run_id, key.sample_id, action))
        at_the_time(store, clock, n)
    decision = "SELECT decision FROM decisions"
    assert store.rows(decision) == [{"decision": "keep"}]
    for action in ("keep", "unsure", "drop"):
        taken_back = undo(store, "anna")
        assert taken_back and taken_back.action == action
        at_the_time(store, clock, 9)
    assert store.rows(decision) == [{"decision": "keep"}]
    told = [row["action"] for row in reviews(store, key.sample_id)]
    assert told == ["keep", "drop", "unsure", "keep"]


def test_the_last_edit_counts_and_is_what_the_next_reviewer_sees(tmp_path, clock):
    store = twenty(tmp_path)
    [key, *_] = keys(store, kind="instruction")
    for n, text in enumerate(("First.", "Second.", "Third.")):
        seen = hold(store, "anna", key).seen
        record(store, "anna", Event(key.run_id, key.sample_id, "edit", {"answer": text}, seen=seen))
        at_the_time(store, clock, n)
    assert hold(store, "ben", key).texts["answer"] == "Third."
    version = freeze(store, "run1", [("run1", "skills", "a/one"), ("run1", "skills", "a/two"), ("run1", "skills", "b")])
    [row] = store.rows(
        "SELECT answer FROM version_samples WHERE version = ? AND sample_id = ?", [version.version, key.sample_id]
    )
    assert row["answer"] == "Third."


def test_a_bulk_verdict_is_undone_as_the_last_that_was_given(tmp_path, clock):
    store = twenty(tmp_path)
    for n, action in enumerate(("keep", "drop")):
        found = Filter(kind="instruction")
        bulk.decide(store, "anna", found, action, bulk.meant(store, "anna", found))
        at_the_time(store, clock, n)
    taken_back = undo(store, "anna")
    assert taken_back and taken_back.action == "drop"
    assert store.rows("SELECT DISTINCT decision FROM decisions") == [{"decision": "keep"}]
    entries = store.rows("SELECT count(*) AS n, count(DISTINCT entry) AS entries FROM base.reviews")
    assert entries == [{"n": 33, "entries": 33}]


def test_a_lease_from_a_clock_that_was_a_year_ahead_keeps_nothing_from_others(tmp_path):
    store = twenty(tmp_path)
    waiting = keys(store)
    first = take(store, Waiting("anna", "unreviewed", waiting))
    with store.writing() as db:
        db.execute("UPDATE base.assignments SET leased_until = leased_until + INTERVAL 1 YEAR")
    second = take(store, Waiting("ben", "unreviewed", waiting))
    assert first and second and second.key == first.key


def rivals(store: Store) -> list[str]:
    return [one for table in kept_by_others(store, "b", "other") for one in table["question"].to_pylist()]


def test_an_older_store_gets_its_order_from_that_of_its_rows(tmp_path):
    """Its times are wrong in every way; its rows are where they were put."""
    old = Store(tmp_path, MIGRATIONS[:4])
    with old.writing() as db:
        for n, run in enumerate(("a", "b", "c")):
            time = f"TIMESTAMP '2026-01-01' - INTERVAL {n} YEAR"
            recipe = "other" if run == "b" else "mine"
            db.execute(
                f"INSERT INTO base.runs VALUES (?, ?, '{{}}', '{{}}', false, 'done', '', {time}, NULL, 0, 0)",
                [run, recipe],
            )
            db.execute("INSERT INTO base.targets VALUES (?, 'skills', 'leaf', 2, 'same')", [run])
            db.execute("INSERT INTO base.shards VALUES (?, 0, 0, 2, true)", [run])
            db.execute(
                "INSERT INTO base.samples (run_id, sample_id, position, status, question, created_at) "
                f"SELECT ?, ? || i, i, 'kept', ? || i, {time} FROM range(2) r(i)",
                [run, run, run],
            )
            db.execute(
                f"INSERT INTO base.versions VALUES (?, '', ?, ?, '{{}}', '{{}}', 0, {time})",
                [f"{recipe}-v{n}", recipe, run],
            )
            db.execute(
                "INSERT INTO base.reviews (review_id, sample_id, run_id, reviewer, action, created_at) "
                f"VALUES (?, 'a0', 'a', 'anna', ?, {time})",
                [run, ("keep", "drop", "unsure")[n]],
            )
    old.close()
    store = Store(tmp_path)
    assert find_run(store, "mine") == "c" and find_version(store, "mine") == "mine-v2"
    assert [scope.version or scope.run for scope in scopes(store)] == ["mine-v2", "c", "other-v1", "b", "mine-v0", "a"]
    assert store.rows("SELECT decision, review_id FROM decisions") == [{"decision": "unsure", "review_id": "c"}]
    assert rivals(store) == ["a0", "a1"], "what `a` had kept, and not what `c`"
    assert list(grown(store, "mine").values()) == ["c"]
    begin(store, "d", "mine", "{}", CARDS, [("skills", "leaf", 1, "")])
    assert find_run(store, "mine") == "d"
    assert life(store, "a", "a0") is not None
