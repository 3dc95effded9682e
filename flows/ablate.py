"""Does debate earn its tokens? One judge, a vote of k and debate on the same planted faults, at equal tokens.

Debate and vote are the recipe's own, with its options and prompts. The vote gets as many votes as the debate on
everything cost in tokens; what the gate saves stands beside both.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from curators.debate import Debate, debate, opinion
from curators.planted import Item, planted
from curators.vote import Vote, vote
from flows.engines import cards, open_all, places, recorded
from flows.figures import seconds, share
from flows.run import INTERRUPTED, ReadRecipe, budget_of, interruptible
from flows.screen import Screen
from flows.tables import Column, show_table
from seedbed.confidence import wilson
from seedbed.engines import EngineError, Engines, ModelCard
from seedbed.errors import InputError
from seedbed.journal import lease
from seedbed.ledger import Ledger, Stopped
from seedbed.recipe import Recipe
from seedbed.records import Sample, Verdict
from seedbed.replies import Unreadable
from seedbed.store import Store
from seedbed.store.runs import begin, end

Arm = Callable[[Sample], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Row:
    """One arm's line. `caught` are faulty answers dropped or revised, `alarms` good ones; tokens a decision's mean."""

    arm: str
    judged: int
    correct: int
    faulty: int
    caught: int
    good: int
    alarms: int
    unread: int
    tokens: float
    calls: float
    seconds: float


async def ablate(seedbed: ReadRecipe, home: Path, rows: int) -> list[Row]:
    """The table, every call through the ledger: asked again, it costs nothing.

    Raises:
        InputError: the taxonomy has no two seeds in any leaf.
        Stopped: it was interrupted, or the recipe's budget is spent; the same command goes on.
        RunBusy, EngineError, StoreError: it cannot begin.
    """
    items = planted(seedbed.leaves, rows)
    if not items:
        raise InputError("nothing to plant a fault in: give a leaf of the taxonomy two seed_examples or more")
    store, recipe = Store(home), seedbed.recipe
    try:
        async with AsyncExitStack() as stack:
            engines = await open_all(recipe, stack, home)
            weighed = methods_of(recipe)
            run_id = _run_id(recipe.name, cards(engines), weighed, items)
            stack.enter_context(lease(home, run_id))
            about = [("planted", "all", len(items), "")]
            begin(store, run_id, f"{recipe.name}/ablate", recipe.model_dump_json(), cards(engines), about, preview=True)
            ledger, began = Ledger(store, run_id, budget_of(recipe)), time.monotonic()
            given = recorded(engines, recipe, ledger, run_id)
            status = "failed"
            try:
                with interruptible(ledger):
                    table = await _arms(items, given, weighed, places(recipe), store, ledger)
                status = "done"
            except Stopped as stop:
                status = "interrupted" if str(stop) == INTERRUPTED else "budget"
                raise
            finally:
                await ledger.close()
                end(store, run_id, status, "", time.monotonic() - began, ledger.tally.replayed)
            return table
    finally:
        store.close()


def methods_of(recipe: Recipe) -> tuple[Debate, Vote]:
    """The recipe's debate and vote. A vote that it does not have shares the debate's rubric: it is the control."""
    debate = next((step.options for step in recipe.curate if isinstance(step.options, Debate)), Debate())
    votes = (step.options for step in recipe.curate if isinstance(step.options, Vote))
    return debate, next(votes, Vote(rubric=debate.rubric))


async def _arms(
    items: Sequence[Item], engines: Engines, weighed: tuple[Debate, Vote], places: int, store: Store, ledger: Ledger
) -> list[Row]:
    slots, (gate, drawn) = asyncio.Semaphore(places), weighed
    everything = gate.model_copy(update={"sure": 1.0})

    async def row(arm: str, judge: Arm) -> Row:
        began = time.monotonic()
        found = await asyncio.gather(*(_one(judge, item, slots) for item in items), return_exceptions=True)
        await ledger.flush()
        verdicts = _whole(found)
        return _row(arm, items, verdicts, store, time.monotonic() - began)

    async def single(sample: Sample) -> Verdict:
        found = await opinion(sample, engines.judge, gate)
        return Verdict.scored("single", "single", found.mean, 0.5, "judged faulty", *found.call_ids)

    one = await row("one judge, one token", single)
    always = await row("debate on everything", lambda sample: debate(sample, engines, everything))
    gated = await row("debate behind its gate", lambda sample: debate(sample, engines, gate))
    first = await row("vote of 1", lambda sample: vote(sample, engines, _votes(drawn, 1)))
    k = max(1, min(64, round(always.tokens / first.tokens))) if first.tokens else 1
    same = await row(f"vote of {k}", lambda sample: vote(sample, engines, _votes(drawn, k))) if k > 1 else first
    return [one, gated, first, same, always] if k > 1 else [one, gated, first, always]


def _votes(drawn: Vote, n: int) -> Vote:
    return drawn.model_copy(update={"votes": n})


async def _one(judge: Arm, item: Item, slots: asyncio.Semaphore) -> Verdict | None:
    async with slots:
        try:
            return await judge(item.sample)
        except (Unreadable, EngineError):  # no verdict is an outcome, and counted
            return None


def _whole(found: Sequence[Verdict | BaseException | None]) -> list[Verdict | None]:
    """All verdicts, or what kept one from coming, once every call in flight is on the books."""
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return [one for one in found if not isinstance(one, BaseException)]


def _row(arm: str, items: Sequence[Item], verdicts: Sequence[Verdict | None], store: Store, seconds: float) -> Row:
    told = [(item, verdict) for item, verdict in zip(items, verdicts, strict=True) if verdict]
    against = [bool(item.fault) for item, verdict in told if not verdict.keep or verdict.revision]
    faulty = sum(bool(item.fault) for item, _ in told)
    caught, alarms = sum(against), len(against) - sum(against)
    calls = [call for _, verdict in told for call in verdict.call_ids]
    spent = store.rows(
        "WITH asked AS (SELECT call_id, count(*) AS n FROM (SELECT unnest(?) AS call_id) GROUP BY call_id) "
        "SELECT sum(n * tokens)::DOUBLE AS tokens FROM asked JOIN (SELECT call_id, any_value(tokens_in + tokens_out) "
        "AS tokens FROM calls SEMI JOIN asked USING (call_id) WHERE status = 'ok' GROUP BY call_id) USING (call_id)",
        [calls],
    )[0]["tokens"]
    judged = len(told)
    good = judged - faulty
    correct, n = caught + good - alarms, max(judged, 1)
    counts = (judged, correct, faulty, caught, good, alarms, len(items) - judged)
    return Row(arm, *counts, float(str(spent or 0)) / n, len(calls) / n, seconds)


def _run_id(recipe: str, models: Mapping[str, ModelCard], weighed: tuple[Debate, Vote], items: Sequence[Item]) -> str:
    """Another one for other models, options or answers, so that no two tables share a run's books."""
    told = [f"{role}: {card}" for role, card in models.items()] + [options.model_dump_json() for options in weighed]
    plan = "\n".join([recipe, *told, *(item.sample.model_dump_json() for item in items)])
    return hashlib.blake2b(plan.encode(), digest_size=6).hexdigest()


def show(console: Screen, rows: Sequence[Row]) -> None:
    """Print the table as it is, also where debate loses."""
    counts = ("judged", "right", "95 % range", "faults caught", "false alarms", "no verdict", "tokens", "calls", "s")
    show_table(console, [Column("arm", "name"), *(Column(name, "number") for name in counts)], list(map(_cells, rows)))
    console.print(
        "tokens and calls are a decision's mean; s is what this time took, and 0 calls are made twice", style="dim"
    )
    console.print(_conclusion(rows))


def _cells(row: Row) -> list[str]:
    low, high = wilson(row.correct, row.judged)
    shares = (share(row.correct / max(row.judged, 1)), f"{share(low)} to {share(high)}")
    counts = (f"{row.caught} of {row.faulty}", f"{row.alarms} of {row.good}", str(row.unread))
    return [row.arm, str(row.judged), *shares, *counts, f"{row.tokens:,.0f}", f"{row.calls:.1f}", seconds(row.seconds)]


def _conclusion(rows: Sequence[Row]) -> str:
    gated, others, always = rows[1], rows[-2], rows[-1]
    here, there, right = (row.correct / max(row.judged, 1) for row in (always, others, gated))
    low, high = wilson(always.correct, always.judged)
    clear = "" if there < low or there > high else f", which {always.judged} answers cannot tell apart"
    verb = "beats" if here > there else "loses to" if here < there else "ties with"
    saved = 1 - gated.tokens / always.tokens if always.tokens else 0.0
    return (
        f"At about equal tokens debate {verb} the {others.arm}: {share(here)} against {share(there)} right{clear}. "
        f"The gate saves {share(saved)} of the tokens; behind it {share(right)} are right."
    )


def facts(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The table as plain values."""
    return [asdict(row) for row in rows]
