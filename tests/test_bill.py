"""Dollars that are known in part: the part is shown, and whose price is missing, and why."""

from __future__ import annotations

import pytest

from benchmarks.mock_server import running
from flows.bill import Bill
from flows.estimate import actual, took_in_words
from generators.skills import Skills
from seedbed.recipe import HttpModel, Recipe, Step, TransformersModel
from seedbed.store.rows import Judged, add_tables, judged_tables
from tests import grown
from tests.test_budget import PRICE
from tests.test_run import facts, recipe, seedbed


def of(**models) -> Recipe:
    return Recipe(name="r", generate=(Step(name="skills", options=Skills()),), **models)


def served(name: str, **price) -> HttpModel:
    return HttpModel(base_url="http://127.0.0.1:1/v1", model=name, **price)


@pytest.mark.parametrize(
    ("unpriced", "said", "why"),
    [
        ({}, "$0.0004", ""),
        (
            {"priced": 412},
            "$0.0004 for 488 of 900 calls",
            "412 of 900 calls, of priced, were made before it had a price.",
        ),
        (
            {"bare": 900},
            "dollars unknown",
            "900 of 900 calls, of bare, have no price: write `price: {input: …, output: …}`",
        ),
        ({"own": 900}, "dollars unknown", "900 of 900 calls, of own, which runs on a machine of yours, have no price."),
    ],
)
def test_what_is_not_known_is_said_with_its_model_and_the_key_to_set(unpriced, said, why):
    models = {
        "model": served("priced", price=PRICE),
        "judge": served("bare"),
        "pool": (TransformersModel(model="own"),),
    }
    bill = Bill(900, 0.0004, unpriced)
    assert bill.said == said and bill.why(of(**models)).startswith(why) and bool(bill.why(of(**models))) == bool(why)


def test_a_run_says_which_calls_were_made_before_there_was_a_price(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        before = facts("preview", recipe(tmp_path, base_url), "--rows", 4, home=home)
        done = seedbed("run", recipe(tmp_path, base_url, model={"price": PRICE}), home=home)
        took = facts("run", recipe(tmp_path, base_url, model={"price": PRICE}), home=home)["forecast"]["actual"]
    calls = before["run"]["calls"]
    assert took["usd"] is None and took["usd_known"] > 0 and took["unpriced"] == [{"model": "mock", "calls": calls}]
    assert f"{calls} of {took['calls']:,} calls, of mock, were made before it had a price." in " ".join(
        done.stdout.split()
    )
    assert f"for {took['calls'] - calls:,} of {took['calls']:,} calls" in " ".join(done.stdout.split())


def test_a_run_with_revisions_says_what_its_rows_and_its_pairs_are(tmp_path):
    store = grown.stored(tmp_path, [(grown.sample(n), ()) for n in range(3)])
    with store.writing() as db:  # a pair has the place of the sample that was revised
        add_tables(db, judged_tables("run1", [Judged(2, grown.sample(9, "preference"), ())]))
    took = actual(store, "run1")
    assert took_in_words(took) == "It took 3 rows (and 1 pairs that came of revisions), 0 tokens, 1 s, $0.00."
    store.close()
