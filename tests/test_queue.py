"""What a reviewer gets next: queues in their orders, filters, and leases that no two reviewers share."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace

import pytest

from seedbed.errors import InputError
from seedbed.store.filters import STATES, Filter, Scope, count, facets, page, scopes
from seedbed.store.leases import Waiting, drawn_order, hold, take
from seedbed.store.queue import ORDERS, plan
from seedbed.store.reviews import record, undo
from tests.handmade import decide, event, keys, kind_of, names, twenty

EVERYTHING = Filter()


@pytest.fixture
def store(tmp_path):
    made = twenty(tmp_path)
    yield made
    made.close()


# Queues


def test_doubtful_samples_come_first_and_the_clearest_last(store):
    order = names(store, keys(store, "uncertainty", kind="instruction"))
    assert Counter(order[:8]) == {"near": 4, "torn": 4} and Counter(order[-8:-4]) == {"good": 4}


def test_what_judges_or_reviewers_quarrel_over_comes_first(store):
    order = names(store, keys(store, "disagreement", kind="instruction"))
    assert Counter(order[:4]) == {"torn": 4}
    assert Counter(order[4:12]) == {"near": 4, "poor": 4}, "one step kept what another dropped"
    good = next(key for key in keys(store, kind="instruction") if names(store, (key,)) == ["good"])
    decide(store, "anna", good, "keep")
    decide(store, "ben", good, "drop")
    everyone = plan(store, "cleo", Filter(), "disagreement").keys
    assert everyone[0] == good, "reviewers in conflict weigh most"


def test_leaves_take_turns_and_the_least_reviewed_one_begins(store):
    for key in keys(store, leaf="b")[:3]:
        decide(store, "ben", key, "keep" if names(store, (key,)) and kind_of(store, key) == "instruction" else "tie")
    leaf_of = {row["sample_id"]: row["leaf"] for row in store.rows("SELECT sample_id, leaf FROM samples")}
    order = [leaf_of[key.sample_id] for key in keys(store, "leaf")]
    assert set(order[:2]) == set(order[2:4]) == {"a/one", "a/two"} and "b" not in order[:6]
    assert "b" in order[6:10]


def test_chance_is_each_reviewers_own_and_always_the_same(store):
    assert keys(store, reviewer="anna") == keys(store, reviewer="anna")
    assert keys(store, reviewer="anna") != keys(store, reviewer="ben")
    assert set(keys(store, reviewer="anna")) == set(keys(store, reviewer="ben"))


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_has_every_sample_once_and_counts_them(store, order):
    queue = plan(store, "anna", Filter(state="unreviewed"), order)
    assert len(set(queue.keys)) == len(queue.keys) == queue.left == queue.matching == 20
    decide(store, "anna", keys(store, kind="instruction")[0], "keep")
    again = plan(store, "anna", Filter(state="unreviewed"), order)
    assert (again.matching, again.left, again.mine) == (20, 19, 1)


def test_what_i_skip_goes_from_my_queue_only_until_i_undo_it(store):
    first = keys(store)[0]
    decide(store, "anna", first, "skip")
    assert first not in keys(store) and first in keys(store, reviewer="ben")
    assert plan(store, "anna", Filter(state="skipped"), "random").keys == (first,)
    undo(store, "anna")
    assert first in keys(store)


# Filters


def test_a_filter_narrows_by_each_of_its_fields(store):
    assert count(store, Filter(leaf="a")) == 12 and count(store, Filter(leaf="a/two")) == 4
    assert count(store, Filter(leaf="a/t")) == 0, "a branch is not any beginning of a name"
    assert count(store, Filter(kind="preference")) == 4
    assert count(store, Filter(status="kept")) == 5
    assert count(store, Filter(step="debate")) == 5 and count(store, Filter(reason="critique below 3.5")) == 10
    assert count(store, Filter(judge="critique", low=3.3, high=3.5)) == 5
    assert count(store, Filter(low=4.5)) == 5, "the last score, where no judge is named"
    assert count(store, Filter(text="TORN question")) == 5 and count(store, Filter(text="question torn")) == 5
    assert count(store, Filter(text=f"{3:020x}")) == 1
    assert count(store, Filter(run="another")) == 0


def test_a_filter_finds_samples_by_what_reviewers_said(store):
    one, two, three, *_ = keys(store, kind="instruction")
    decide(store, "anna", one, "keep")
    decide(store, "ben", one, "drop")
    decide(store, "ben", two, "unsure")
    decide(store, "anna", three, "flag")
    found = {state: count(store, Filter(state=state), "anna") for state in STATES}
    assert found == {
        "unreviewed": 18, "second opinion": 1, "reviewed": 2, "mine": 1, "conflicts": 1, "flagged": 1, "skipped": 0,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["'; DROP TABLE base.samples; --", '" OR 1=1 --', "$run", "%", "\\", "a\x00b"])
def test_no_value_of_a_filter_is_ever_sql(store, text):
    for field in ("run", "version", "leaf", "kind", "status", "step", "reason", "judge", "text"):
        assert count(store, replace(EVERYTHING, **{field: text}), text) == 0
    with pytest.raises(InputError, match="no review state"):
        count(store, Filter(state=text))
    assert count(store, EVERYTHING) == 20


def test_pages_follow_the_plan_and_miss_nothing(store):
    seen = list[int]()
    rows = page(store, Filter(leaf="a"), "anna", None, 5)
    while rows:
        seen += [int(str(row["position"])) for row in rows]
        rows = page(store, Filter(leaf="a"), "anna", (seen[-1], str(rows[-1]["run_id"]), str(rows[-1]["sample_id"])), 5)
    assert seen == list(range(12))


def test_what_there_is_to_filter_by_is_told(store):
    found = facets(store, scopes(store)[0])
    assert found.leaves == ("a", "a/one", "a/two", "b")
    assert set(found.kinds) == {"instruction", "preference"}
    assert set(found.reasons) == {"critique below 3.5", "debate undecided"} and "critique" in found.judges
    assert facets(store, Scope("", run="none")).leaves == ()


# Leases


def test_two_reviewers_never_get_the_same_sample_at_once(store):
    queue = keys(store)
    got = [take(store, Waiting(f"reviewer {n}", "unreviewed", queue)) for n in range(len(queue))]
    assert len({item.key for item in got if item}) == len(queue)
    assert take(store, Waiting("one too many", "unreviewed", queue)) is None


def test_a_lease_ends_by_itself_and_when_its_holder_goes_on(store):
    queue = keys(store)
    first = take(store, Waiting("anna", "unreviewed", queue), minutes=0)
    second = take(store, Waiting("ben", "unreviewed", queue))
    assert first and second and first.key == second.key == queue[0], "a lease of no minutes has ended"
    took = take(store, Waiting("anna", "unreviewed", queue))
    assert took and took.key == queue[1]
    went_on = take(store, Waiting("ben", "unreviewed", queue[1:]), event=event(second.key, store))
    assert went_on and went_on.key == queue[2]
    freed = take(store, Waiting("cleo", "unreviewed", queue))
    assert freed and freed.key == queue[3], "what ben decided is not unreviewed any more"


def test_the_sample_that_is_to_come_next_stays_leased_while_one_looks_at_this_one(store):
    queue = keys(store)
    now = take(store, Waiting("anna", "unreviewed", queue))
    coming = take(store, Waiting("anna", "unreviewed", queue[1:]), held=now.key if now else None)
    assert now and coming and (now.key, coming.key) == queue[:2]
    other = take(store, Waiting("ben", "unreviewed", queue))
    assert other and other.key == queue[2]
    hold(store, "anna", queue[5])
    other = take(store, Waiting("ben", "unreviewed", queue))
    assert other and other.key == queue[0], "what is neither looked at nor held is free again"


def test_second_opinions_are_given_on_what_one_other_has_decided_also_at_once(store):
    one, two, *_ = keys(store)
    for key in (one, two):
        record(store, "anna", event(key, store))
    wanted = Filter(state="second opinion")
    assert set(plan(store, "ben", wanted, "random").keys) == {one, two}
    assert plan(store, "anna", wanted, "random").keys == ()
    queue = plan(store, "ben", wanted, "random").keys
    both = [take(store, Waiting(name, "second opinion", queue)) for name in ("ben", "cleo")]
    assert [item.key for item in both if item] == [queue[0], queue[0]]


TAKER = """
    import sys
    from pathlib import Path
    from seedbed.store import Store
    from seedbed.store.filters import Filter
    from seedbed.store.leases import Waiting, take
    from seedbed.store.queue import plan
    from seedbed.store.reviews import Event
    store, name = Store(Path(sys.argv[1])), sys.argv[2]
    queue = plan(store, "the same for both", Filter(state="unreviewed"), "random").keys
    item = take(store, Waiting(name, "unreviewed", queue))
    while item:
        print(item.key.sample_id, flush=True)
        action = "tie" if item.pair else "keep"
        event = Event(item.key.run_id, item.key.sample_id, action)
        item = take(store, Waiting(name, "unreviewed", queue), event=event)
"""


def test_two_processes_share_a_queue_without_ever_meeting(store):
    command = [sys.executable, "-c", textwrap.dedent(TAKER), str(store.home)]
    both = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("anna", "ben")]
    seen = [process.communicate(timeout=60)[0].split() for process in both]
    assert Counter(seen[0] + seen[1]) == Counter(row["sample_id"] for row in store.rows("SELECT * FROM samples"))
    assert store.rows("SELECT count(*) AS n FROM decisions") == [{"n": 20}]


def test_the_order_of_a_pair_is_drawn_once_for_each_reviewer_and_pair(store):
    pairs = keys(store, kind="preference")
    drawn = {(who, key): drawn_order(who, key) for who in ("anna", "ben", "cleo", "dan") for key in pairs}
    assert len(set(drawn.values())) == 2, "both orders occur"
    item = take(store, Waiting("anna", "unreviewed", pairs))
    assert item and item.pair and item.shown_order == drawn["anna", item.key]
    with store.writing() as db:  # whatever the draw would be by now, the stored order stays
        other = {"chosen-first": "rejected-first", "rejected-first": "chosen-first"}[item.shown_order]
        db.execute("UPDATE base.assignments SET shown_order = ? WHERE reviewer = 'anna'", [other])
    again = hold(store, "anna", item.key)
    assert again.shown_order == other and again.sides != item.sides
