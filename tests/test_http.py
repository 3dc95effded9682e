"""What the http engine promises: answers, patience with passing faults, clear words for the others, an end."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import time
from contextlib import contextmanager
from email.utils import formatdate

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.mock_server import running
from seedbed.engines import EngineError, Sampling, ask
from seedbed.engines.http import HttpEngine
from seedbed.records import Frozen, Message
from seedbed.replies import Unreadable

HELLO = [Message(role="user", content="Say something about harbours.")]
KEY = "sk-secret-0123456789"


class Pair(Frozen):
    question: str
    answer: str
    scores: list[int]


@contextmanager
def taking(least, most):
    """What is inside must take this many seconds."""
    start = time.monotonic()
    yield
    assert least <= time.monotonic() - start <= most


def completion(text="fine", logprobs=None, **more):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": logprobs}
    return web.json_response({"choices": [choice], **more})


def top(*tokens):
    return {"content": [{"top_logprobs": [{"token": t, "logprob": math.log(p)} for t, p in tokens]}]}


async def asking(url, call=lambda engine: engine.chat(HELLO, step="test"), **options):
    async with HttpEngine(url, "mock", **options) as engine:
        return await call(engine)


def once(url, *call, **options):
    return asyncio.run(asking(url, *call, **options))


def talk(*responses, **options):
    """What a call gives where the server makes these responses, the last for ever; requests seen; naps taken."""
    seen, naps = [], []

    async def handler(request):
        seen.append((request, await request.read()))
        made = responses[min(len(seen), len(responses)) - 1]
        return await made(request) if asyncio.iscoroutinefunction(made) else made()

    async def nap(seconds):
        naps.append(seconds)

    async def main():
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handler)
        async with TestServer(app) as server:
            return await asking(str(server.make_url("/v1")), **{"sleep": nap} | options)

    try:
        return asyncio.run(main()), seen, naps
    except (EngineError, Unreadable) as error:
        return error, seen, naps


def refused(status, wait):
    return lambda: web.Response(status=status, headers={"Retry-After": wait})


def choose(*options):
    return lambda engine: engine.choose(HELLO, options, step="judge")


def test_an_answer_arrives_with_its_counts():
    usage, sampling = {"prompt_tokens": 7, "completion_tokens": 3}, Sampling(0.2, 0.5, 9)
    reply, seen, _ = talk(
        lambda: completion("Harbours are wet.", usage=usage),
        call=lambda engine: engine.chat(HELLO, sampling, step="t", ordinal=2**31 + 5),
        api_key=KEY,
    )
    assert (reply.text, reply.tokens_in, reply.tokens_out, reply.finish) == ("Harbours are wet.", 7, 3, "stop")
    assert seen[0][0].headers["Authorization"] == f"Bearer {KEY}"
    sent = {"model": "mock", "messages": HELLO, "temperature": 0.2, "top_p": 0.5, "max_tokens": 9, "seed": 5}
    sent["stream"] = False
    assert orjson.loads(seen[0][1]) == sent


@pytest.mark.parametrize("message", [{"content": None}, {"role": "assistant"}])
def test_no_content_is_an_empty_answer(message):
    reply, _, _ = talk(lambda: web.json_response({"choices": [{"message": message}], "usage": None}))
    assert (reply.text, reply.tokens_in, reply.tokens_out, reply.finish) == ("", None, None, "stop")


def test_the_schema_is_sent_and_the_answer_fits_it():
    _, seen, _ = talk(completion, call=lambda e: e.chat(HELLO, step="t", schema=Pair))
    sent = orjson.loads(seen[0][1])["response_format"]
    expected = {"name": "Pair", "schema": Pair.model_json_schema(), "strict": True}
    assert sent == {"type": "json_schema", "json_schema": expected}
    assert sent["json_schema"]["schema"]["additionalProperties"] is False
    with running() as url:
        pair, _ = once(url, lambda engine: ask(engine, HELLO, Pair, step="make"))
    assert pair.question.endswith("?") and 1 <= pair.scores[0] <= 5


@pytest.mark.parametrize(("fault", "why"), [("prose", "no JSON"), ("half_json", "JSON"), ("empty", "empty")])
def test_a_wrong_answer_is_not_the_servers_fault(fault, why):
    with running(**{fault: True}) as url, pytest.raises(Unreadable, match=why):
        once(url, lambda engine: ask(engine, HELLO, Pair, step="make"))


def test_retry_after_seconds_are_waited_exactly():
    reply, seen, naps = talk(refused(429, "7"), refused(429, "7"), completion)
    assert reply.text == "fine" and len(seen) == 3 and naps == [7, 7]
    with running(retry_after=1, fault_times=1) as url, taking(1, 2.5):
        once(url)


@pytest.mark.parametrize("value", ["3600", "inf"])
def test_a_wait_past_the_deadline_fails_now_and_says_so(value):
    error, seen, naps = talk(refused(429, value), timeout=2)
    assert isinstance(error, EngineError) and len(seen) == 1 and naps == []
    assert "HTTP 429" in str(error) and "asks to wait" in str(error)


@pytest.mark.parametrize("value", ["", "soon", "nan", "-5", "Mon, 99 Foo 2026", "a date"])
def test_retry_after_may_be_a_date_and_is_no_trouble_if_senseless(value):
    date = value == "a date"
    reply, _, naps = talk(refused(503, formatdate(time.time() + 300) if date else value), completion)
    assert reply.text == "fine" and (100 if date else 0) <= naps[0] <= (300 if date else 0.5)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_passing_faults_are_tried_again(status):
    reply, seen, _ = talk(lambda: web.Response(status=status), completion)
    assert reply.text == "fine" and len(seen) == 2


def test_waits_grow_with_jitter_up_to_a_cap():
    rng = random.Random(0)
    _, _, naps = talk(lambda: web.Response(status=500), retries=12, rng=random.Random(0))
    assert naps == [rng.uniform(0, min(30, 0.5 * 2**n)) for n in range(12)] and max(naps) <= 30


NO_COMPLETIONS = ["<html>" + "x" * 300, '{"choices": [', "[]", '{"error": {"message": "no"}}', '{"detail": "no"}']


@pytest.mark.parametrize("body", NO_COMPLETIONS)
def test_a_body_that_is_no_completion_is_retried_and_then_quoted(body):
    error, seen, _ = talk(lambda: web.Response(text=body), retries=2)
    assert isinstance(error, EngineError) and len(seen) == 3
    assert ("no" if body[2:7] in ("error", "detai") else body) in str(error)


def test_a_body_cut_short_is_retried():
    async def cut(request):
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b'{"choices"')
        request.transport.close()
        return web.Response()

    error, seen, _ = talk(cut, retries=1)
    assert isinstance(error, EngineError) and "PayloadError" in str(error) and len(seen) == 2


@pytest.mark.parametrize("fault", [{"drop": True}, {"html": True}, {"status": 500}])
def test_a_fault_that_passes_does_no_harm_and_one_that_lasts_is_named(fault):
    with running(**fault, fault_times=1) as url:
        assert once(url, backoff=0.001).text
    said = {"drop": "Disconnected", "html": "<h1>Welcome", "status": "HTTP 500: scripted fault"}[next(iter(fault))]
    with running(**fault) as url, pytest.raises(EngineError, match=f"{url}: .*{said}.*3 tries"):
        once(url, retries=2, backoff=0.001)


def test_a_frozen_server_is_left_at_the_deadline():
    with running(hang=True) as url, taking(0.2, 2), pytest.raises(EngineError, match="no whole answer within"):
        once(url, timeout=0.2, retries=3, backoff=0.1)


async def drip(request):
    await (response := web.StreamResponse()).prepare(request)
    for _ in range(200):
        await response.write(b" ")
        await asyncio.sleep(0.02)


def test_a_dripping_server_is_left_at_the_deadline():
    with taking(0.3, 2):
        error, seen, _ = talk(drip, timeout=0.2, retries=1, backoff=0.001)
    assert isinstance(error, EngineError) and "no whole answer within" in str(error) and len(seen) == 2


def test_the_last_try_gets_only_the_time_that_is_left():
    error, seen, _ = talk(refused(429, "0.3"), drip, timeout=0.2, retries=1, sleep=asyncio.sleep)
    assert len(seen) == 2 and re.search(r"no whole answer within 0\.0\d+ s", str(error))


def test_retries_never_outlive_the_deadline():
    with running(retry_after=0.4) as url, taking(0.8, 2), pytest.raises(EngineError, match="asks to wait"):
        once(url, timeout=0.25, retries=4)


def test_cancelling_stops_at_once():
    async def main(url):
        call = asyncio.create_task(asking(url))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with running(hang=True) as url, taking(0, 2):
        asyncio.run(main(url))


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (401, "bad key", "api_key_env"),
        (404, "no such model", "base_url"),
        (400, "maximum context length is 4096 tokens", "Shorten"),
        (422, "unknown field", "supports"),
    ],
)
def test_refusals_come_at_once_with_what_to_do(status, said, remedy):
    error, seen, _ = talk(lambda: web.json_response({"error": {"message": said}}, status=status))
    assert isinstance(error, EngineError) and len(seen) == 1
    assert f"HTTP {status}: {said}." in str(error) and remedy in str(error)


def test_redirects_are_refused():
    target = {"Location": "http://169.254.169.254/latest"}
    error, seen, _ = talk(lambda: web.Response(status=307, headers=target))
    assert "redirects to http://169.254.169.254/latest" in str(error) and len(seen) == 1


@pytest.mark.parametrize("status", [200, 307, 400, 401, 500])
@pytest.mark.parametrize("padding", [0, 183])
def test_the_key_is_in_no_error(status, padding, caplog):
    """Not even where the server echoes it, nor its beginning where the quotation ends amid it."""
    caplog.set_level(logging.DEBUG)
    echo = "x" * padding + f" you sent {KEY}"
    body = lambda: web.Response(status=status, text=echo, headers={"Location": f"/?k={KEY}"})  # noqa: E731
    error, _, _ = talk(body, api_key=KEY + "\n", retries=0)
    while error is not None:
        assert KEY[:6] not in str(error) and KEY[:6] not in repr(error)
        error = error.__cause__
    assert KEY[:6] not in caplog.text


def test_calls_overlap_up_to_the_concurrency():
    async def main(url):
        async with HttpEngine(url, "m", timeout=0.8, retries=0) as engine:
            # The queue's 1 s and more does not count against the timeout.
            await asyncio.gather(*(engine.chat(HELLO, step="t", ordinal=n) for n in range(1280)))
        async with aiohttp.ClientSession() as session:
            return await (await session.get(url.removesuffix("/v1") + "/stats")).json(content_type=None)

    with running(latency_ms=50) as url, taking(1, 8):
        stats = asyncio.run(main(url))
    assert (stats["requests"], stats["max_in_flight"], stats["repeated"]) == (1280, 64, 0)


def test_probe_says_what_is_served_or_that_nobody_is_there():
    with running() as url:
        assert once(url, HttpEngine.probe) == f"{url} serves mock"
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9/v1: .*Is it running"):
        once("http://127.0.0.1:9/v1", HttpEngine.probe)
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9/v1: .*check that the server is up"):
        once("http://127.0.0.1:9/v1", retries=1, backoff=0.001)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8000", "ftp://host", "", "http://", "http://h:99999/v1", f"http://me:{KEY}@h", f"http://h?k={KEY}"],
)
def test_a_bad_base_url_says_what_to_write_and_no_secret(url):
    with pytest.raises(ValueError, match=r"base_url .*write it like http://127\.0\.0\.1:8000/v1") as caught:
        HttpEngine(url, "m")
    assert KEY not in str(caught.value)


def test_a_prompt_that_is_no_text_is_named():
    broken = [Message(role="user", content="\ud800")]
    with pytest.raises(EngineError, match="no valid text"):
        once("http://127.0.0.1:9/v1", lambda engine: engine.chat(broken, step="t"))
