"""What a run survives: kills, a full disk, Ctrl-C, others at the same store, odd answers, what a dead run left."""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import time

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.mock_server import running
from tests.test_run import BALANCE, await_requests, exported, facts, recipe, seedbed, sql, start, stats


def test_twenty_kills_repeat_only_what_was_in_flight_and_export_the_same_bytes(tmp_path):
    dice, kills, concurrency = random.Random(7), 0, 8
    with running(latency_ms=25) as base_url:
        path = recipe(tmp_path, base_url, per_leaf=90)
        assert seedbed("run", path, home=tmp_path / "calm").returncode in (0, 3)
        calm = stats(base_url)
        while kills < 20:
            process = start("run", path, home=tmp_path / "killed")
            time.sleep(dice.uniform(0.9, 1.7))
            if process.poll() is None:
                kills += 1
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert stats(base_url)["requests"] - calm["requests"] < calm["requests"], "the kills came too late"
        assert seedbed("run", path, home=tmp_path / "killed").returncode == 0
        made = stats(base_url)["requests"] - calm["requests"]
    assert made - calm["requests"] <= kills * concurrency
    assert exported(tmp_path / "killed") == exported(tmp_path / "calm")
    assert sql(BALANCE, tmp_path / "killed") == [{"n": 0}]
    twice = "SELECT count(*) - count(DISTINCT sample_id) AS n FROM samples"
    assert sql(twice, tmp_path / "killed") == [{"n": 0}]


@pytest.mark.parametrize("kilobytes", [900, 1800])
def test_a_full_disk_ends_the_run_with_plain_words_and_the_same_command_goes_on(tmp_path, kilobytes):
    def no_file_beyond() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, resource.RLIM_INFINITY))

    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=40)
        facts("run", path, home=tmp_path / "undisturbed")
        calls = stats(base_url)["requests"]
        full = seedbed("run", path, home=tmp_path / "home", limit=no_file_beyond)
        facts("run", path, home=tmp_path / "home")
        repeated = stats(base_url)["requests"] - 2 * calls
    assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
    assert "oom on the disk" in full.stderr or "make room" in full.stderr, full.stderr
    assert repeated <= 8, "more than what was in flight"
    assert exported(tmp_path / "home") == exported(tmp_path / "undisturbed")
    assert sql(BALANCE, tmp_path / "home") == [{"n": 0}]


def test_ctrl_c_ends_what_is_in_flight_says_how_to_go_on_and_loses_nothing(tmp_path):
    home = tmp_path / "home"
    with running(latency_ms=40) as base_url:
        path = recipe(tmp_path, base_url, per_leaf=30)
        process = start("run", path, home=home)
        await_requests(base_url, 60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "Interrupted. Nothing is lost" in out and str(path) in out
        before = stats(base_url)
        assert sql("SELECT count(*) AS n FROM calls WHERE status = 'ok'", home) == [{"n": before["requests"]}]
        assert facts("run", path, home=home)["status"] == "done"
        assert stats(base_url)["repeated"] == 0


def test_a_reader_every_50_ms_and_a_run_do_not_disturb_each_other(tmp_path):
    from seedbed.store import Store

    home = tmp_path / "home"
    with running(latency_ms=2) as base_url:
        process = start("run", recipe(tmp_path, base_url, per_leaf=60), home=home)
        while not (home / "seedbed.duckdb").exists():
            time.sleep(0.02)
        store, seen = Store(home), []
        while process.poll() is None:
            seen += store.rows("SELECT made, kept + dropped + failed + pending AS sum FROM runs")
            time.sleep(0.05)
        assert process.returncode == 0, process.communicate()[1]
    assert len(seen) > 10 and all(row["made"] == row["sum"] for row in seen)


def test_a_second_ctrl_c_ends_at_once_and_says_how_to_go_on(tmp_path):
    with running(hang=True) as base_url:
        process = start("run", recipe(tmp_path, base_url), home=tmp_path / "home")
        await_requests(base_url, 8)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130 and "the same command goes on from here" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "answer",
    [
        b'{"question": "What is \\ud800 here?", "answer": "Half a character."}',
        b'{"question": "What is here?", "answer": "\\udfff"}',
    ],
)
def test_half_a_character_in_an_answer_fails_that_row_and_no_run(tmp_path, answer):
    async def main():
        from flows.run import grow, read

        async def serve(_):
            choice = {"message": {"content": answer.decode()}, "finish_reason": "stop"}
            return web.Response(body=orjson.dumps({"choices": [choice], "usage": {"prompt_tokens": 5_000_000_000}}))

        app = web.Application()
        app.router.add_post("/v1/chat/completions", serve)
        async with TestServer(app) as server:
            path = recipe(tmp_path, str(server.make_url("/v1")), generate=[{"knowledge": {"per_leaf": 8}}])
            return [await grow(read(path), tmp_path / "home") for _ in range(2)]

    for outcome in asyncio.run(main()):
        assert outcome.status == "failed" and "half a character" in outcome.message
    assert sql("SELECT DISTINCT tokens_in FROM calls", tmp_path / "home") == [{"tokens_in": None}], "no such count"


def test_a_journal_that_cannot_be_read_is_set_aside_and_told_and_the_run_goes_on(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=1)
        facts("run", path, home=home)
        spoilt = home / "journal" / "abc.1-0.jsonl"
        spoilt.write_text("no call of ours\n")
        done = seedbed("run", path, home=home)
        assert done.returncode == 0 and "Traceback" not in done.stderr
        assert str(spoilt) in done.stderr and "abc.1-0.jsonl.damaged" in done.stderr
        again = seedbed("run", path, home=home)
        assert again.returncode == 0 and "damaged" not in again.stderr


def test_a_run_in_a_thread_of_another_program_goes_to_its_end(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from flows.run import grow, read

    with running() as base_url, ThreadPoolExecutor(1) as threads:
        seen = read(recipe(tmp_path, base_url, per_leaf=2))
        outcome = threads.submit(lambda: asyncio.run(grow(seen, tmp_path / "home"))).result()
    assert outcome.status == "done"
