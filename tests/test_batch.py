"""What the batch API promises: one file for many calls, answers by custom_id, and no batch paid for twice."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from benchmarks.mock_server import running
from flows.run import grow, read
from seedbed.engines import EngineError, EngineGone
from seedbed.engines.http import HttpEngine, Server
from seedbed.records import Message
from seedbed.store import Store
from tests.batch_provider import providing
from tests.test_run import recipe, start

ROWS = "SELECT leaf, question, answer, status FROM samples ORDER BY leaf, ordinal, attempt"


def ask(provider, folder, calls=6, seconds=60):
    """What so many calls give, by number: answers or errors. The process is gone after so many seconds."""

    async def main():
        async with HttpEngine(provider.base_url, "m", timeout=5, server=Server(batches=folder)) as engine:
            asked = [engine.chat([Message(role="user", content=f"say {n}")], step="t") for n in range(calls)]
            try:
                return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), seconds)
            except TimeoutError:
                return []

    return asyncio.run(main())


def test_many_calls_are_one_batch_and_each_gets_its_own_answer(tmp_path):
    with providing() as provider, running() as base_url:
        told = ask(provider, tmp_path / "b", 40)

        async def direct():
            async with HttpEngine(base_url, "m") as engine:
                asked = [engine.chat([Message(role="user", content=f"say {n}")], step="t") for n in range(40)]
                return await asyncio.gather(*asked)

        assert told == asyncio.run(direct())
    assert len(provider.batches) == 1 and set(provider.paid.values()) == {1}
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["lock"], "what is used up is forgotten"


def test_one_bad_call_and_one_without_an_answer_fail_alone(tmp_path):
    with providing(bad=(2,), unanswered=(4,), end="expired") as provider:
        told = ask(provider, tmp_path / "b")
    wrong = {n: str(error) for n, error in enumerate(told) if isinstance(error, EngineError)}
    assert set(wrong) == {2, 4}
    assert "HTTP 400: too long for the context" in wrong[2]
    assert "ended as expired without an answer to this: run again" in wrong[4]


def test_a_batch_that_the_provider_turns_down_is_one_message_and_is_sent_anew_by_the_next_run(tmp_path):
    with providing(end="failed") as provider:
        told = ask(provider, tmp_path / "b")
        assert len({str(error) for error in told}) == 1 and all(isinstance(error, EngineGone) for error in told)
        assert "ended as failed: the model has no batch quota" in str(told[0])
        provider.end = "completed"
        assert all(not isinstance(reply, Exception) for reply in ask(provider, tmp_path / "b"))


def test_when_the_answer_to_its_creation_is_lost_the_batch_is_not_created_again(tmp_path):
    with providing(lost_answers=1) as provider:
        told = ask(provider, tmp_path / "b")
    assert all(not isinstance(reply, Exception) for reply in told)
    assert len(provider.batches) == 1 and set(provider.paid.values()) == {1}


@pytest.mark.parametrize("lost", ["nothing", "its id", "the sending"])
def test_a_batch_under_way_is_found_again_also_where_only_the_server_knows_of_it(tmp_path, lost):
    with providing(seconds=600) as provider:
        assert ask(provider, tmp_path / "b", seconds=2) == []
        assert len(provider.batches) == 1
        if lost != "nothing":  # killed before it could be noted, or even before it was sent
            [path] = (tmp_path / "b").glob("*.id")
            path.unlink()
        if lost == "the sending":
            provider.batches.clear()
            provider.paid.clear()
        provider.seconds = 0
        told = ask(provider, tmp_path / "b")
    assert all(not isinstance(reply, Exception) for reply in told)
    assert len(provider.batches) == 1 and set(provider.paid.values()) == {1}


def test_two_processes_do_not_wait_for_the_same_batches(tmp_path):
    async def main():
        asked = (
            HttpEngine(provider.base_url, "m", server=Server(batches=tmp_path)),
            HttpEngine(provider.base_url, "m", server=Server(batches=tmp_path)),
        )
        async with asked[0] as one, asked[1] as two:
            first = asyncio.create_task(one.chat([Message(role="user", content="hello")], step="t"))
            await asyncio.sleep(0.3)
            with pytest.raises(EngineGone, match="another process waits for batches"):
                await two.chat([Message(role="user", content="hello")], step="t")
            await first

    with providing() as provider:
        asyncio.run(main())


def test_a_server_without_a_batch_api_is_named_with_what_to_do(tmp_path):
    with running() as base_url:
        provider = type("Provider", (), {"base_url": base_url})
        told = ask(provider, tmp_path / "b")
    assert "HTTP 404" in str(told[0]) and "batch" in str(told[0])


def test_a_killed_run_takes_its_batches_up_again_wherever_it_died_and_pays_for_none_twice(tmp_path):
    """Killed four times: before, between and after the sending, the end, the fetching and the recording."""
    with providing(seconds=0.8) as provider, running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=2, curate=["rules"])
        asyncio.run(grow(read(path), tmp_path / "calm"))
        path = recipe(tmp_path, provider.base_url, per_leaf=2, curate=["rules"], model={"batch": True})
        home, kills = tmp_path / "home", 0
        while kills < 4:
            process = start("run", path, home=home)
            time.sleep(2.0 + kills * 0.9)
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
        outcome = asyncio.run(grow(read(path), home))
        assert kills >= 2 and outcome.status in ("done", "short"), outcome.message
        assert Store(home).rows(ROWS) == Store(tmp_path / "calm").rows(ROWS)
        assert set(provider.paid.values()) == {1}
        assert Store(home).rows("SELECT count(*) AS n FROM calls WHERE status = 'ok'") == [{"n": len(provider.paid)}]
        before = len(provider.batches)
        asyncio.run(grow(read(path), home))
        assert len(provider.batches) == before, "run again costs nothing"
