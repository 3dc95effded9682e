"""Budgets and prices: kept to within a call, in tokens and in dollars; nothing is guessed, nothing is paid twice."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.mock_server import running
from flows.engines import price_of
from seedbed.budget import Budget
from seedbed.engines import EngineError, ModelCard, Reply, Sampling
from seedbed.journal import lease
from seedbed.ledger import Ledger, Stopped
from seedbed.prices import TABLE, Listed, Price, listed_price
from seedbed.recipe import HttpModel
from seedbed.recorded import Recorded
from seedbed.store import Store
from seedbed.yamlfile import load
from tests.test_ledger import ASK
from tests.test_run import facts, recipe, seedbed, sql, stats

PRICE = {"input": 100.0, "output": 400.0}  # US dollars per million tokens


class Slow:
    """Answers of so many tokens, after a moment; some fail."""

    card = ModelCard("slow", "m", "r1", "MIT")

    def __init__(self, tokens: list[int]) -> None:
        self._tokens, self.calls = tokens, 0

    async def chat(self, messages, sampling=Sampling(), *, step, ordinal=0, schema=None):
        self.calls += 1
        await asyncio.sleep(0.002)
        if self._tokens[ordinal] < 0:
            raise EngineError("no answer")
        return Reply(f"answer {ordinal}", 0, self._tokens[ordinal])

    async def choose(self, messages, options, *, step):
        raise AssertionError("no call of these tests is a choice")


def spend(home, tokens, budget, price=None):
    """All calls at once, sixteen under way: the tally, and how many calls the engine saw."""
    engine = Slow(tokens)

    async def work():
        store = Store(home)
        with lease(home, "run1"):
            ledger = Ledger(store, "run1", budget)
            recorded = Recorded(engine, ledger, "run1", 16, price)
            calls = (recorded.chat(ASK, step="q", ordinal=n) for n in range(len(tokens)))
            ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
            await ledger.close()
        store.close()
        assert all(isinstance(end, Reply | Stopped | EngineError) for end in ended)
        return ledger.tally

    return asyncio.run(work()), engine.calls


def table() -> list[Listed]:
    lines = load(TABLE).value
    assert isinstance(lines, list)
    return [Listed.model_validate(line) for line in lines]


def test_a_budget_is_overrun_by_no_more_than_one_call_however_many_are_under_way(tmp_path):
    tally, calls = spend(tmp_path, [10] * 300, Budget(tokens=1000))
    assert (tally.tokens, calls) == (1000, 100)
    tally, _ = spend(tmp_path / "2", [10, 3, 5, 9] * 80, Budget(tokens=1003))
    assert 1003 <= tally.tokens < 1013


def test_dollars_are_a_budget_too(tmp_path):
    tally, calls = spend(tmp_path, [125] * 60, Budget(usd=1.0), Price(input=1.0, output=1000.0))
    assert calls == 8 and tally.usd == 1.0 and tally.unpriced == 0


def test_calls_that_fail_leave_nobody_waiting_for_room(tmp_path):
    tally, calls = spend(tmp_path, [10, *[-1] * 30, *[10] * 20], Budget(tokens=100))
    assert tally.tokens == 100 and tally.failed == 30 and calls == 40


def test_every_line_of_the_price_table_reads_and_stands_once():
    lines = table()
    assert len({(line.host, line.model) for line in lines}) == len(lines) > 0
    assert all(0 < line.input < line.output for line in lines)


def test_a_price_is_the_recipes_or_the_tables_or_unknown():
    first = table()[0]
    url = f"https://{first.host}/v1"
    assert listed_price(url, f"{first.model}-2026-05-01") == listed_price(url, first.model) == first
    assert listed_price("https://elsewhere.example/v1", first.model) is None
    assert listed_price(url, f"{first.model}-turbo") is None
    own = HttpModel(base_url=url, model=first.model, price=Price(input=1, output=2))
    assert price_of(own) == Price(input=1, output=2)


def test_a_run_counts_its_dollars_and_stops_at_those_it_was_allowed(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url, model={"price": PRICE})
        done = seedbed("run", path, "--max-usd", "0.5", home=home)
        assert done.returncode == 3 and "the budget of $0.5 is spent" in done.stdout
        spent = sql("SELECT usd FROM runs", home)[0]["usd"]
        assert 0.5 <= spent < 0.7, "one call over at the most"
        found = facts("run", path, home=home)
        assert found["status"] == "done" and stats(base_url)["repeated"] == 0
    costs = sql("SELECT sum(usd) AS usd, sum(tokens_in * 100.0 + tokens_out * 400.0) / 1e6 AS same FROM costs", home)
    assert costs[0]["usd"] == pytest.approx(costs[0]["same"]) == pytest.approx(found["run"]["usd"])


def test_dollars_that_nobody_knows_are_null_and_no_budget(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=1)
        done = seedbed("run", path, "--max-usd", "1", home=home)
        assert done.returncode == 2 and "no price is known for mock" in done.stderr and "`price:" in done.stderr
        assert facts("run", path, home=home)["forecast"] is None, "all its rows are fewer than an estimate takes"
    assert sql("SELECT usd FROM runs", home) == [{"usd": None}]


def test_limits_of_the_command_go_before_those_of_the_recipe(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url, budget={"tokens": 4000, "minutes": 60})
        done = seedbed("run", path, "--max-tokens", 3000, home=home)
        assert done.returncode == 3 and "the budget of 3,000 tokens" in done.stdout
        assert seedbed("run", path, "--max-minutes", 0.0001, home=home).returncode == 3


def test_a_run_says_what_was_estimated_and_what_it_took(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url, model={"price": PRICE})
        by = facts("preview", path, "--rows", 10, home=home)["estimate"]
        done = seedbed("run", path, home=home)
        again = facts("run", path, home=home)["forecast"]
        other = recipe(tmp_path, base_url, name="other", model={"price": PRICE})
        unseen = facts("run", other, home=tmp_path / "other")["forecast"]
    assert "Estimated by the preview's 10 rows:" in done.stdout and "It took" in done.stdout
    assert again["estimate"].pop("usd") == pytest.approx(by["usd"]) and again["actual"]["usd"] > 0
    assert (
        again["estimate"] == {name: value for name, value in by.items() if name != "usd"}
        and by["previewed"]
        and by["rows_seen"] == 10
    )
    for name in ("rows", "tokens", "usd"):
        least, most = by[name]
        assert 0 < least <= again["actual"][name] <= most, name
    assert not unseen["estimate"]["previewed"] and unseen["estimate"]["rows_seen"] == 16
