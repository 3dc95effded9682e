"""Output tokens a second through Seedbed against a bare client, of one vLLM server and the same prompts.

    make vllm
    python -m benchmarks.served

One vLLM server with the embedded model answers both, in turn: first through the vllm engine with the ledger before it
and every answer recorded, then the very same requests by aiohttp with nothing around them. At temperature 0 both get
about the same answers; tokens are counted as the server counts them. A first round, not counted, warms its caches.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp
import orjson

from benchmarks.goals import Measured, at_least, not_here, script
from seedbed.engines import EngineError, Messages, Sampling
from seedbed.engines.smollm2 import EMBEDDED
from seedbed.engines.vllm import VllmEngine
from seedbed.journal import lease
from seedbed.ledger import Ledger
from seedbed.recorded import Recorded
from seedbed.store import Store
from seedbed.vllm_recipe import VllmModel

NAME, GOAL = "output tokens a second through Seedbed, against bare vLLM", 0.97
AT_ONCE, TOKENS = 16, 48


def prompts(n: int) -> list[Messages]:
    """So many requests that begin alike and ask for something long."""
    things = ("river", "ledger", "garden", "engine", "library", "market", "bridge", "harvest")
    asked = (f"Write a long story about a {things[at % len(things)]} and the number {at}." for at in range(n))
    return [[{"role": "user", "content": text}] for text in asked]


async def through(engine: VllmEngine, home: Path, asked: list[Messages]) -> float:
    """Tokens a second by way of engine, ledger and store."""
    store, began = Store(home), time.perf_counter()
    with lease(home, "served"):
        ledger = Ledger(store, "served")
        recorded = Recorded(engine, ledger, "served", AT_ONCE)
        replies = await asyncio.gather(*(recorded.chat(one, Sampling(0, 1, TOKENS), step="story") for one in asked))
        await ledger.close()
    store.close()
    return sum(reply.tokens_out or 0 for reply in replies) / (time.perf_counter() - began)


async def bare(engine: VllmEngine, asked: list[Messages]) -> float:
    """Tokens a second with aiohttp alone."""
    client = engine._servers[0]._client  # the address and the key of a server are nobody else's business
    assert client is not None
    waiting, tokens = iter(asked), list[int]()

    async def worker(session: aiohttp.ClientSession) -> None:
        for messages in waiting:
            request = {"model": client.card.model, "messages": messages, "temperature": 0, "top_p": 1, "seed": 0}
            body = orjson.dumps({**request, "max_tokens": TOKENS})
            async with session.post(f"{client._where}/chat/completions", data=body) as response:
                tokens.append(orjson.loads(await response.read())["usage"]["completion_tokens"])

    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {client._key}"}
    began = time.perf_counter()
    connector = aiohttp.TCPConnector(limit=0)  # else aiohttp holds itself to 100 connections
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(AT_ONCE)))
    return sum(tokens) / (time.perf_counter() - began)


async def _measure(requests: int, repeats: int) -> list[float]:
    asked, ratios = prompts(requests), list[float]()
    model = VllmModel(model=EMBEDDED, dtype="float32", max_model_len=1024, concurrency=AT_ONCE)
    async with VllmEngine(model) as engine:
        for repeat in range(repeats + 1):
            with tempfile.TemporaryDirectory() as folder:
                ours = await through(engine, Path(folder), asked)
            theirs = await bare(engine, asked)
            print(
                f"through Seedbed {ours:.1f} tokens/s, bare {theirs:.1f}{'' if repeat else ' (not counted)'}",
                flush=True,
            )
            ratios += [ours / theirs] if repeat else []
    return ratios


def goals(requests: int = 48, repeats: int = 5) -> list[Measured]:
    """The goal, measured."""
    try:
        found = asyncio.run(_measure(requests, repeats))
    except EngineError as error:
        return [not_here(NAME, f"at least {GOAL:g} x", str(error).partition("\n")[0])]
    return [at_least(NAME, GOAL, found, "x", digits=3)]


if __name__ == "__main__":
    script(__doc__, goals, requests=48, repeats=5)
