"""Reviews in the store: edits, bulk verdicts, undo, and agreement against figures worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from seedbed.errors import InputError
from seedbed.records import Content, Verdict
from seedbed.store import bulk
from seedbed.store.agreement import between_reviewers, cohen
from seedbed.store.filters import Filter, count
from seedbed.store.leases import hold, record_and_stay
from seedbed.store.lineage import life
from seedbed.store.queue import Key, plan
from seedbed.store.reviews import Event, record, undo
from seedbed.store.rows import add_tables, judged_tables
from tests.grown import sample, stored
from tests.handmade import add, decide, judged, keys, twenty

EVERYTHING = Filter()


@pytest.fixture
def store(tmp_path):
    made = twenty(tmp_path)
    yield made
    made.close()


# Edits, bulk verdicts, undo


def test_an_edit_is_seen_by_the_next_reviewer_and_nobody_replaces_it_unawares(store):
    [key, *_] = keys(store, kind="instruction")
    anna, ben = hold(store, "anna", key), hold(store, "ben", key)
    better = Event(key.run_id, key.sample_id, "edit", {"answer": "Better so."})
    edited = record_and_stay(store, "anna", replace(better, seen=anna.seen), key)
    assert edited.texts["answer"] == "Better so." and edited.stored["answer"] != "Better so."
    with pytest.raises(InputError, match="anna edited this sample while you did"):
        record_and_stay(store, "ben", replace(better, edit={"answer": "Mine."}, seen=ben.seen), key)
    seen = hold(store, "ben", key)
    assert seen.edited_by == "anna" and seen.texts["answer"] == "Better so."
    record_and_stay(store, "ben", replace(better, edit={"answer": "Best so."}, seen=seen.seen), key)
    undo(store, "ben")
    assert hold(store, "ben", key).texts["answer"] == "Better so.", "an undone edit leaves the one before"


def test_a_bulk_verdict_is_counted_stored_and_undone_as_one(store):
    wanted = Filter(leaf="a", status="dropped")
    found = bulk.meant(store, "anna", wanted)
    assert found.n == 9 == count(store, wanted)
    bulk.decide(store, "anna", wanted, "drop", found)
    assert store.rows("SELECT count(*) AS n, count(DISTINCT batch) AS batches FROM reviews") == [{"n": 9, "batches": 1}]
    assert count(store, replace(wanted, state="mine"), "anna") == 9
    taken_back = undo(store, "anna")
    assert taken_back and taken_back.n == 9
    assert count(store, replace(wanted, state="mine"), "anna") == 0
    assert store.rows("SELECT count(*) AS n FROM reviews") == [{"n": 10}], "nothing was deleted"


def test_a_bulk_verdict_asks_again_when_the_filter_means_other_rows_by_now(store):
    wanted = Filter(kind="instruction", status="kept")
    found = bulk.meant(store, "anna", wanted)
    with store.writing() as db:
        add_tables(db, judged_tables("run1", [judged(50, "b", "good")], "judge"))
    with pytest.raises(bulk.Changed) as changed:
        bulk.decide(store, "anna", wanted, "keep", found)
    assert changed.value.now.n == found.n + 1
    assert store.rows("SELECT count(*) AS n FROM reviews") == [{"n": 0}]
    bulk.decide(store, "anna", wanted, "keep", changed.value.now)
    assert store.rows("SELECT count(*) AS n FROM reviews") == [{"n": found.n + 1}]


def test_a_bulk_verdict_is_refused_if_as_many_others_match_by_now(store):
    wanted = Filter(kind="instruction", status="kept", state="unreviewed")
    found = bulk.meant(store, "anna", wanted)
    decide(store, "ben", keys(store, kind="instruction", status="kept")[0], "drop")
    with store.writing() as db:
        add_tables(db, judged_tables("run1", [judged(50, "b", "good")], "judge"))
    with pytest.raises(bulk.Changed) as changed:
        bulk.decide(store, "anna", wanted, "keep", found)
    assert changed.value.now.kinds == found.kinds, "one went and one came"
    assert store.rows("SELECT * FROM reviews WHERE reviewer = 'anna'") == []
    bulk.decide(store, "anna", wanted, "keep", changed.value.now)


def test_a_bulk_verdict_must_fit_every_kind_it_would_decide(store):
    everything = bulk.meant(store, "anna", EVERYTHING)
    with pytest.raises(InputError, match="does not fit samples of kind preference: filter by kind first"):
        bulk.decide(store, "anna", EVERYTHING, "keep", everything)
    pairs = Filter(kind="preference")
    bulk.decide(store, "anna", pairs, "chosen", bulk.meant(store, "anna", pairs))
    nothing = Filter(leaf="nowhere")
    with pytest.raises(InputError, match="matches nothing"):
        bulk.decide(store, "anna", nothing, "keep", bulk.meant(store, "anna", nothing))


def test_undo_goes_back_step_by_step_over_everything_a_reviewer_did(store):
    one, two, *_ = keys(store, kind="instruction")
    decide(store, "anna", one, "keep")
    decide(store, "anna", one, "note", note="Look again.")
    decide(store, "anna", two, "skip")
    decide(store, "ben", two, "drop")
    back = [undo(store, "anna") for _ in range(4)]
    assert [step and (step.action, step.sample_id) for step in back] == [
        ("skip", two.sample_id), ("note", one.sample_id), ("keep", one.sample_id), None,
    ]  # fmt: skip
    assert store.rows("SELECT reviewer, decision FROM decisions") == [{"reviewer": "ben", "decision": "drop"}]


# Agreement


def test_kappa_is_what_it_is_by_hand():
    # 20 both keep, 5 and 10 apart, 15 both drop: 0.7 agree, 0.5 by chance. Landis and Koch would call 0.4 fair.
    found = cohen({("keep", "keep"): 20, ("keep", "drop"): 5, ("drop", "keep"): 10, ("drop", "drop"): 15})
    assert found.n == 50 and found.share == pytest.approx(0.7) and found.kappa == pytest.approx(0.4)
    # Variance by Fleiss, Cohen and Everitt, term by term.
    agreed = 0.4 * (1 - (0.5 + 0.6) * 0.6) ** 2 + 0.3 * (1 - (0.5 + 0.4) * 0.6) ** 2
    apart = 0.6**2 * (0.1 * (0.6 + 0.5) ** 2 + 0.2 * (0.4 + 0.5) ** 2)
    half = 1.959964 * math.sqrt((agreed + apart - (0.4 - 0.5 * 0.6) ** 2) / 50) / 0.5
    assert found.low == pytest.approx(0.4 - half) and found.high == pytest.approx(0.4 + half)


def test_kappa_of_perfect_of_opposite_and_of_no_choice():
    perfect = cohen({("keep", "keep"): 3, ("drop", "drop"): 5})
    assert (perfect.kappa, perfect.low, perfect.high) == (1, 1, 1)
    assert cohen({("keep", "drop"): 5, ("drop", "keep"): 5}).kappa == -1
    alike = cohen({("keep", "keep"): 9})
    assert alike.share == 1 and alike.kappa is None, "where all say the same there is nothing beyond chance"


def test_agreement_counts_what_both_decided_by_looking(store):
    found = keys(store, kind="instruction")
    for n, key in enumerate(found[:8]):
        decide(store, "anna", key, "keep" if n < 5 else "drop")
        decide(store, "ben", key, "keep" if n < 4 else "drop")
    decide(store, "ben", found[8], "keep")
    decide(store, "anna", found[8], "unsure")
    rest = Filter(state="unreviewed", kind="instruction")
    for name in ("anna", "ben"):
        bulk.decide(store, name, rest, "keep", bulk.meant(store, name, rest))
        rest = replace(rest, state="second opinion")
    [row] = between_reviewers(store)
    assert (row.one, row.other, row.agreement.n) == ("anna", "ben", 8)
    assert row.agreement.share == 7 / 8 and row.agreement.kappa == pytest.approx(0.75)


def test_pairs_are_compared_by_the_answer_preferred_not_by_the_judges_name_for_it(store):
    for key in keys(store, kind="preference"):
        decide(store, "anna", key, "chosen", shown_order="chosen-first")
        decide(store, "ben", key, "chosen", shown_order="rejected-first")
    [row] = between_reviewers(store)
    assert row.agreement.share == 1 and row.agreement.n == 4


def test_judges_are_not_measured_by_bulk_verdicts(store):
    wanted = Filter(kind="instruction")
    bulk.decide(store, "anna", wanted, "keep", bulk.meant(store, "anna", wanted))
    assert {row["agreement_n"] for row in store.rows("SELECT agreement_n FROM judges")} == {None}
    decide(store, "anna", keys(store, state="mine", kind="instruction")[0], "keep")
    assert {row["agreement_n"] for row in store.rows("SELECT agreement_n FROM judges WHERE curator = 'critique'")} == {
        1
    }


def test_a_debate_over_a_pair_agrees_with_people_on_the_side_that_it_found_better(tmp_path):
    """What the judge said of each pair, what people said, and in what order they saw it."""
    cases = [
        ("", "chosen", "chosen-first", True),
        ("", "rejected", "chosen-first", False),
        ("debate lost", "rejected", "chosen-first", True),
        ("debate lost", "rejected", "rejected-first", True),
        ("debate lost", "chosen", "rejected-first", False),
        ("judged faulty", "rejected", "rejected-first", True),
        ("debate undecided", "tie", "chosen-first", True),
        ("debate undecided", "chosen", "chosen-first", False),
    ]
    made = []
    for n, (reason, *_) in enumerate(cases):
        said = Verdict(step="debate", curator="debate", keep=not reason, reason=reason, call_ids=("c",))
        made.append((sample(n, "preference"), (said,)))
    store = stored(tmp_path / "home", made)
    for (one, _), (_, action, order, _) in zip(made, cases, strict=True):
        record(store, "anna", Event("run1", one.sample_id, action, shown_order=order))
    [row] = store.rows("SELECT agreement, agreement_n FROM judges")
    agreed = sum(agree for *_, agree in cases)
    assert row == {"agreement": pytest.approx(agreed / len(cases)), "agreement_n": len(cases)}


# Other runs, and a sample's life


def test_a_decision_holds_for_the_same_text_in_another_run_and_for_no_other(store):
    same, changed = judged(0, "a/one", "poor"), judged(1, "a/one", "near")
    other = changed.sample.model_copy(update={"content": Content(question="Another.", answer="One.")})
    add(store, [same, changed._replace(sample=other)], "run2")
    for number in (0, 1):
        decide(store, "anna", Key("run1", f"{number:020x}", number), "keep")
    left = plan(store, "ben", Filter(run="run2", state="unreviewed"), "random").keys
    assert [key.sample_id for key in left] == [f"{1:020x}"]


def test_a_life_has_verdicts_relatives_versions_and_reviews(store):
    pair = judged(200, "b", "good", "preference")
    child = pair.sample.model_copy(update={"parents": (f"{2:020x}",)})
    with store.writing() as db:
        add_tables(db, judged_tables("run1", [pair._replace(sample=child)], "judge"))
    decide(store, "anna", Key("run1", f"{2:020x}", 2), "flag", note="Odd.")
    parent = life(store, "run1", f"{2:020x}")
    assert parent and [row["step"] for row in parent.verdicts] == ["rules", "answer_check", "critique"]
    assert [row["sample_id"] for row in parent.children] == [child.sample_id]
    assert [(row["action"], row["note"]) for row in parent.reviews] == [("flag", "Odd.")]
    assert parent.call_ids == ["call-a", "call-b"]
    made = life(store, "run1", child.sample_id)
    assert made and [row["sample_id"] for row in made.parents] == [f"{2:020x}"]
    assert life(store, "run1", "no such") is None
