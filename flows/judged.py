"""What becomes of a row when something is said of it: dropped, settled, revised, paired."""

from __future__ import annotations

from collections.abc import Sequence

from curators.revision import pair_of
from flows.steps import JudgeStep
from seedbed.records import Draft, Sample, Unit, Verdict, derived_id
from seedbed.store.rows import Judged


def sample_of(unit: Unit, draft: Draft, model: str) -> Sample:
    """A draft as the sample of its unit; `model` is who wrote it where the draft names nobody."""
    return Sample(
        sample_id=unit.sample_id,
        kind=draft.kind,
        method=unit.method,
        leaf=draft.leaf or unit.leaf.path,
        ordinal=unit.ordinal,
        attempt=unit.attempt,
        content=draft.content,
        parents=draft.parents,
        call_ids=draft.call_ids,
        model=draft.author or model,
        source=unit.leaf.path if unit.leaf.kind == "rows" else "",
    )


def ruled(row: Judged, verdicts: Sequence[Verdict]) -> Judged:
    """The row with these verdicts added; the first that does not keep drops it."""
    sample = row.sample
    against = next((verdict for verdict in verdicts if not verdict.keep), None)
    if against:
        sample = sample.model_copy(update={"status": "dropped", "step": against.step, "reason": against.reason})
    return row._replace(sample=sample, verdicts=(*row.verdicts, *verdicts))


def unasked(step: JudgeStep, row: Judged) -> Verdict | None:
    """What a dear judge has to say where an earlier one was sure: nothing, and that it was not asked."""
    sure = next((verdict.step for verdict in row.verdicts if verdict.settled), "") if step.method.dear else ""
    return Verdict(step=step.name, curator=step.curator, keep=True, reason=f"settled by {sure}") if sure else None


def named(verdict: Verdict, step: JudgeStep) -> Verdict:
    """The verdict under the name of its step: a recipe may have a second critique."""
    return verdict if verdict.step == step.name else verdict.model_copy(update={"step": step.name})


def revised(row: Judged, before: Sample, verdict: Verdict) -> Judged:
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


def with_pairs(row: Judged) -> Judged:
    """A pair whose chosen answer a later step found wanting falls with it."""
    end = {name: getattr(row.sample, name) for name in ("status", "step", "reason")}
    pairs = [(p.model_copy(update=end) if p.status == "pending" else p, said) for p, said in row.pairs]
    return row._replace(pairs=tuple(pairs))
