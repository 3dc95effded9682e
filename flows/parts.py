"""Rows of a source through all steps, where none asks a model: a plain function from raw rows to Arrow parts.

So it may run in another process: nothing goes there but what stands in the file, and nothing comes back but columns.
Duplicates are told by the owner of the run, in the plan's order, once the columns are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from curators.exact_duplicates import STEP as DUPLICATES
from curators.exact_duplicates import ExactDuplicates, Seen, keys_of
from flows.failures import failed
from flows.judged import named, sample_of
from flows.methods import Judge, Methods
from flows.plan import Plan, Plot
from flows.progress import Failure
from flows.steps import JudgeStep
from seedbed.conversation import Content
from seedbed.conversation_json import rest_json
from seedbed.folding import all_folded
from seedbed.records import Draft, Leaf, Unit, Verdict, hash_of
from seedbed.sources.raw import Raw
from seedbed.sources.readers import parsed
from seedbed.store.rows import SAMPLES, Tables, microseconds, verdicts_table

TWIN = "exact duplicate"


class Step(NamedTuple):
    """A judge by its name, so that it can be sent elsewhere."""

    name: str
    curator: str
    options: BaseModel

    def known(self, judges: Mapping[str, Judge]) -> JudgeStep:
        """The judge itself."""
        return JudgeStep(self.name, self.curator, judges[self.curator], self.options)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with every row of a source. `twins` is None where duplicates stay.

    `before` and `behind` are the judges on either side of the duplicates' step.
    """

    run_id: str
    recipe: str
    method: str
    generator: str
    options: BaseModel
    leaf: str
    revision: str
    before: tuple[Step, ...]
    behind: tuple[Step, ...]
    twins: ExactDuplicates | None


@dataclass(slots=True)
class Part:
    """The rows of a shard in columns: as they are unless they turn out to be duplicates.

    `open` says which rows come to the duplicates' step, `keys` are theirs. `failures` are counted by step and reason.
    """

    samples: pa.Table
    before: pa.Table
    behind: pa.Table
    open: npt.NDArray[np.bool_]
    keys: npt.NDArray[np.uint64]
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], Failure] = field(default_factory=dict)


def job_of(plan: Plan, plot: Plot) -> Job:
    """The plan of a source's rows. Every judge of it asks no model."""
    sides: list[tuple[Step, ...]] = [()]
    for part in plan.curators:
        if isinstance(part, str):
            sides.append(())
        else:
            sides[-1] = tuple(Step(step.name, step.curator, step.options) for step in part)
    before, behind = (sides[0], sides[-1]) if len(sides) > 1 else (sides[0], ())
    names = (plan.run_id, plan.recipe.name, plot.method, plan.generator_of(plot.method))
    return Job(*names, plot.options, plot.leaf.path, plot.leaf.revision, before, behind, plan.twins)


@dataclass(slots=True)
class _Row:
    """A row on its way through the steps."""

    unit: Unit
    draft: Draft
    status: str = "pending"
    step: str = ""
    reason: str = ""
    error: str = ""


def made(job: Job, raws: Sequence[Raw], first: int, attempt: int, known: Methods) -> Part:
    """The rows with what is said of them, the first at position `first` of the plan."""
    make, told = known.generators[job.generator].at_once, list[Failure]()
    if make is None:
        raise ValueError(f"{job.generator} asks models: its rows are not made at once")
    leaf = Leaf(job.leaf, "rows", (), revision=job.revision)
    units = [Unit(job.recipe, job.method, leaf, raw.number, attempt, 0, parsed(raw)) for raw in raws]
    before, behind = list[tuple[str, Verdict]](), list[tuple[str, Verdict]]()
    rows = [_row(job, make, unit, before, told) for unit in units]
    _judge(rows, [step.known(known.judges) for step in job.before], before, told)
    pending = [row for row in rows if row.status == "pending"]
    is_open = np.array([row.status == "pending" for row in rows], dtype=np.bool_)
    said = ((row.draft.kind, row.draft.content) for row in pending)
    keys = keys_of(said, job.twins.by) if job.twins else np.zeros(0, dtype=np.uint64)
    _judge(pending, [step.known(known.judges) for step in job.behind], behind, told)
    said_before, said_behind = (verdicts_table(job.run_id, verdicts) for verdicts in (before, behind))
    part = Part(_samples(job, rows, first, attempt), said_before, said_behind, is_open, keys)
    for failure in told:
        part.failures[failure.step, failure.why] += 1
        part.examples.setdefault((failure.step, failure.why), failure)
    return part


def _row(
    job: Job,
    make: Callable[[Unit, Any], Draft],
    unit: Unit,
    said: list[tuple[str, Verdict]],
    told: list[Failure],
) -> _Row:
    """A unit's row as its generator understands it, or failed."""
    try:
        row = _Row(unit, make(unit, job.options))
    except Exception as error:  # whatever it is, it is this row's
        row = _Row(unit, Draft(Content(), "instruction"))
        _fail(row, unit.method, error, unit.leaf, told)
        return row
    for verdict in row.draft.verdicts:
        _say(row, verdict, said)
    return row


def _judge(
    rows: Sequence[_Row], judges: Sequence[JudgeStep], said: list[tuple[str, Verdict]], told: list[Failure]
) -> None:
    """Ask the judges of each row, in order, until one is against it."""
    for row in rows:
        for step in judges:
            if row.status != "pending":
                break
            seen = step.seen(row.draft.kind, row.draft.content)
            try:
                verdict = step.method.at_once(seen, step.options)  # type: ignore[misc]  # asked when it was planned
            except Exception as error:  # whatever it is, it is this row's
                _fail(row, step.name, error, None, told)
            else:
                _say(row, named(verdict, step), said)


def _say(row: _Row, verdict: Verdict, said: list[tuple[str, Verdict]]) -> None:
    said.append((row.unit.sample_id, verdict))
    if not verdict.keep and row.status == "pending":
        row.status, row.step, row.reason = "dropped", verdict.step, verdict.reason


def _fail(row: _Row, step: str, error: Exception, leaf: Leaf | None, told: list[Failure]) -> None:
    sample, failure = failed(sample_of(row.unit, row.draft, ""), step, error, leaf)
    row.status, row.step, row.reason, row.error = sample.status, sample.step, sample.reason, sample.error
    told.append(failure)


def _samples(job: Job, rows: Sequence[_Row], first: int, attempt: int) -> pa.Table:
    """The rows of the store, those that nobody was against kept."""
    drafts = [row.draft for row in rows]
    contents = [draft.content for draft in drafts]
    values: dict[str, object] = {
        "run_id": job.run_id,
        "sample_id": [row.unit.sample_id for row in rows],
        "position": np.arange(first, first + len(rows)),
        "kind": [draft.kind for draft in drafts],
        "method": job.method,
        "leaf": [draft.leaf or job.leaf for draft in drafts],
        "ordinal": [row.unit.ordinal for row in rows],
        "attempt": attempt,
        "status": ["kept" if row.status == "pending" else row.status for row in rows],
        "step": [row.step for row in rows],
        "reason": [row.reason for row in rows],
        "question": [content.question for content in contents],
        "answer": [content.answer for content in contents],
        "context": [content.context for content in contents],
        "parents": [draft.parents for draft in drafts],
        "call_ids": [draft.call_ids for draft in drafts],
        "model": [draft.author for draft in drafts],
        "text_hash": [hash_of(text) for text in all_folded([content.prompt()] for content in contents)],
        "created_at": microseconds(),
        "rejected": [content.rejected for content in contents],
        "error": [row.error for row in rows],
        "rest": [rest_json(content.rest) for content in contents],
        "derived": "",
        "source": job.leaf,
        "row_key": None,
    }
    return pa.table([_column(values[one.name], one.type, len(rows)) for one in SAMPLES], schema=SAMPLES)


def _column(values: object, kind: pa.DataType, n: int) -> pa.Array:
    """A column of these values, or of one value for all."""
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, list | np.ndarray):
        return pa.array(values, kind)
    return pa.repeat(pa.scalar(values, kind), n)


def told_apart(part: Part, seen: Seen, run_id: str) -> Tables:
    """The part's tables with its duplicates dropped: those whose key was seen, or stands earlier in the part."""
    if not len(part.keys):
        return {"samples": part.samples, "verdicts": pa.concat_tables([part.before, part.behind])}
    new = seen.new(part.keys)
    twin = np.zeros(len(part.open), dtype=np.bool_)
    twin[part.open] = ~new
    keys = np.zeros(len(part.open), dtype=np.uint64)
    keys[part.open] = part.keys
    samples = part.samples
    for name, value in (("status", "dropped"), ("step", DUPLICATES), ("reason", TWIN)):
        samples = _replaced(samples, name, pc.if_else(pa.array(twin), value, samples[name]))
    samples = _replaced(samples, "row_key", pa.array(keys, mask=~part.open))
    ids = samples["sample_id"].combine_chunks()
    verdicts = [part.before, _said(ids.filter(pa.array(part.open)), new, run_id, part.before.schema)]
    gone = pc.is_in(part.behind["sample_id"], value_set=ids.filter(pa.array(twin)))
    return {"samples": samples, "verdicts": pa.concat_tables([*verdicts, part.behind.filter(pc.invert(gone))])}


def _replaced(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, table.schema.field(at), column)


def _said(ids: pa.Array, new: npt.NDArray[np.bool_], run_id: str, schema: pa.Schema) -> pa.Table:
    """The verdicts of the duplicates' step."""
    values = {
        "run_id": run_id,
        "sample_id": ids,
        "step": DUPLICATES,
        "curator": DUPLICATES,
        "keep": new,
        "reason": pc.if_else(pa.array(new), "", TWIN),
        "call_ids": [[]] * len(ids),
        "revision": "",
        "model": "",
    }
    columns = [values.get(one.name) for one in schema]
    return pa.table(
        [_column(value, one.type, len(ids)) for value, one in zip(columns, schema, strict=True)], schema=schema
    )
