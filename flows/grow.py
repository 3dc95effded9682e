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
from flows.crew import Crew
from flows.edits import check_revised
from flows.failures import failed
from flows.gates import repassed
from flows.judged import named, revised, ruled, sample_of, unasked, with_pairs
from flows.parts import job_of, told_apart
from flows.plan import Plan, Plot
from flows.progress import Progress
from flows.shards import Part, RowsOf, Shard, Slice, entries_of, parts_of, slices_of
from flows.steps import JudgeStep
from seedbed.conversation import Content
from seedbed.conversation_json import content_of
from seedbed.drafts import Unfinished
from seedbed.engines import Engines
from seedbed.errors import InputError
from seedbed.ledger import Ledger, Stopped
from seedbed.records import Draft, Sample, Unit, Verdict
from seedbed.sources.raw import Raw
from seedbed.store import Store, StoreError
from seedbed.store.passed import kept_by_others, keys_before
from seedbed.store.rows import Judged, judged_tables
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
        self._twins = plan.twins
        self._seen = _seen(plan, store, self._twins)
        self._crew = Crew(plan.rows_at_once)
        self._unanswered: list[int] = []  # keys that were let through, of rows that are to be tried again

    async def rounds(self) -> None:
        """Try every open place, round after round, until none is open. Raises Stopped."""
        try:
            await self._rounds()
        finally:
            self._crew.close()

    async def _rounds(self) -> None:
        attempt, shards, position = 0, 0, 0
        while True:
            if attempt:
                await self._tell_revised()
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

    async def _tell_revised(self) -> None:
        """Revised rows that say what others say are dropped before it is seen which places are open."""
        found = await asyncio.to_thread(check_revised, self._store, self._plan.run_id, self._twins)
        self._seen.new(np.array([key for _, key, _ in found], dtype=np.uint64))
        gone = sum(not keep for _, _, keep in found)
        self._progress.kept, self._progress.dropped = self._progress.kept - gone, self._progress.dropped + gone

    async def _round(self, parts: Sequence[Part], slices: Sequence[Slice]) -> None:
        done = await asyncio.to_thread(announce, self._store, self._plan.run_id, entries_of(slices))
        self._progress.planned += sum(part.size for part in parts)
        under_way = asyncio.Semaphore(self._under_way)
        before: asyncio.Future[None] = _nothing_before()
        tasks: list[asyncio.Task[None]] = []
        halted = False
        problem: Exception | None = None
        try:
            for one in slices:
                if one.number in done:
                    continue
                await under_way.acquire()
                if any(task.done() and task.exception() for task in tasks):
                    break
                selected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                if isinstance(one.part, RowsOf) and one.part.at_once:
                    if halted := bool(self._ledger.stop_reason):  # nothing in such a shard asks whether to stop
                        break
                    work = self._taken_in(one, one.part, await one.part.raws(one.at, one.n), before, selected)
                else:
                    work = self._shard(
                        Shard(one.number, one.first, await one.part.take(one.at, one.n)), before, selected
                    )
                task = asyncio.create_task(work)
                task.add_done_callback(lambda _: under_way.release())
                tasks = [t for t in tasks if not t.done() or t.exception()] + [task]
                before = selected
        except (InputError, OSError) as error:  # the source is gone, or other than it was
            problem = error
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await self._ledger.flush()
        _raise_first([*ended, problem])
        if halted:
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
            outcome = judged_tables(self._plan.run_id, rows, self._engines.judge.card.model)
            pairs = sum(len(row.pairs) for row in rows)
            self._ledger.conclude(partial(finish_shard, self._plan.run_id, shard.number, pairs, outcome))
            self._alarm(shard_over=True)
        finally:
            if not selected.done():
                selected.cancel()

    async def _taken_in(
        self,
        one: Slice,
        part: RowsOf,
        raws: Sequence[Raw],
        before: asyncio.Future[None],
        selected: asyncio.Future[None],
    ) -> None:
        """A shard of rows of which no step asks a model, by columns."""
        try:
            found = await self._crew.work(job_of(self._plan, part.plot), raws, one.first, part.attempt)
            await _turn(before)
            outcome = await asyncio.to_thread(told_apart, found, self._seen, self._plan.run_id)
            selected.set_result(None)
            self._progress.outcomes(outcome["samples"], found.failures, found.examples)
            self._ledger.conclude(partial(finish_shard, self._plan.run_id, one.number, 0, outcome))
            self._alarm(shard_over=True)
            await self._ledger.settle(OUTCOMES_WAITING)
        finally:
            if not selected.done():
                selected.cancel()

    async def _make_all(self, shard: Shard) -> Rows:
        made = (self._make(unit, plot, shard.first + i) for i, (unit, plot) in enumerate(shard.units))
        return _whole(await asyncio.gather(*made, return_exceptions=True))

    async def _judge_all(self, rows: Sequence[Judged], judges: tuple[JudgeStep, ...]) -> Rows:
        last = judges is self._plan.curators[-1]
        judged = (self._judge_one(row, judges, last) for row in rows)
        return _whole(await asyncio.gather(*judged, return_exceptions=True))

    async def _make(self, unit: Unit, plot: Plot, position: int) -> Judged:
        async with self._units:
            try:
                draft = await plot.makes(unit, self._engines)
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
        return self._plan.plots[sample.method, sample.source or sample.leaf]

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
