"""What a server may do wrong, as tables. For each row: an end in time, nothing lost, nothing paid twice, plain words.

Paid is what the server handed over whole, as it counts itself; the ledger must hold exactly that.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time

import pytest

from benchmarks.mock_server import running, started
from flows.run import grow, read
from seedbed.store import Store
from tests.ports import free_port
from tests.test_run import BALANCE, await_requests, recipe, start, stats

SHORT = {"timeout": 1, "retries": 3}  # a call takes 4 s at most, and a server that is gone gets 4 s to come back
ENDED = ("done", "short")  # the scripted judge turns some rows down
ROWS = "SELECT leaf, question, answer, status FROM samples ORDER BY leaf, ordinal, attempt"
PAID = "SELECT count(*) AS n FROM calls WHERE status = 'ok'"


def one(folder, base_url, **model):
    return recipe(folder, base_url, per_leaf=2, curate=["rules"], model=SHORT | model)


def grown(path, home):
    return asyncio.run(grow(read(path), home))


def rows(statement, home):
    return Store(home).rows(statement)


def port(base_url):
    return int(base_url.rsplit(":", 1)[1].split("/")[0])


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The rows of a run that nothing befalls."""
    folder = tmp_path_factory.mktemp("calm")
    with running() as base_url:
        assert grown(one(folder, base_url), folder / "home").status in ENDED
    return rows(ROWS, folder / "home")


def sound(base_url, home, calm, before=0):
    """The run is whole: its rows are those of a calm run, and all that it holds was paid once, `before` elsewhere."""
    counted = stats(base_url)
    assert rows(ROWS, home) == calm
    assert rows(BALANCE, home) == [{"n": 0}]
    assert counted["paid_twice"] == 0
    assert rows(PAID, home) == [{"n": counted["paid"] + before}]


PASSING: dict[str, dict[str, float]] = {
    "429": {"status": 429},
    "429, wait so many seconds": {"retry_after": 0.3},
    "429, wait until a date": {"retry_date": 0.5},
    "500": {"status": 500},
    "503": {"status": 503},
    "502 from a proxy": {"status": 502},
    "HTML": {"html": True},
    "half a body": {"half_body": True},
    "a byte now and then": {"drip": True},
    "silence": {"hang": True},
    "a dropped connection": {"drop": True},
}


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_costs_no_row_and_no_second_payment(tmp_path, calm, name):
    """Every fifth request meets it the first time that it is made."""
    with running(**PASSING[name], fault_every=5, fault_times=1) as base_url:
        outcome = grown(one(tmp_path, base_url), tmp_path / "home")
        assert outcome.status in ENDED and outcome.progress.tally.failed == 0, outcome.message
        assert stats(base_url)["repeated"] > 0, "no request met the fault"
        sound(base_url, tmp_path / "home", calm)


@pytest.mark.parametrize(
    ("limits", "timeout"), [({"refuse_over": 3, "latency_ms": 20}, 1), ({"slots": 1, "latency_ms": 300}, 2)]
)
def test_a_server_that_takes_less_than_the_recipe_allows_gets_less(tmp_path, calm, limits, timeout):
    """It refuses what is over its limit, or is so slow with it that calls miss their deadline."""
    with running(**limits) as base_url:
        outcome = grown(one(tmp_path, base_url, timeout=timeout), tmp_path / "home")
        assert outcome.status in ENDED and outcome.progress.tally.failed == 0, outcome.message
        assert rows(ROWS, tmp_path / "home") == calm


LASTING: dict[str, tuple[dict[str, float], str, str]] = {
    "500": ({"status": 500}, "HTTP 500: scripted fault", "heck that the server is up"),
    "429": ({"status": 429}, "HTTP 429: scripted fault", "lower concurrency, or run again later"),
    "429, come back in an hour": ({"retry_after": 3600}, "asks to wait 3600 s", "run again later"),
    "no such key": ({"status": 401}, "HTTP 401", "No key was sent: put it in an environment variable"),
    "HTML": ({"html": True}, "no chat completion: <html>", "heck that the server is up"),
    "half a body": ({"half_body": True}, "PayloadError", "heck that the server is up"),
    "a byte now and then": ({"drip": True}, "no whole answer within 1 s", "heck that the server is up"),
    "silence": ({"hang": True}, "no whole answer within 1 s", "heck that the server is up"),
    "dropped connections": ({"drop": True}, "Disconnected", "heck that the server is up"),
}


@pytest.mark.parametrize("name", LASTING)
def test_a_fault_that_lasts_ends_the_run_in_time_with_what_to_do_and_then_the_same_command_goes_on(
    tmp_path, calm, name
):
    flags, said, remedy = LASTING[name]
    home = tmp_path / "home"
    with running(**flags, port=free_port()) as base_url:
        path, began = one(tmp_path, base_url), time.monotonic()
        outcome = grown(path, home)
        took = time.monotonic() - began
    assert outcome.status == "failed" and took < 20, took
    assert said in outcome.message and remedy in outcome.message, outcome.message
    assert rows(PAID, home) == [{"n": 0}]
    with running(port=port(base_url)) as base_url:
        assert grown(path, home).status in ENDED
        sound(base_url, home, calm)


def interrupted(tmp_path, number, then):
    """A run whose server gets a signal amid it; `then` is done a moment later. What it said, paid calls, its home."""
    home = tmp_path / "home"
    with started(latency_ms=60, port=free_port()) as (base_url, server):
        path = one(tmp_path, base_url)
        process = start("run", path, home=home)
        await_requests(base_url, 12)
        server.send_signal(number)
        time.sleep(0.7)
        with then(base_url, server) as now:
            began = time.monotonic()
            out, err = process.communicate(timeout=60)
            paid = stats(now) if now else None
    return process.returncode, " ".join((out + err).split()), time.monotonic() - began, paid, path, base_url


class _Again:
    """Context: the server is started anew on its port, goes on after a freeze, or stays as it is."""

    def __init__(self, how):
        self.how = how

    def __call__(self, base_url, server):
        self.base_url, self.server = base_url, server
        return self

    def __enter__(self):
        if self.how == "stays":
            return None
        if self.how == "goes on":
            self.server.send_signal(signal.SIGCONT)
            return self.base_url
        self.anew = running(port=port(self.base_url), latency_ms=5)
        return self.anew.__enter__()

    def __exit__(self, *_):
        if self.how == "starts anew":
            self.anew.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGKILL, "starts anew"), (signal.SIGSTOP, "goes on")], ids=["killed", "frozen"]
)
def test_a_server_that_is_killed_or_frozen_and_comes_back_costs_no_row(tmp_path, calm, number, how):
    code, told, _, counted, _, _ = interrupted(tmp_path, number, _Again(how))
    assert code == 0, told
    assert rows(ROWS, tmp_path / "home") == calm
    assert counted["paid_twice"] == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_server_that_is_gone_for_good_ends_the_run_with_one_message_and_the_rest_is_made_later(
    tmp_path, calm, number
):
    code, told, took, _, path, base_url = interrupted(tmp_path, number, _Again("stays"))
    assert code == 1 and took < 15, told
    assert len(re.findall("tries in a row came to nothing", told)) <= 2, "once when it is noticed, once at the end"
    assert "Check that the server is up and well, then run again" in told and "0 failed" in told
    assert "go on with:" in told and "Traceback" not in told
    home = tmp_path / "home"
    [before] = rows(PAID, home)
    assert before["n"] >= 4
    with running(port=port(base_url)) as base_url:
        assert grown(path, home).status in ENDED
        sound(base_url, home, calm, before=before["n"])
