"""The walk: rounds of shards. A shard's rows are made, judged and selected, then stored in one transaction.

Several shards are under way at once, so that judging one overlaps with making the next and no slot of the engine
waits at a barrier. Selectors take shards in the plan's order: what is kept never depends on timing. A row is told
straight; batching is the engine's, memory of calls the ledger's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import numpy as np

from curators.exact_duplicates import STEP as DUPLICATES
from curators.exact_duplicates import ExactDuplicates, Seen, keys_of
from flows import at_once
from flows.failures import failed
from flows.gates import repassed
from flows.judged import named, revised, ruled, sample_of, unasked, with_pairs
from flows.plan import JudgeStep, Plan, Plot
from flows.progress import Progress
from flows.shards import Part, Shard, Slice, entries_of, parts_of, plot_of, slices_of
from seedbed.conversation import Content
from seedbed.conversation_json import content_of
from seedbed.drafts import Unfinished
from seedbed.engines import Engines
from seedbed.ledger import Ledger, Stopped
from seedbed.records import Draft, Sample, Unit, Verdict
from seedbed.store import Store, StoreError
from seedbed.store.passed import kept_by_others, keys_before
from seedbed.store.rows import Judged, Tables, judged_tables
from seedbed.store.runs import ENGINE_FAILURE, announce, finish_shard

SHARDS_UNDER_WAY = 3  # at least; more where their rows would leave places of the engine empty
OUTCOMES_WAITING = 4  # shards of rows that ask no model, at most, before they are committed
RUN_ENDS = (Stopped, StoreError)  # errors that are not one row's

Rows = list[Judged]
Work = Callable[[], Awaitable[Rows]]
Stage = Callable[[str, Work], Awaitable[Rows]]


async def direct(_name: str, work: Work) -> Rows:
    """A stage without an orchestrator: it just happens."""
    return await work()


class Growth:
    """One run at work. `units` bounds how many samples are under way at once."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        ledger: Ledger,
        engines: Engines,
        units: int,
        progress: Progress,
        stage: Stage = direct,
    ) -> None:
        self._plan, self._store, self._ledger, self._stage = plan, store, ledger, stage
        self._engines = engines
        self._units = asyncio.Semaphore(units)
        self._under_way = max(SHARDS_UNDER_WAY, -(-units // plan.shard_rows) + 1)
        self._progress = progress
        self._twins = next((o for step in plan.recipe.curate if isinstance(o := step.options, ExactDuplicates)), None)
        self._seen = _seen(plan, store, self._twins)
        self._unanswered: list[int] = []  # keys that were let through, of rows that are to be tried again

    async def rounds(self) -> None:
        """Try every open place, round after round, until none is open. Raises Stopped."""
        attempt, shards, position = 0, 0, 0
        while True:
            parts = await asyncio.to_thread(parts_of, self._plan, self._store, attempt)
            if not parts:
                return
            unanswered, fresh = self._progress.unanswered, self._progress.fresh
            self._seen.forget(np.array(self._unanswered, dtype=np.uint64))
            self._unanswered.clear()
            slices = slices_of(parts, shards, position)
            await self._round(parts, slices)
            made = self._progress.fresh - fresh
            if made and made == self._progress.done and self._progress.nothing_answered():
                raise Stopped(f"no row got an answer. {self._progress.raw_failures()}")
            if made and self._progress.unanswered - unanswered == made:
                return  # only rows that the engine keeps failing on are left: the report names them
            attempt, shards = attempt + 1, shards + len(slices)
            position += sum(part.size for part in parts)

    async def _round(self, parts: Sequence[Part], slices: Sequence[Slice]) -> None:
        done = await asyncio.to_thread(announce, self._store, self._plan.run_id, entries_of(slices))
        self._progress.planned += sum(part.size for part in parts)
        under_way = asyncio.Semaphore(self._under_way)
        before: asyncio.Future[None] = _nothing_before()
        tasks: list[asyncio.Task[None]] = []
        for one in slices:
            if one.number in done:
                continue
            await under_way.acquire()
            if any(task.done() and task.exception() for task in tasks):
                break
            if self._ledger.stop_reason and one.part.at_once:  # nothing in such a shard would ask whether to stop
                break
            shard = Shard(one.number, one.first, await one.part.take(one.at, one.n), one.part.at_once)
            selected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._shard(shard, before, selected))
            task.add_done_callback(lambda _: under_way.release())
            tasks = [t for t in tasks if not t.done() or t.exception()] + [task]
            before = selected
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await self._ledger.flush()
        _raise_first(ended)
        if self._ledger.stop_reason:
            raise Stopped(self._ledger.stop_reason)

    async def _shard(self, shard: Shard, before: asyncio.Future[None], selected: asyncio.Future[None]) -> None:
        try:
            rows = await self._stage(f"make {shard.rows}", partial(self._make_all, shard))
            for step in self._plan.curators:
                if isinstance(step, str):
                    await _turn(before)
                    rows = await self._select(rows)  # milliseconds: a stage of its own would cost more than it does
                    selected.set_result(None)
                elif step:
                    name = f"judge with {' and '.join(judge.name for judge in step)}, {shard.rows}"
                    rows = await self._stage(name, partial(self._judge_all, rows, step))
            rows = [self._closed(row, last=True) if row.sample.status == "pending" else row for row in rows]
            outcome = await self._tables(shard, rows)
            pairs = sum(len(row.pairs) for row in rows)
            self._ledger.conclude(partial(finish_shard, self._plan.run_id, shard.number, pairs, outcome))
            self._alarm(shard_over=True)
            if shard.at_once:
                await self._ledger.settle(OUTCOMES_WAITING)
        finally:
            if not selected.done():
                selected.cancel()

    async def _tables(self, shard: Shard, rows: Rows) -> Tables:
        """The rows for the store; those of a large shard in a thread, for they take a while."""
        work = partial(judged_tables, self._plan.run_id, rows, self._engines.judge.card.model)
        return await asyncio.to_thread(work) if shard.at_once else work()

    async def _make_all(self, shard: Shard) -> Rows:
        if all(plot.generator.at_once for _, plot in shard.units):
            return self._counted(await asyncio.to_thread(at_once.make, shard, ""), tried=True)
        made = (self._make(unit, plot, shard.first + i) for i, (unit, plot) in enumerate(shard.units))
        return _whole(await asyncio.gather(*made, return_exceptions=True))

    async def _judge_all(self, rows: Sequence[Judged], judges: tuple[JudgeStep, ...]) -> Rows:
        last = judges is self._plan.curators[-1]
        if all(step.method.at_once for step in judges):
            waiting = [row for row in rows if row.sample.status == "pending"]
            judged = iter(self._counted(await asyncio.to_thread(at_once.judge, waiting, judges), last=last))
            return [next(judged) if row.sample.status == "pending" else row for row in rows]
        asked = (self._judge_one(row, judges, last) for row in rows)
        return _whole(await asyncio.gather(*asked, return_exceptions=True))

    def _counted(self, done: Sequence[at_once.Done], tried: bool = False, last: bool = False) -> Rows:
        """The rows of a step that asked no model, counted."""
        rows = []
        for row, told in done:
            if told:
                self._progress.failure(told)
            if tried:
                self._progress.tried()
            rows.append(self._closed(row, last))
        self._alarm()
        return rows

    async def _make(self, unit: Unit, plot: Plot, position: int) -> Judged:
        async with self._units:
            try:
                draft: Draft = await plot.generator.make(unit, self._engines, plot.options)
                problem: Exception | None = None
            except RUN_ENDS:
                raise
            except Unfinished as left:
                draft, problem = left.draft, left.problem
            except Exception as error:  # whatever it is, it is this row's
                draft, problem = Draft(Content(), plot.generator.kind), error
        model = self._engines.model.card.model
        made = ruled(Judged(position, sample_of(unit, draft, model), ()), draft.verdicts)
        if problem:
            made = self._failed(made, unit.method, problem)
        self._progress.tried()
        self._alarm()
        return self._closed(made)

    async def _judge_one(self, row: Judged, judges: tuple[JudgeStep, ...], last: bool) -> Judged:
        if row.sample.status != "pending":
            return row
        async with self._units:
            for step in judges:
                try:
                    row = await self._judged(row, step)
                except RUN_ENDS:
                    raise
                except Exception as error:  # whatever it is, it is this row's
                    row = self._failed(row, step.name, error)
                if row.sample.status != "pending":
                    break
        return self._closed(row, last)

    async def _judged(self, row: Judged, step: JudgeStep) -> Judged:
        """The row with what a judge says of it; words that it has changed pass all gates before it."""
        verdict = named(unasked(step, row) or await step.says(row.sample, self._engines), step)
        before, row = row.sample, ruled(row, [verdict])
        if verdict.revision is None:
            return row
        row = revised(row, before, verdict)
        if row.sample.status == "pending":
            again = await repassed(row.sample, self._plan.before(step), self._plot(row.sample), self._engines)
            row = ruled(row, again)
        return row

    async def _select(self, rows: Sequence[Judged]) -> Rows:
        """Exact duplicates, the one selector that drops; coverage decides what is tried again."""
        waiting = [i for i, row in enumerate(rows) if row.sample.status == "pending"]
        said = [(rows[i].sample.kind, rows[i].sample.content) for i in waiting]
        by = self._twins.by if self._twins else "row"
        keys, new = await asyncio.to_thread(_new, self._seen, said, by)
        selected = list(rows)
        for i, key, keep in zip(waiting, keys, new, strict=True):
            verdict = _FIRST if keep else _TWIN
            selected[i] = self._closed(ruled(rows[i]._replace(key=key), [verdict]))
        return selected

    def _plot(self, sample: Sample) -> Plot:
        return plot_of(self._plan.plots, sample.method, sample.source, sample.leaf)

    def _failed(self, row: Judged, step: str, problem: Exception) -> Judged:
        sample, told = failed(row.sample, step, problem, self._plot(row.sample).leaf)
        self._progress.failure(told)
        return row._replace(sample=sample)

    def _closed(self, row: Judged, last: bool = False) -> Judged:
        """Count a row that just got its final state: dropped, failed, or kept because nobody is left to judge it."""
        if last and row.sample.status == "pending":
            row = row._replace(sample=row.sample.model_copy(update={"status": "kept"}))
        if row.sample.status != "pending":
            self._progress.outcome(row.sample)
            if row.key is not None and row.sample.status == "failed" and row.sample.reason.startswith(ENGINE_FAILURE):
                self._unanswered.append(row.key)
            row = with_pairs(row) if row.pairs else row
        return row

    def _alarm(self, shard_over: bool = False) -> None:
        notice = self._progress.alarm(shard_over)
        if notice:
            self._progress.notices.append(notice)
            if self._progress.nothing_answered():
                self._ledger.stop(notice)


_FIRST = Verdict(step=DUPLICATES, curator=DUPLICATES, keep=True)
_TWIN = Verdict(step=DUPLICATES, curator=DUPLICATES, keep=False, reason="exact duplicate")


def _seen(plan: Plan, store: Store, twins: ExactDuplicates | None) -> Seen:
    """What this run's rows must not repeat."""
    if twins is None:
        return Seen(np.zeros(0, dtype=np.uint64))
    keys = [keys_before(store, plan.run_id, DUPLICATES, plan.carried)]
    if twins.across:
        for table in kept_by_others(store, plan.run_id, plan.recipe.name):
            rows = [(str(row["kind"]), content_of(row)) for row in table.to_pylist()]
            keys.append(keys_of(rows, twins.by))
    return Seen(np.concatenate(keys))


def _new(seen: Seen, rows: Sequence[tuple[str, Content]], by: str) -> tuple[list[int], list[bool]]:
    keys = keys_of(rows, by)
    return keys.tolist(), seen.new(keys).tolist()


def _whole(results: Sequence[Judged | BaseException]) -> Rows:
    """All rows, or the error that kept one from coming: a real one before a mere stop."""
    _raise_first(results)
    return [row for row in results if isinstance(row, Judged)]


def _raise_first(results: Sequence[object]) -> None:
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
        raise error


async def _turn(before: asyncio.Future[None]) -> None:
    """Wait until the shard before has selected; if it was stopped, this one must not overtake it."""
    await asyncio.wait([before])
    if before.cancelled():
        raise Stopped("an earlier shard was stopped")


def _nothing_before() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
