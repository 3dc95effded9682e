"""Steps that ask no model, over many rows: plain functions, in a thread beside the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flows.failures import failed
from flows.judged import named, ruled, sample_of
from flows.plan import JudgeStep
from flows.progress import Failure
from flows.shards import Shard
from seedbed.conversation import Content
from seedbed.records import Draft
from seedbed.store.rows import Judged


class Done(NamedTuple):
    """A row after a step, and what went wrong with it there, if anything."""

    row: Judged
    told: Failure | None = None


def make(shard: Shard, model: str) -> list[Done]:
    """The shard's rows as their generators understand them; `model` is the author where a row names none."""
    found = []
    for n, (unit, plot) in enumerate(shard.units):
        try:
            draft, problem = plot.generator.at_once(unit, plot.options), None  # type: ignore[misc]  # asked before
        except Exception as error:  # whatever it is, it is this row's
            draft, problem = Draft(Content(), plot.generator.kind), error
        row = ruled(Judged(shard.first + n, sample_of(unit, draft, model), ()), draft.verdicts)
        if problem is None:
            found.append(Done(row))
        else:
            sample, told = failed(row.sample, unit.method, problem, unit.leaf)
            found.append(Done(row._replace(sample=sample), told))
    return found


def judge(rows: Sequence[Judged], judges: Sequence[JudgeStep]) -> list[Done]:
    """The rows with what these judges say of them, each row up to the first judge against it."""
    return [_judged(row, judges) for row in rows]


def _judged(row: Judged, judges: Sequence[JudgeStep]) -> Done:
    for step in judges:
        try:
            verdict = step.method.at_once(row.sample, step.options)  # type: ignore[misc]  # asked before
        except Exception as error:  # whatever it is, it is this row's
            sample, told = failed(row.sample, step.name, error, None)
            return Done(row._replace(sample=sample), told)
        row = ruled(row, [named(verdict, step)])
        if row.sample.status != "pending":
            break
    return Done(row)
