"""The split: a row never changes sides, what belongs together stays together, and a larger share holds out more."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from seedbed.conversation import Content, Response, Turn
from seedbed.errors import InputError
from seedbed.store import Store
from seedbed.store.reviews import Event, record
from seedbed.store.versions import Only, least_share, refilter, version_batches
from tests.grown import PASSED, Row, rows, sample, scored, stored

Sides = dict[str, str]  # sample -> train or test


def sides(store: Store, version: str, held_out: float = 0.1, only: Only = Only()) -> Sides:  # noqa: B008 # frozen
    found = (row for batch in version_batches(store, version, 300, held_out, only) for row in batch.to_pylist())
    return {row["sample_id"]: row["split"] for row in found}


def held(found: Sides) -> set[str]:
    return {name for name, side in found.items() if side == "test"}


def made(contents: Iterable[Content]) -> list[Row]:
    return [(sample(n).model_copy(update={"content": one}), (PASSED, scored(4))) for n, one in enumerate(contents)]


def test_no_row_changes_sides_when_prompts_come_and_go(tmp_path):
    """1,000 prompts, then 5 more, then 50 removed."""
    home = tmp_path / "home"
    first = sides(stored(home, rows(1000)), "desk-v1")
    store = stored(home, rows(1005), run_id="run2")
    more = sides(store, "desk-v2")
    for n in range(0, 1000, 20):
        record(store, "anna", Event("run2", f"{n:020d}", "drop"))
    fewer = sides(store, refilter(store, "desk-v2", {}).version)
    assert (len(first), len(more), len(fewer)) == (1000, 1005, 955)
    assert first.items() <= more.items() and fewer.items() <= more.items()
    assert 70 <= len(held(first)) <= 130, "about the share that was asked for"


def test_an_edit_moves_no_row(tmp_path):
    store = stored(tmp_path / "home", rows(40))
    before = sides(store, "desk-v1", 0.5)
    for n in range(40):
        edit = {"question": f"Quite another question {n}", "answer": "Another."}
        record(store, "anna", Event("run1", f"{n:020d}", "edit", edit=edit))
    assert sides(store, refilter(store, "desk-v1", {}).version, 0.5) == before


def test_what_a_small_share_holds_out_a_larger_one_does_too(tmp_path):
    store = stored(tmp_path / "home", rows(300))
    shares = [held(sides(store, "desk-v1", share)) for share in (0, 0.1, 0.2, 0.5, 1)]
    assert not shares[0] and len(shares[-1]) == 300
    assert all(small < large for small, large in pairwise(shares))


def test_the_side_of_a_row_is_the_same_on_every_machine_for_ever(tmp_path):
    """Of these ten, whatever becomes of the code: a change here moves rows between the sides of published data."""
    store = stored(tmp_path / "home", made([Content(question=f"Question {n}", answer="a") for n in range(10)]))
    assert sorted(int(name) for name in held(sides(store, "desk-v1", 0.3))) == [0, 3, 5]


def test_questions_on_one_passage_stay_together_and_so_do_conversations_with_one_beginning(tmp_path):
    passages = [Content(f"Question {n}?", "a", context=f"Passage  {n // 5}") for n in range(200)]
    spelled = [Content(f"question {n}?", "b", context=f"passage {n // 5} ") for n in range(200)]
    about = [Turn("system", "Be brief."), Turn("user", "What is it?", context="Passage 7"), Turn("assistant", "That.")]
    later = Content.of([*about, Turn("user", "And then?")], [Response("This.")])
    found = sides(stored(tmp_path / "home", made([*passages, *spelled, later])), "desk-v1", 0.3)
    by_passage: dict[int, set[str]] = {}
    for name, side in found.items():
        by_passage.setdefault(7 if int(name) == 400 else int(name) % 200 // 5, set()).add(side)
    assert all(len(one) == 1 for one in by_passage.values()) and len(held(found)) not in (0, len(found))


def test_conversations_that_differ_in_an_earlier_turn_only_are_not_one_group(tmp_path):
    turns = [[Turn("user", f"About {n}"), Turn("assistant", "Yes."), Turn("user", "Go on.")] for n in range(60)]
    found = sides(
        stored(tmp_path / "home", made([Content.of(one, [Response("So.")]) for one in turns])), "desk-v1", 0.5
    )
    assert 10 < len(held(found)) < 50


def test_the_least_share_that_holds_a_row_out_is_told(tmp_path):
    store = stored(tmp_path / "home", rows(4))
    least = least_share(store, "desk-v1")
    assert held(sides(store, "desk-v1", least)) and not held(sides(store, "desk-v1", least - 0.001))
    assert least_share(store, "desk-v1", ["preference"]) == 1.0


# Some rows of a version


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("store") / "home", rows(30))


def test_a_leaf_means_what_is_under_it_and_not_what_begins_like_it(store):
    [whole] = version_batches(store, "desk-v1")
    poems = {row["sample_id"] for row in whole.to_pylist() if row["leaf"] == "writing/poems"}
    assert sides(store, "desk-v1", only=Only(leaf="writing/poems")).keys() == poems
    assert len(sides(store, "desk-v1", only=Only(leaf="writing"))) == 30
    assert not sides(store, "desk-v1", only=Only(leaf="writ"))


def test_a_condition_is_on_the_rows_and_on_the_scores_of_steps(store):
    everything = sides(store, "desk-v1")
    good = sides(store, "desk-v1", only=Only(where="critique > 4 AND kind = 'instruction'  -- the better half"))
    assert sorted(map(int, good)) == list(range(1, 30, 2)) and good.items() <= everything.items()
    assert not sides(store, "desk-v1", only=Only(where="leaf = 'none'"))


@pytest.mark.parametrize(
    "condition",
    [
        "1=1) UNION ALL (SELECT 0",
        "true; DROP TABLE base.samples",
        "critique >",
        "no_such_column = 1",
        "'/etc/passwd' IN (SELECT content FROM read_text('/etc/passwd'))",
        "(SELECT count(*) FROM read_csv('/etc/hostname')) > 0",
        "leaf",
    ],
)
def test_what_is_no_condition_is_refused_and_does_nothing(store: Store, condition: str):
    before = Path(store.path).read_bytes()
    with pytest.raises(InputError):
        sides(store, "desk-v1", only=Only(where=condition))
    assert Path(store.path).read_bytes() == before and len(sides(store, "desk-v1")) == 30


def test_a_condition_that_cannot_be_read_is_told_with_the_columns_there_are(store):
    with pytest.raises(InputError, match=r"--where 'critik > 4' is no condition.*critik.*there are kind.*, critique,"):
        sides(store, "desk-v1", only=Only(where="critik > 4"))
