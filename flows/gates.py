"""Words that a step has changed pass every gate that the words before them had passed, and that they have not."""

from __future__ import annotations

from collections.abc import Sequence

from flows.plan import Plot
from flows.steps import JudgeStep
from seedbed.engines import Engines
from seedbed.kinds import KINDS
from seedbed.records import Sample, Verdict

AGAIN = "-again"  # behind a step's name, in the verdicts of a second look


async def repassed(sample: Sample, judges: Sequence[JudgeStep], plot: Plot, engines: Engines) -> list[Verdict]:
    """What the judges before, then the generator's own checks, say of the changed sample, up to the first against it.

    Nothing is revised a second time: what a gate would only let through revised does not pass.
    """
    said: list[Verdict] = []
    for step in judges:
        said.append(_again(await step.says(sample, engines), step.name))
        if not said[-1].keep:
            return said
    if plot.generator.recheck and not KINDS[sample.kind].second:
        found = await plot.generator.recheck(sample, plot.leaf, engines, plot.options)
        said += [_again(verdict, verdict.step) for verdict in found]
    return said


def _again(verdict: Verdict, step: str) -> Verdict:
    changes: dict[str, object] = {"step": f"{step}{AGAIN}", "settled": False}
    if verdict.revision is not None:
        changes |= {"revision": None, "keep": False, "reason": f"its revision does not pass {step}"}
    return verdict.model_copy(update=changes)
