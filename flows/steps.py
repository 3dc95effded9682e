"""The steps of a recipe in their order: under which names, and whether they make sense there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from flows.methods import Judge, Methods
from seedbed.conversation import Content
from seedbed.engines import Engines
from seedbed.errors import InputError
from seedbed.kinds import KINDS
from seedbed.recipe import Recipe, Step
from seedbed.records import Sample, Verdict
from seedbed.yamlfile import nearest


@dataclass(frozen=True, slots=True)
class JudgeStep:
    """One judge of the recipe, under the name that its verdicts carry."""

    name: str
    curator: str
    method: Judge
    options: BaseModel

    async def says(self, sample: Sample, engines: Engines) -> Verdict:
        """What it says of a sample, by itself where it asks no model."""
        seen = self.seen(sample.kind, sample.content)
        if self.method.at_once:
            return self.method.at_once(seen, self.options)
        if sample.content.label is False:
            return Verdict(step=self.name, curator=self.curator, keep=True, reason="settled by its label")
        if seen is not sample.content:
            sample = sample.model_copy(update={"content": seen})
        return await self.method.judge(sample, engines, self.options)

    def seen(self, kind: str, content: Content) -> Content:
        """What this judge looks at: all of it, or what the kind has judged."""
        return content if self.method.whole else KINDS[kind].judged(content)


def judges_in_order(recipe: Recipe, methods: Methods) -> tuple[tuple[JudgeStep, ...] | str, ...]:
    """Runs of judges, cut by the duplicates' step. Raises InputError where the order makes no sense."""
    names = [step.name for step in recipe.curate]
    if "coverage" in names[:-1]:
        raise InputError("`coverage` counts what every other curator kept: write it once, as the last of `curate:`")
    if names.count("exact_duplicates") > 1:
        raise InputError("`exact_duplicates` stands twice under `curate:`; once is enough")
    found: list[tuple[JudgeStep, ...] | str] = []
    judges: list[JudgeStep] = []
    for name, step in named(recipe.curate):
        if step.name in methods.judges:
            judges.append(JudgeStep(name, step.name, methods.judges[step.name], step.options))
        elif step.name == "exact_duplicates":
            found += [tuple(judges), name]
            judges = []
        elif step.name != "coverage" and methods.selectors[step.name].select is None:  # coverage is not a filter
            raise InputError(f"the selector {step.name!r} has no `select`, which its package must give it")
    return (*found, tuple(judges))


def selectors_in_order(recipe: Recipe, methods: Methods) -> tuple[tuple[str, Step], ...]:
    """The steps that look at all rows of a version, under their names. Raises InputError where one stands wrong."""
    steps = [(name, step) for name, step in named(recipe.curate) if step.name != "coverage"]
    barriers = [step.name in methods.selectors and methods.selectors[step.name].select is not None for _, step in steps]
    for n, (name, step) in enumerate(steps):
        if not barriers[n]:
            continue
        if behind := [other for (other, _), barrier in zip(steps[n:], barriers[n:], strict=True) if not barrier]:
            raise InputError(f"`{name}` looks at all rows that are left: write it behind `{behind[0]}` under `curate:`")
        for read in (methods.selectors[step.name].reads or _reads_nothing)(step.options):
            _check_scored(name, read, steps[:n], methods)
    return tuple(one for one, barrier in zip(steps, barriers, strict=True) if barrier)


def _reads_nothing(_options: BaseModel) -> tuple[str, ...]:
    return ()


def _check_scored(name: str, read: str, before: Sequence[tuple[str, Step]], methods: Methods) -> None:
    """Whether a step of this name scores rows before the step `name`. Raises InputError."""
    scored = [other for other, step in before if step.name in methods.judges and methods.judges[step.name].scores]
    if read not in scored:
        others = f"those that do: {', '.join(scored)}" if scored else "none does: write a judge such as critique first"
        raise InputError(f"`{name}` goes by the scores of {read!r}, and no such step before it gives any; {others}")


def named(steps: Sequence[Step]) -> list[tuple[str, Step]]:
    """Each step with a name of its own: the second critique of a recipe is `critique-2`."""
    counts: dict[str, int] = {}
    found = []
    for step in steps:
        counts[step.name] = counts.get(step.name, 0) + 1
        found.append((step.name if counts[step.name] == 1 else f"{step.name}-{counts[step.name]}", step))
    return found


def check_asked(recipe: Recipe, methods: Methods) -> None:
    """Whether what the recipe says of single steps is said of any that it has. Raises InputError."""
    known = [methods.generators[step.name].steps for step in recipe.generate]
    known += [methods.judges[step.name].steps for step in recipe.curate if step.name in methods.judges]
    if None in known:  # a method of another package that does not tell
        return
    names = {name for steps in known if steps for name in steps}
    for model in recipe.models:
        for step in model.steps.keys() - names:
            raise InputError(f"steps: {step!r} is no step in which {model.model} is asked. {nearest(step, names)}")
