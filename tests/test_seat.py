"""Where a reviewer is: what a key does to the sample in hand, at the ends of a queue and when the store says no."""

from __future__ import annotations

import shutil

import pytest

from seedbed.store import Store, StoreError, bulk
from seedbed.store.filters import Filter
from seedbed.store.queue import LENGTH
from tests.handmade import add, judged, twenty
from ui import seat
from ui.diff import compare
from ui.markdown import rendered
from ui.safe import compared, literal, table, words
from ui.seat import Seat, View

NASTY = "<img src=x onerror=alert(1)> & \"quoted\" 'too' ![i](http://x) [l](javascript:x) `c`"


@pytest.fixture
def store(tmp_path):
    made = twenty(tmp_path)
    yield made
    made.close()


def sitting(store, order: str = "random", **fields) -> Seat:
    made = seat.sit(store, View("anna", Filter(whole=True, **({"state": "unreviewed"} | fields)), order))
    seat.settle(store, made)
    return made


def test_a_key_has_the_next_sample_at_once_and_the_decision_is_stored_behind_it(store):
    place = sitting(store, kind="instruction")
    first, coming = place.item, place.coming
    seat.decide(store, place, "keep")
    assert place.item == coming and place.item != first
    assert store.rows("SELECT * FROM reviews") == [], "not yet: the page is drawn first"
    seat.settle(store, place)
    assert [row["action"] for row in store.rows("SELECT action FROM reviews")] == ["keep"]
    assert place.coming and place.coming not in (first, coming)


def test_what_cannot_be_stored_is_in_hand_again_and_does_not_count(store, tmp_path):
    place = sitting(store, kind="instruction")
    first, second, left = place.item, place.coming, place.left
    seat.decide(store, place, "keep")
    file = tmp_path / "seedbed.duckdb"
    shutil.move(file, tmp_path / "away")
    file.write_text("no database")
    with pytest.raises(StoreError):
        seat.settle(store, place)
    assert (place.item, place.coming, place.left, place.mine, place.pending) == (first, second, left, 0, None)
    shutil.move(tmp_path / "away", file)
    seat.decide(store, place, "drop")
    seat.settle(store, place)
    assert [row["decision"] for row in store.rows("SELECT decision FROM decisions")] == ["drop"]


def test_a_queue_longer_than_its_list_is_walked_to_the_end_and_each_sample_once(tmp_path):
    store = Store(tmp_path)
    add(store, [judged(n, "few" if n % 16 == 0 else "many", "good") for n in range(LENGTH + 40)])
    place = sitting(store)
    many = Filter(leaf="many")
    bulk.decide(store, "ben", many, "keep", bulk.meant(store, "ben", many))
    decided = set()
    while place.item:
        decided.add(place.item.key)
        seat.decide(store, place, "unsure")
        seat.settle(store, place)
    rows = store.rows("SELECT sample_id FROM samples WHERE leaf = 'few'")
    assert {row["sample_id"] for row in rows} <= {key.sample_id for key in decided}
    assert len(decided) <= len(rows) + 2, "besides the two in hand, none that somebody else decided meanwhile"
    assert place.left == 0 and place.mine == len(decided)
    seat.take_back(store, place)
    assert place.item and (place.mine, place.left) == (len(decided) - 1, 1)


def test_undo_brings_the_sample_back_before_the_ones_that_had_come(store):
    place = sitting(store, kind="instruction")
    order = [place.item, place.coming]
    seat.decide(store, place, "keep")
    seat.settle(store, place)
    seat.skip(store, place)
    seat.settle(store, place)
    seat.take_back(store, place)
    seat.take_back(store, place)
    assert [place.item and place.item.key, place.coming and place.coming.key] == [item and item.key for item in order]


def test_left_and_right_stand_for_what_this_reviewer_sees_there(store):
    place = sitting(store, kind="preference")
    for _ in range(4):
        item = place.item
        assert item
        left, right = item.sides
        assert seat.meant(item, "left") == {"answer": "chosen", "rejected": "rejected"}[left]
        assert seat.meant(item, "right") == {"answer": "chosen", "rejected": "rejected"}[right]
        assert {seat.pressed(item, seat.meant(item, side)) for side in ("left", "right")} == {"left", "right"}
        seat.decide(store, place, "tie")
        seat.settle(store, place)


def test_an_edit_names_all_texts_that_differ_from_what_is_stored_also_those_of_the_edit_before(store):
    place = sitting(store, kind="instruction")
    assert place.item
    typed = {"question": "Another question?", "answer": place.item.texts["answer"]}
    assert seat.changed(place.item, typed) == {"question": "Another question?"}
    seat.mark(store, place, "edit", edit={"question": "Another question?"})
    assert seat.changed(place.item, typed | {"answer": "New."}) == {"question": "Another question?", "answer": "New."}
    back = {"question": place.item.stored["question"], "answer": place.item.stored["answer"]}
    assert seat.changed(place.item, back) == {"question": place.item.stored["question"]}, "turned back in words"


def test_no_sign_of_a_text_is_ever_markup():
    for drawn in (words(NASTY), compared(compare(NASTY, "other")[0]), table("c", ["h"], [[NASTY]]), rendered(NASTY)):
        assert "<img" not in drawn and "onerror=alert(1)>" not in drawn
        assert "href" not in drawn and "src=" not in drawn.replace("src=x onerror", "")
    label = literal(NASTY)
    assert r"\!\[i\]\(http" in label and r"\<img" in label


def test_words_that_differ_are_marked_on_their_side_and_white_space_alone_makes_no_difference():
    left, right = compare("The cat sat on the mat.", "The dog sat on the  mat.")
    assert [span.text for span in left if span.what == "gone"] == ["cat "]
    assert [span.text for span in right if span.what == "new"] == ["dog "]
    assert "".join(span.text for span in left) == "The cat sat on the mat."
    assert all(span.what == "same" for span in compare("one  two\n", "one two")[0])
