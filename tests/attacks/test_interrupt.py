"""Told to end while calls are under way that are never answered: for a bounded time at first, then at once."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from benchmarks.mock_server import running
from flows.run import GRACE
from seedbed.engines.http import HttpEngine
from seedbed.journal import lease
from seedbed.ledger import Ledger, Stopped
from seedbed.recorded import Recorded
from seedbed.records import Message
from seedbed.store import Store
from tests.test_run import await_requests, recipe, sql, start, stats


def test_a_call_that_is_given_up_ends_at_once_and_is_neither_counted_nor_recorded(tmp_path):
    async def main(base_url: str):
        store = Store(tmp_path)
        ledger = Ledger(store, "run")
        async with HttpEngine(base_url, "mock", timeout=600) as engine:
            recorded = Recorded(engine, ledger, "run", concurrency=2)
            asked = [recorded.chat([Message(role="user", content=str(n % 3))], step="s") for n in range(4)]
            ended = asyncio.ensure_future(asyncio.gather(*asked, return_exceptions=True))
            while stats(base_url)["requests"] < 2:
                await asyncio.sleep(0.02)
            ledger.stop("interrupted")
            ledger.give_up()
            found = list(await asyncio.wait_for(ended, 10))
        await ledger.close()
        store.close()
        return found, ledger

    with running(hang=True) as base_url, lease(tmp_path, "run"):
        found, ledger = asyncio.run(main(base_url))
    assert all(isinstance(one, Stopped) for one in found), found
    assert ledger.tally.calls == ledger.tally.in_flight == 0
    assert sql("SELECT count(*) AS n FROM calls", tmp_path) == [{"n": 0}]


def test_sigterm_waits_for_an_answer_that_never_comes_no_longer_than_it_says(tmp_path):
    with running(hang=True) as base_url:
        process = start("run", recipe(tmp_path, base_url, model={"timeout": 600}), home=tmp_path / "home")
        await_requests(base_url, 8)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
        took = time.monotonic() - began
    assert process.returncode == 130 and "Nothing is lost; go on with" in out and "Traceback" not in err
    assert f"in {GRACE:g} s at most" in err and took > GRACE - 1
    assert sql("SELECT status FROM runs", tmp_path / "home") == [{"status": "interrupted"}]


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT")])
def test_a_second_signal_of_either_kind_ends_at_once(tmp_path, first, second):
    with running(hang=True) as base_url:
        process = start("run", recipe(tmp_path, base_url, model={"timeout": 600}), home=tmp_path / "home")
        await_requests(base_url, 8)
        process.send_signal(signal.Signals[first])
        assert process.stderr is not None
        while "Once more ends it at once" not in process.stderr.readline():
            pass
        began = time.monotonic()
        process.send_signal(signal.Signals[second])
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on from here" in err and "Traceback" not in err
    assert time.monotonic() - began < GRACE
    assert sql("SELECT status FROM runs", tmp_path / "home") == [{"status": "interrupted"}]
