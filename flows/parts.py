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
from flows.judged import named, ruled, sample_of
from flows.methods import Judge, Methods
from flows.plan import JudgeStep, Plan, Plot
from flows.progress import Failure
from seedbed.conversation import Content
from seedbed.records import Draft, Leaf, Unit
from seedbed.sources.raw import Raw
from seedbed.sources.readers import parsed
from seedbed.store.rows import Judged, Tables, samples_table, verdicts_table

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


def made(job: Job, raws: Sequence[Raw], first: int, attempt: int, known: Methods) -> Part:
    """The rows with what is said of them, the first at position `first` of the plan."""
    make, told = known.generators[job.generator].at_once, list[Failure]()
    if make is None:
        raise ValueError(f"{job.generator} asks models: its rows are not made at once")
    leaf = Leaf(job.leaf, "rows", (), revision=job.revision)
    units = [Unit(job.recipe, job.method, leaf, raw.number, attempt, 0, parsed(raw)) for raw in raws]
    rows = [_row(job, make, unit, told) for unit in units]
    rows = [row._replace(position=first + n) for n, row in enumerate(rows)]
    ahead, behind = ([step.known(known.judges) for step in side] for side in (job.before, job.behind))
    rows = [_judged(row, ahead, told) for row in rows]
    pending = [row._replace(verdicts=()) for row in rows if row.sample.status == "pending"]
    said = [(row.sample.kind, row.sample.content) for row in pending]
    ended = [_judged(row, behind, told) for row in pending]
    ends = iter(ended)
    samples = samples_table(job.run_id, [next(ends) if row.sample.status == "pending" else row for row in rows])
    kept = pc.if_else(pc.equal(samples["status"], "pending"), "kept", samples["status"])
    part = Part(
        _replaced(samples, "status", kept),
        verdicts_table(job.run_id, rows),
        verdicts_table(job.run_id, ended),
        np.array([row.sample.status == "pending" for row in rows], dtype=np.bool_),
        keys_of(said, job.twins.by) if job.twins else np.zeros(0, dtype=np.uint64),
    )
    for failure in told:
        part.failures[failure.step, failure.why] += 1
        part.examples.setdefault((failure.step, failure.why), failure)
    return part


def _row(job: Job, make: Callable[[Unit, Any], Draft], unit: Unit, told: list[Failure]) -> Judged:
    """A unit's row as its generator understands it, or failed."""
    try:
        draft = make(unit, job.options)
    except Exception as error:  # whatever it is, it is this row's
        row = Judged(0, sample_of(unit, Draft(Content(), "instruction"), ""), ())
        sample, failure = failed(row.sample, unit.method, error, unit.leaf)
        told.append(failure)
        return row._replace(sample=sample)
    return ruled(Judged(0, sample_of(unit, draft, ""), ()), draft.verdicts)


def _judged(row: Judged, judges: Sequence[JudgeStep], told: list[Failure]) -> Judged:
    for step in judges:
        if row.sample.status != "pending":
            break
        try:
            verdict = step.method.at_once(step.seen(row.sample), step.options)  # type: ignore[misc]  # asked when it was planned
        except Exception as error:  # whatever it is, it is this row's
            sample, failure = failed(row.sample, step.name, error, None)
            told.append(failure)
            return row._replace(sample=sample)
        row = ruled(row, [named(verdict, step)])
    return row


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
    texts = {"run_id": run_id, "step": DUPLICATES, "curator": DUPLICATES, "revision": "", "model": ""}
    columns = []
    for one in schema:
        if one.name in texts:
            columns.append(pa.repeat(texts[one.name], len(ids)))
        elif one.name == "sample_id":
            columns.append(ids)
        elif one.name == "keep":
            columns.append(pa.array(new))
        elif one.name == "reason":
            columns.append(pc.if_else(pa.array(new), "", TWIN))
        elif one.name == "call_ids":
            columns.append(pa.array([[]] * len(ids), one.type))
        else:
            columns.append(pa.nulls(len(ids), one.type))
    return pa.table(columns, schema=schema)
