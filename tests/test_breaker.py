"""A server that is gone, sick, or deaf to schemas: calls wait or fail at once, and one message says what to do."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.mock_server import running
from seedbed.engines import EngineError, EngineGone, ask
from seedbed.engines.http import HttpEngine
from seedbed.journal import lease
from seedbed.ledger import Ledger, Stopped
from seedbed.recorded import Recorded
from seedbed.records import Frozen, Message
from seedbed.replies import Unreadable
from seedbed.store import Store
from tests.test_http import completion


class Named(Frozen):
    name: str


def said(n):
    return [Message(role="user", content=f"say {n}")]


def served(handler, work, **options):
    """What `work` gives on an engine whose server answers by `handler`, a function of the request's number."""
    seen = []

    async def handle(request):
        seen.append((await request.json())["messages"][0]["content"])
        return handler(len(seen), seen[-1])

    async def main():
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handle)
        async with TestServer(app) as server:
            url = str(server.make_url("/v1"))
            async with HttpEngine(url, "m", **{"timeout": 1, "backoff": 0.01} | options) as engine:
                return await work(engine)

    return asyncio.run(main()), seen


async def many(engine, n, **options):
    asked = (engine.chat(said(i), step="t", **options) for i in range(n))
    return await asyncio.gather(*asked, return_exceptions=True)


def test_a_server_that_stays_gone_is_asked_a_few_times_and_every_call_hears_the_same(caplog):
    began = time.monotonic()
    told, seen = served(lambda n, _: web.Response(status=502), lambda engine: many(engine, 200), retries=1)
    gone = {str(error) for error in told if isinstance(error, EngineGone)}
    assert time.monotonic() - began < 10 and len(seen) < 150, "200 calls of two tries each would be 400"
    assert len(gone) == 1 and "Check that the server is up and well, then run again" in gone.pop()
    assert sum(isinstance(error, EngineGone) for error in told) > 100
    [said] = [record.getMessage() for record in caplog.records if record.name.startswith("seedbed")]
    assert "All its calls wait" in said


def test_a_server_that_comes_back_in_time_is_waited_for_and_no_call_fails(caplog):
    told, _ = served(
        lambda n, _: completion() if n > 15 else web.Response(status=502),
        lambda engine: many(engine, 100),
        retries=4,
        timeout=5,
    )
    assert [reply.text for reply in told] == ["fine"] * 100
    assert "answers again" in caplog.records[-1].getMessage()


def test_once_gone_it_is_still_probed_and_then_used_again():
    sick = [True]

    async def work(engine):
        first = await many(engine, 40)
        sick.clear()
        await asyncio.sleep(1.2)  # until the next probe is due
        return first, [*await many(engine, 1), *await many(engine, 39)]

    (first, then), _ = served(
        lambda n, _: web.Response(status=502) if sick else completion(), work, retries=0, concurrency=4
    )
    assert any(isinstance(error, EngineGone) for error in first)
    assert [reply.text for reply in then] == ["fine"] * 40


def test_one_row_that_a_server_cannot_bear_fails_alone_and_opens_nothing(caplog):
    bad = lambda n, text: web.Response(status=500) if text in ("say 3", "say 4") else completion()  # noqa: E731

    async def one_after_the_other(engine):
        return [(await asyncio.gather(engine.chat(said(n), step="t"), return_exceptions=True))[0] for n in range(8)]

    told, _ = served(bad, one_after_the_other, retries=8)
    assert [isinstance(reply, EngineError) for reply in told] == [False] * 3 + [True] * 2 + [False] * 3
    assert not caplog.records, "nothing has opened"


def test_one_prompt_that_is_too_long_fails_alone_among_those_sent_with_it():
    def long(n, text):
        refusal = {"error": {"message": "maximum context length is 4096 tokens"}}
        return web.json_response(refusal, status=400) if text == "say 7" else completion()

    told, seen = served(long, lambda engine: many(engine, 64))
    assert len(seen) == 64
    assert [n for n, reply in enumerate(told) if isinstance(reply, EngineError)] == [7]
    assert "Shorten what the prompt shows" in str(told[7])


@pytest.mark.parametrize(
    ("text", "warned"),
    [("Certainly! My name is Ada.", True), ('{"nom": "Ada"}', True), ('{"name": "Ada"}', False)],
)
def test_a_server_that_ignores_the_schema_is_named_within_five_calls_with_what_to_do(text, warned, caplog):
    async def five(engine):
        for n in range(5):
            await asyncio.gather(ask(engine, said(n), Named, step="t"), return_exceptions=True)
        return [record.getMessage() for record in caplog.records]

    notices, _ = served(lambda n, _: completion(text), five)
    assert len(notices) == warned
    assert all("ignores the JSON schema" in notice and "use a server that enforces" in notice for notice in notices)


def test_an_answer_cut_short_by_max_tokens_is_no_breach_of_the_schema(caplog):
    cut = {"choices": [{"message": {"content": '{"name": "A'}, "finish_reason": "length"}]}

    async def five(engine):
        asked = (ask(engine, said(n), Named, step="t") for n in range(5))
        return await asyncio.gather(*asked, return_exceptions=True)

    told, _ = served(lambda n, _: web.json_response(cut), five)
    assert all(isinstance(reply, Unreadable) for reply in told) and not caplog.records


def test_a_run_stops_at_an_engine_that_is_gone_and_records_no_failure_for_what_was_not_sent(tmp_path):
    async def work(engine):
        with lease(tmp_path, "run"):
            ledger = Ledger(Store(tmp_path), "run")
            told = await many(Recorded(engine, ledger, "run", 64), 300)
            await ledger.close()
        return told, ledger.stop_reason

    (told, reason), seen = served(lambda n, _: web.Response(status=401), work)
    assert all(isinstance(error, Stopped) for error in told) and "HTTP 401" in reason
    assert len(seen) <= 64, "after the first answer none is sent that was not on its way"
    assert Store(tmp_path).rows("SELECT count(*) AS n FROM calls") == [{"n": 0}]


def test_refusals_are_waited_out_for_as_long_as_a_call_may_take_however_many_there_are():
    def busy(n, _):
        return completion() if n > 9 else web.Response(status=429)

    told, _ = served(busy, lambda engine: many(engine, 4), retries=1, timeout=20)
    assert [reply.text for reply in told] == ["fine"] * 4


def test_what_is_served_to_a_stopped_run_is_not_asked_again_when_it_goes_on(tmp_path):
    """The shard that was under way is not stored with failures: its answers are replayed."""
    from flows.run import grow, read
    from tests.test_run import recipe, stats

    with running(status=401, fault_every=9) as base_url:
        path = recipe(tmp_path, base_url, per_leaf=2, curate=["rules"])
        outcome = asyncio.run(grow(read(path), tmp_path / "home"))
        assert outcome.status == "failed" and "No key was sent" in outcome.message
        assert outcome.progress.failed == 0 and outcome.progress.tally.calls > 0
        again = asyncio.run(grow(read(path), tmp_path / "home"))
        assert again.progress.tally.replayed >= outcome.progress.tally.calls
        assert stats(base_url)["paid_twice"] == 0
