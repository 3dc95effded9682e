"""How far a judge can be trusted with pairs: real answers, with the preference that a stronger judge recorded.

    python benchmarks/preferences.py --pairs 100                      # the embedded model as judge
    python benchmarks/preferences.py --base-url http://127.0.0.1:8000/v1 --model Qwen/Qwen3-8B

The answers are AlpacaEval's (../shared/data/alpaca_eval): two models' to one instruction, whose recorded preferences
(GPT-4's, each against one baseline) lie at least half apart. Printed are the judge's agreement with the record where it
is asked once, where it is asked in both orders and disagreements are ties, and that of "the longer answer is better".
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import duckdb

from flows.engines import open_engine
from seedbed.confidence import wilson
from seedbed.engines import Engine
from seedbed.pairwise import Comparison, Criterion, compare
from seedbed.recipe import HttpModel, TransformersModel

DATA = Path(__file__).parents[2] / "shared" / "data" / "alpaca_eval" / "outputs.parquet"
PAIRS = """
WITH answers AS (
    SELECT instruction, model, output, preference FROM read_parquet(?, hive_partitioning = false)
    WHERE preference IS NOT NULL AND length(instruction) < 300 AND length(output) BETWEEN 40 AND 600)
SELECT a.instruction, a.output, b.output
FROM answers a JOIN answers b USING (instruction)
WHERE a.preference >= b.preference + 0.5
ORDER BY md5(instruction || a.model || b.model)
"""


class Pair(NamedTuple):
    """Two answers to one request, the one that the record prefers first."""

    request: str
    better: str
    worse: str


def pairs(limit: int) -> list[Pair]:
    """One pair a request, always the same."""
    with duckdb.connect() as db:
        rows = db.execute(PAIRS, [str(DATA)]).fetchall()
    return list({row[0]: Pair(*row) for row in rows}.values())[:limit]


async def judged(judge: Engine, found: list[Pair], at_once: int) -> list[Comparison]:
    """Each pair in both orders; which of its answers is called a is drawn, so that the record is no place."""
    slots, dice = asyncio.Semaphore(at_once), random.Random(0)

    async def one(pair: Pair, turned: bool) -> Comparison:
        a, b = (pair.worse, pair.better) if turned else (pair.better, pair.worse)
        async with slots:
            seen = await compare(judge, pair.request, a, b, Criterion("preference"))
        return Comparison(1 - seen.behind, 1 - seen.in_front) if turned else seen

    return await asyncio.gather(*(one(pair, dice.random() < 0.5) for pair in found))


def told(found: list[Pair], seen: list[Comparison], seconds: float) -> None:
    """The figures; of a comparison, a is the answer that the record prefers."""
    decided = [one for one in seen if one.winner != "tie"]
    once = sum((one.in_front > 0.5) + (one.behind > 0.5) for one in seen)
    first = sum((one.in_front > 0.5) + (one.behind <= 0.5) for one in seen)
    longer = sum(len(pair.better) > len(pair.worse) for pair in found)
    print(f"{len(found)} pairs, {seconds:.0f} s, {2 * len(found) / seconds:.1f} judgements a second")
    for name, hits, n in (
        ("asked once", once, 2 * len(seen)),
        ("asked in both orders, decided", sum(one.winner == "a" for one in decided), len(decided)),
        ("the longer answer", longer, len(found)),
    ):
        low, high = wilson(hits, n)
        print(f"{name:32} agrees in {hits / max(n, 1):.0%} of {n} ({low:.0%} to {high:.0%})")
    print(f"ties {len(seen) - len(decided)} of {len(seen)}; the first place wins {first / (2 * len(seen)):.0%}")


async def main(options: argparse.Namespace) -> None:
    """Judge and print."""
    remote = options.base_url and HttpModel(base_url=options.base_url, model=options.model)
    model = remote or TransformersModel()
    found = pairs(options.pairs)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(model))
        began = time.perf_counter()
        seen = await judged(engine, found, model.concurrency)
        told(found, seen, time.perf_counter() - began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A judge of pairs against recorded preferences")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--base-url", default="")
    parser.add_argument("--model", default="")
    asyncio.run(main(parser.parse_args()))
