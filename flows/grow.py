"""The walk: rounds of shards. A shard's rows are made, judged and selected, then stored in one transaction.

Several shards are under way at once, so that judging one overlaps with making the next and no slot of the engine
waits at a barrier. Selectors take shards in the plan's order: what is kept never depends on timing. A row is told
straight; batching is the engine's, memory of calls the ledger's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from curators.exact_duplicates import STEP as DUPLICATES
from curators.exact_duplicates import Seen
from curators.revision import pair_of
from flows.failures import failed
from flows.gates import repassed
from flows.plan import JudgeStep, Plan, Plot
from flows.progress import Progress
from seedbed.drafts import Unfinished
from seedbed.engines import Engines
from seedbed.ledger import Ledger, Stopped
from seedbed.records import Content, Draft, Sample, Unit, Verdict, derived_id
from seedbed.store import Store, StoreError
from seedbed.store.rows import Judged, judged_tables
from seedbed.store.runs import ENGINE_FAILURE, announce, finish_shard, hashes_before, open_places

SHARDS_UNDER_WAY = 3  # at least; more where their rows would leave places of the engine empty
RUN_ENDS = (Stopped, StoreError)  # errors that are not one row's

Rows = list[Judged]
Work = Callable[[], Awaitable[Rows]]
Stage = Callable[[str, Work], Awaitable[Rows]]


async def direct(_name: str, work: Work) -> Rows:
    """A stage without an orchestrator: it just happens."""
    return await work()


@dataclass(frozen=True, slots=True)
class Shard:
    """A slice of the plan: the places from position `first` on."""

    number: int
    first: int
    units: tuple[tuple[Unit, Plot], ...]

    @property
    def rows(self) -> str:
        """Which rows of the run these are, as people count."""
        first, last = self.first + 1, self.first + len(self.units)
        return f"rows {first} to {last}" if last > first else f"row {first}"


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
        self._seen = Seen(hashes_before(store, plan.run_id, plan.recipe.name, DUPLICATES, plan.carried))
        self._unanswered: list[int] = []  # texts that were let through, of rows that are to be tried again

    async def rounds(self) -> None:
        """Try every open place, round after round, until none is open. Raises Stopped."""
        attempt, shards, position = 0, 0, 0
        while True:
            places = await asyncio.to_thread(open_places, self._store, self._plan.run_id, attempt, self._plan.attempts)
            if not places.num_rows:
                return
            unanswered, fresh = self._progress.unanswered, self._progress.fresh
            self._seen.forget(np.array(self._unanswered, dtype=np.uint64))
            self._unanswered.clear()
            await self._round(attempt, places, shards, position)
            made = self._progress.fresh - fresh
            if made and made == self._progress.done and self._progress.nothing_answered():
                raise Stopped(f"no row got an answer. {self._progress.raw_failures()}")
            if made and self._progress.unanswered - unanswered == made:
                return  # only rows that the engine keeps failing on are left: the report names them
            attempt, position = attempt + 1, position + places.num_rows
            shards += -(-places.num_rows // self._plan.shard_rows)

    async def _round(self, attempt: int, places: pa.Table, first_shard: int, position: int) -> None:
        size = self._plan.shard_rows
        slices = [(first_shard + i, at) for i, at in enumerate(range(0, places.num_rows, size))]
        entries = [(number, position + at, min(size, places.num_rows - at)) for number, at in slices]
        done = await asyncio.to_thread(announce, self._store, self._plan.run_id, entries)
        self._progress.planned += places.num_rows
        under_way = asyncio.Semaphore(self._under_way)
        before: asyncio.Future[None] = _nothing_before()
        tasks: list[asyncio.Task[None]] = []
        for number, at in slices:
            if number in done:
                continue
            await under_way.acquire()
            if any(task.done() and task.exception() for task in tasks):
                break
            shard = Shard(number, position + at, self._cut(places.slice(at, size), attempt))
            selected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._shard(shard, before, selected))
            task.add_done_callback(lambda _: under_way.release())
            tasks = [t for t in tasks if not t.done() or t.exception()] + [task]
            before = selected
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await self._ledger.flush()
        _raise_first(ended)

    def _cut(self, places: pa.Table, attempt: int) -> tuple[tuple[Unit, Plot], ...]:
        columns = (places[name].to_pylist() for name in ("method", "leaf", "ordinal", "spent"))
        recipe, plots = self._plan.recipe.name, self._plan.plots
        return tuple(
            (Unit(recipe, method, plots[method, leaf].leaf, ordinal, attempt, spent), plots[method, leaf])
            for method, leaf, ordinal, spent in zip(*columns, strict=True)
        )

    async def _shard(self, shard: Shard, before: asyncio.Future[None], selected: asyncio.Future[None]) -> None:
        try:
            rows = await self._stage(f"make {shard.rows}", partial(self._make_all, shard))
            for step in self._plan.curators:
                if isinstance(step, str):
                    await _turn(before)
                    rows = self._select(rows)  # milliseconds: a stage of its own would cost more than it does
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
                draft: Draft = await plot.generator.make(unit, self._engines, plot.options)
                problem: Exception | None = None
            except RUN_ENDS:
                raise
            except Unfinished as left:
                draft, problem = left.draft, left.problem
            except Exception as error:  # whatever it is, it is this row's
                draft, problem = Draft(Content(), plot.generator.kind), error
        made = _ruled(Judged(position, self._sample(unit, draft), ()), draft.verdicts)
        if problem:
            made = self._failed(made, unit.method, problem)
        self._progress.tried()
        self._alarm()
        return self._closed(made)

    def _sample(self, unit: Unit, draft: Draft) -> Sample:
        return Sample(
            sample_id=unit.sample_id,
            kind=draft.kind,
            method=unit.method,
            leaf=unit.leaf.path,
            ordinal=unit.ordinal,
            attempt=unit.attempt,
            content=draft.content,
            parents=draft.parents,
            call_ids=draft.call_ids,
            model=draft.author or self._engines.model.card.model,
        )

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
        verdict = _unasked(step, row) or await step.method.judge(row.sample, self._engines, step.options)
        if verdict.step != step.name:  # the second critique of a recipe
            verdict = verdict.model_copy(update={"step": step.name})
        before, row = row.sample, _ruled(row, [verdict])
        if verdict.revision is None:
            return row
        row = _revised(row, before, verdict)
        if row.sample.status == "pending":
            plot = self._plan.plots[row.sample.method, row.sample.leaf]
            row = _ruled(row, await repassed(row.sample, self._plan.before(step), plot, self._engines))
        return row

    def _select(self, rows: Sequence[Judged]) -> Rows:
        """Exact duplicates, the one selector that drops; coverage decides what is tried again."""
        waiting = [i for i, row in enumerate(rows) if row.sample.status == "pending"]
        hashes = np.array([int(rows[i].sample.text_hash or "0", 16) for i in waiting], dtype=np.uint64)
        selected = list(rows)
        for i, keep in zip(waiting, self._seen.new(hashes).tolist(), strict=True):
            reason = "" if keep else "exact duplicate"
            verdict = Verdict(step=DUPLICATES, curator=DUPLICATES, keep=keep, reason=reason)
            selected[i] = self._closed(_ruled(rows[i], [verdict]))
        return selected

    def _failed(self, row: Judged, step: str, problem: Exception) -> Judged:
        sample, told = failed(row.sample, step, problem, self._plan.plots[row.sample.method, row.sample.leaf].leaf)
        self._progress.failure(told)
        return row._replace(sample=sample)

    def _closed(self, row: Judged, last: bool = False) -> Judged:
        """Count a row that just got its final state: dropped, failed, or kept because nobody is left to judge it."""
        if last and row.sample.status == "pending":
            row = row._replace(sample=row.sample.model_copy(update={"status": "kept"}))
        if row.sample.status != "pending":
            self._progress.outcome(row.sample)
            if row.sample.status == "failed" and row.sample.reason.startswith(ENGINE_FAILURE):
                self._unanswered.append(int(row.sample.text_hash or "0", 16))
            row = _with_pairs(row) if row.pairs else row
        return row

    def _alarm(self, shard_over: bool = False) -> None:
        notice = self._progress.alarm(shard_over)
        if notice:
            self._progress.notices.append(notice)
            if self._progress.nothing_answered():
                self._ledger.stop(notice)


def _ruled(row: Judged, verdicts: Sequence[Verdict]) -> Judged:
    """The row with these verdicts added; the first that does not keep drops it."""
    sample = row.sample
    against = next((verdict for verdict in verdicts if not verdict.keep), None)
    if against:
        sample = sample.model_copy(update={"status": "dropped", "step": against.step, "reason": against.reason})
    return row._replace(sample=sample, verdicts=(*row.verdicts, *verdicts))


def _unasked(step: JudgeStep, row: Judged) -> Verdict | None:
    """What a dear judge has to say where an earlier one was sure: nothing, and that it was not asked."""
    sure = next((verdict.step for verdict in row.verdicts if verdict.settled), "") if step.method.dear else ""
    return Verdict(step=step.name, curator=step.curator, keep=True, reason=f"settled by {sure}") if sure else None


def _revised(row: Judged, before: Sample, verdict: Verdict) -> Judged:
    """With a revision that won: the pair of the two answers, and the better one in the sample if it is kept."""
    if verdict.revision is None:
        return row
    pair, said = pair_of(before, verdict, derived_id(before.sample_id, verdict.step))
    if row.sample.status == "pending":
        content = row.sample.content.answered(verdict.revision.answer)
        row = row._replace(sample=row.sample.model_copy(update={"content": content}))
    else:  # too poor to keep even so, but the better of the two
        pair = pair.model_copy(update={"status": "kept"})
    return row._replace(pairs=(*row.pairs, (pair, said)))


def _with_pairs(row: Judged) -> Judged:
    """A pair whose chosen answer a later step found wanting falls with it."""
    end = {name: getattr(row.sample, name) for name in ("status", "step", "reason")}
    pairs = [(p.model_copy(update=end) if p.status == "pending" else p, said) for p, said in row.pairs]
    return row._replace(pairs=tuple(pairs))


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
