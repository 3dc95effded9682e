"""What the benchmark of a served model compares: two clients, each with as many calls under way as it is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from benchmarks import served
from benchmarks.mock_server import http
from seedbed.engines import Sampling
from seedbed.engines.http import HttpEngine

CROWD = 150  # more than the 100 connections that aiohttp's session opens unless told otherwise
ANSWER = http(200, b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}')


async def bare(engine, asked):
    await served.bare(SimpleNamespace(_servers=[SimpleNamespace(_client=engine)]), asked)  # type: ignore[arg-type]


async def ours(engine, asked):
    await asyncio.gather(*(engine.chat(one, Sampling(0, 1, 8), step="story") for one in asked))


@pytest.mark.parametrize("client", [bare, ours])
def test_as_many_calls_are_under_way_as_the_client_is_told(client, monkeypatch):
    """The server answers nobody before all have asked."""
    monkeypatch.setattr(served, "AT_ONCE", CROWD)
    under_way, all_here = list[bytes](), asyncio.Event()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        under_way.append(await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0])))
        if len(under_way) == CROWD:
            all_here.set()
        await all_here.wait()
        writer.write(ANSWER)
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=CROWD)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with asyncio.timeout(60), HttpEngine(url, "m", concurrency=CROWD, retries=0) as engine:
            await client(engine, served.prompts(CROWD))
        server.close()

    asyncio.run(main())
    assert len(under_way) == CROWD
