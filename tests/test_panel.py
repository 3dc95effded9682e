"""What the pages open on, and what they show of a difference too large to show at once."""

from __future__ import annotations

from collections import Counter

import pytest

from seedbed.store import Store
from seedbed.store.difference import count_difference, page_of_difference
from seedbed.store.runs import begin, end
from seedbed.store.versions import diff, freeze
from tests.grown import rows, sample, stored
from tests.handmade import twenty
from tests.test_ui import freeze_all, in_hand, opened, ran, shown
from ui.markdown import rendered

LATER = "is later and holds no sample; this is"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Twenty samples in a version; later a run that kept nothing, whose version is empty."""
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path))
    monkeypatch.setenv("SEEDBED_REVIEWER", "anna")
    made = twenty(tmp_path)
    full = freeze_all(made)
    begin(made, "run2", "bare", '{"curate": []}', {}, [("skills", "a/one", 5, "")])
    end(made, "run2", "short", "", 1.0, 0)
    freeze(made, "run2", [("run2", "skills", "a/one")])
    assert made.rows("SELECT version, samples FROM versions ORDER BY version")[0] == {
        "version": "bare-v1",
        "samples": 0,
    }
    yield made, full
    made.close()


def test_the_pages_open_on_what_holds_samples_and_say_what_is_later(store):
    _, full = store
    review = opened()
    assert in_hand(review) and f"version bare-v1 {LATER} version {full}" in shown(review)
    assert f"version bare-v1 {LATER} version {full}" in shown(opened("explore"))
    publish = opened("publish")
    assert publish.selectbox(key="version").value == full and f"bare-v1 {LATER} {full}" in shown(publish)


def test_what_somebody_asks_for_is_shown_also_where_it_is_empty(store):
    assert "No sample matches" in shown(opened(**{"in": "version bare-v1"}))
    publish = opened("publish", version="bare-v1")
    assert publish.selectbox(key="version").value == "bare-v1" and LATER not in shown(publish)


def test_a_difference_is_counted_and_shown_a_page_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path))
    old = stored(tmp_path, rows(70))
    old.close()
    changed = [(sample(n, answer="Another.") if n < 3 else kept, said) for n, (kept, said) in enumerate(rows(120)[40:])]
    store: Store = stored(tmp_path, changed, run_id="run2")
    pair = ("desk-v1", "desk-v2")
    whole = diff(store, *pair)
    counted = {(row["what"], row["why"]): row["n"] for row in count_difference(store, *pair)}
    assert counted == Counter((row["what"], row["why"]) for row in whole)
    assert [row for at in range(0, len(whole), 50) for row in page_of_difference(store, *pair, at, 50)] == whole
    store.close()
    page = opened("publish", old=pair[0], new=pair[1])
    assert f"1 to 50 of {len(whole)}" in shown(page)
    [pages] = page.get("pagination")
    ran(pages.set_value(2))  # type: ignore[union-attr]  # it is an element
    assert f"51 to {len(whole)} of {len(whole)}" in shown(page) and str(whole[50]["sample_id"]) in shown(page)


def test_a_head_without_words_is_none_in_a_table_of_a_samples_markdown():
    assert '<td dir="auto"></td>\n<th dir="auto">a</th>' in rendered("| | a |\n|---|---|\n| 1 | 2 |\n")
