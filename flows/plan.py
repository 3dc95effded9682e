"""From a recipe to a plan: which leaves, how many places, which steps; and the run's identity.

A run's id is a hash of everything that decides its outcome (recipe with its prompts, leaves with their documents,
models, the methods' own code), so that the same command takes up the same run and any change starts a new one,
which the ledger then answers as far as it can.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, zip_longest

import orjson
from pydantic import BaseModel

from curators.coverage import Coverage
from curators.exact_duplicates import ExactDuplicates
from flows.methods import Generator, Judge, Methods
from flows.sources import hash_of
from seedbed.asking import Asking
from seedbed.conversation import Content
from seedbed.engines import Engines, ModelCard
from seedbed.errors import InputError
from seedbed.kinds import KINDS
from seedbed.recipe import Recipe, Step
from seedbed.records import Draft, Leaf, Sample, Unit, Verdict
from seedbed.yamlfile import nearest

ASKED = {*Asking.model_fields, "omit"}  # of a model in a recipe, what decides its answers beside which it is
SHARD_ROWS = (32, 512)  # rows a shard, at least and at most: an eighth of the first round in between


@dataclass(frozen=True, slots=True)
class Plot:
    """One leaf under one generator step: where `wanted` samples are to grow.

    `identity` is a hash of all that decides what grows there: a plot that another run has grown need not grow again.
    """

    method: str
    leaf: Leaf
    generator: Generator
    options: BaseModel
    wanted: int
    identity: str

    async def makes(self, unit: Unit, engines: Engines) -> Draft:
        """What its generator makes of a unit."""
        draft: Draft = await self.generator.make(unit, engines, self.options)
        return draft


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


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. `curators` is the recipe's order: runs of judges, cut by the duplicates' step.

    `selectors` are the steps that look at all rows of a version.

    `attempts` is the budget of tries a place where coverage refills; a preview fills every place once. `tries`
    and `wanted_in_full` are those of the whole recipe, also in a preview's plan. `carried` are the plots that
    earlier runs have grown, as (run, method, leaf).
    """

    recipe: Recipe
    run_id: str
    plots: dict[tuple[str, str], Plot]
    curators: tuple[tuple[JudgeStep, ...] | str, ...]
    selectors: tuple[tuple[str, Step], ...]
    attempts: int | None
    tries: int
    shard_rows: int
    preview: bool
    wanted_in_full: int
    carried: tuple[tuple[str, str, str], ...] = ()

    def before(self, step: JudgeStep) -> list[JudgeStep]:
        """The judges that come before this one."""
        judges = [judge for part in self.curators if not isinstance(part, str) for judge in part]
        return judges[: judges.index(step)]

    @property
    def twins(self) -> ExactDuplicates | None:
        """How duplicates are told, None where they stay."""
        return next((o for step in self.recipe.curate if isinstance(o := step.options, ExactDuplicates)), None)

    @property
    def rows_at_once(self) -> int:
        """Rows of sources that are taken in many at a time."""
        return sum(plot.wanted for plot in self.plots.values() if plot.leaf.source) if self.asks_nothing else 0

    def generator_of(self, method: str) -> str:
        """The generator of a step, whose name may have a number behind it."""
        return dict(_named(self.recipe.generate))[method].name

    @property
    def asks_nothing(self) -> bool:
        """Whether no judge of it asks a model."""
        return all(judge.method.at_once for part in self.curators if not isinstance(part, str) for judge in part)

    @property
    def targets(self) -> list[tuple[str, str, int, str]]:
        """(method, leaf, rows wanted, identity), in the plan's order; of a source none are wanted but what there is."""
        return [
            (plot.method, plot.leaf.path, 0 if plot.leaf.source else plot.wanted, plot.identity)
            for plot in self.plots.values()
        ]

    def steps(self) -> list[tuple[str, str, str, str, str]]:
        """(name, method, role, what its transcripts tell, options) of all steps, in the recipe's order."""
        tells = {plot.method: plot.generator.tells for plot in self.plots.values()}
        found: list[tuple[str, str, str, str, str]] = []
        found += [
            (name, step.name, "generator", tells.get(name, ""), _whole(step.options))
            for name, step in _named(self.recipe.generate)
        ]
        for part in self.curators:
            if isinstance(part, str):
                told = next(_whole(step.options) for step in self.recipe.curate if step.name == part)
                found.append((part, part, "selector", "", told))
            else:
                found += [
                    (judge.name, judge.curator, "judge", judge.method.tells, _whole(judge.options)) for judge in part
                ]
        found += [(name, step.name, "selector", "", _whole(step.options)) for name, step in self.selectors]
        return found

    @property
    def scope(self) -> list[tuple[str, str, str]]:
        """Where all rows of the recipe are, as (run, method, leaf): what earlier runs grew, then this one's own."""
        return [*self.carried, *((self.run_id, plot.method, plot.leaf.path) for plot in self.plots.values())]

    @property
    def wanted(self) -> int:
        """Rows wanted in all."""
        return sum(plot.wanted for plot in self.plots.values())


def make_plan(
    recipe: Recipe,
    leaves: Sequence[Leaf],
    methods: Methods,
    cards: dict[str, ModelCard],
    rows: int | None = None,
) -> Plan:
    """The plan of a recipe; with `rows`, of a preview of that many rows, spread over the leaves.

    Raises:
        InputError: no leaf for any generator, or the curators are in an order that makes no sense.
    """
    _check_steps(recipe, methods)
    plots = _plots(recipe, leaves, methods, cards)
    in_full = sum(plot.wanted for plot in plots.values())
    if rows is not None:
        plots = _spread(plots, rows)
    coverage = [step.options for step in recipe.curate if isinstance(step.options, Coverage)]
    attempts = coverage[0].attempts if coverage else None
    wanted = sum(plot.wanted for plot in plots.values())
    least, most = SHARD_ROWS
    return Plan(
        recipe=recipe,
        run_id=_run_id(recipe.name, plots.values(), rows),
        plots=plots,
        curators=_curators(recipe, methods),
        selectors=_selectors(recipe, methods),
        attempts=None if rows is not None else attempts,
        tries=attempts or 1,
        shard_rows=max(least, min(most, wanted // 8)),
        preview=rows is not None,
        wanted_in_full=in_full,
    )


def only_new(plan: Plan, grown: Mapping[str, str]) -> Plan:
    """The plan without the plots that earlier runs have grown; `grown` is the run by the plot's identity."""
    fresh = {key: plot for key, plot in plan.plots.items() if plot.identity not in grown}
    carried = tuple(
        (grown[plot.identity], plot.method, plot.leaf.path) for key, plot in plan.plots.items() if key not in fresh
    )
    run_id = _run_id(plan.recipe.name, fresh.values(), None)
    return dataclasses.replace(plan, run_id=run_id, plots=fresh, carried=carried)


def _plots(
    recipe: Recipe, leaves: Sequence[Leaf], methods: Methods, cards: dict[str, ModelCard]
) -> dict[tuple[str, str], Plot]:
    shared = {
        "curate": [[step.name, step.options.model_dump(mode="json")] for step in recipe.curate],
        "models": {role: dataclasses.asdict(card) for role, card in cards.items()},
        "asked": [model.model_dump(mode="json", include=ASKED, exclude_defaults=True) for model in recipe.models],
        "code": _code(recipe, methods),
    }
    plots: dict[tuple[str, str], Plot] = {}
    for name, step in _named(recipe.generate):
        generator, options = methods.generators[step.name], step.options.model_dump(mode="json")
        for leaf in generator.leaves(leaves, step.options):
            if (name, leaf.path) in plots:
                raise InputError(f"two leaves of {name} are called {leaf.path}: rename one of the files or folders")
            wanted = _wanted(generator, leaf, step.options)
            identity = _hash({**shared, "step": [name, options], "leaf": _facts(leaf)})
            plots[name, leaf.path] = Plot(name, leaf, generator, step.options, wanted, identity)
    if not plots:
        wanted_by = " and ".join(step.name for step in recipe.generate)
        raise InputError(f"the taxonomy has no leaf for {wanted_by}; `generate:` names what it should make")
    return plots


def _whole(options: BaseModel) -> str:
    """Options as JSON, places of files included, so that the step can be taken again on this machine."""
    return options.model_dump_json(context={"places": True})


def _wanted(generator: Generator, leaf: Leaf, options: BaseModel) -> int:
    if generator.wanted:
        return generator.wanted(leaf, options)
    wanted: int = options.per_leaf  # type: ignore[attr-defined]  # the options of every other generator have it
    return min(wanted, len(leaf.requests)) if leaf.requests else wanted


def _facts(leaf: Leaf) -> dict[str, object]:
    """All that a leaf says; of a source what is in it."""
    facts = dataclasses.asdict(dataclasses.replace(leaf, source=None))
    return facts | {"source": leaf.source.digest()} if leaf.source else facts


def _curators(recipe: Recipe, methods: Methods) -> tuple[tuple[JudgeStep, ...] | str, ...]:
    names = [step.name for step in recipe.curate]
    if "coverage" in names[:-1]:
        raise InputError("`coverage` counts what every other curator kept: write it once, as the last of `curate:`")
    if names.count("exact_duplicates") > 1:
        raise InputError("`exact_duplicates` stands twice under `curate:`; once is enough")
    found: list[tuple[JudgeStep, ...] | str] = []
    judges: list[JudgeStep] = []
    for name, step in _named(recipe.curate):
        if step.name in methods.judges:
            judges.append(JudgeStep(name, step.name, methods.judges[step.name], step.options))
        elif step.name == "exact_duplicates":  # coverage is not a filter: it decides what is tried again
            found += [tuple(judges), name]
            judges = []
    return (*found, tuple(judges))


def _selectors(recipe: Recipe, methods: Methods) -> tuple[tuple[str, Step], ...]:
    """The steps that look at all rows of a version, under their names."""
    named = [(name, step) for name, step in _named(recipe.curate) if step.name != "coverage"]
    barriers = [step.name in methods.selectors and methods.selectors[step.name].select is not None for _, step in named]
    for n, (name, step) in enumerate(named):
        if not barriers[n]:
            continue
        if behind := [other for (other, _), barrier in zip(named[n:], barriers[n:], strict=True) if not barrier]:
            raise InputError(f"`{name}` looks at all rows that are left: write it behind `{behind[0]}` under `curate:`")
        for read in (methods.selectors[step.name].reads or _reads_nothing)(step.options):
            _check_scored(name, read, named[:n], methods)
    return tuple(one for one, barrier in zip(named, barriers, strict=True) if barrier)


def _reads_nothing(_options: BaseModel) -> tuple[str, ...]:
    return ()


def _check_scored(name: str, read: str, before: Sequence[tuple[str, Step]], methods: Methods) -> None:
    """Whether a step of this name scores rows before the step `name`. Raises InputError."""
    scored = [other for other, step in before if step.name in methods.judges and methods.judges[step.name].scores]
    if read not in scored:
        told = (
            f"those that do: {', '.join(scored)}" if scored else "none does: write a judge such as critique before it"
        )
        raise InputError(
            f"`{name}` goes by the scores of {read!r}, and no step before it of that name gives any; {told}"
        )


def _named(steps: Sequence[Step]) -> list[tuple[str, Step]]:
    """Each step with a name of its own: the second critique of a recipe is `critique-2`."""
    counts: dict[str, int] = {}
    named = []
    for step in steps:
        counts[step.name] = counts.get(step.name, 0) + 1
        named.append((step.name if counts[step.name] == 1 else f"{step.name}-{counts[step.name]}", step))
    return named


def _spread(plots: dict[tuple[str, str], Plot], rows: int) -> dict[tuple[str, str], Plot]:
    """The plan's first rows: one of each step in turn, and of a step one of each leaf in turn."""
    steps = groupby(plots.values(), key=lambda plot: plot.method)  # a step's plots stand together
    turns = zip_longest(*[_in_turn(list(of_step)) for _, of_step in steps])
    wanted = Counter(islice((key for turn in turns for key in turn if key), rows))
    return {key: dataclasses.replace(plot, wanted=wanted[key]) for key, plot in plots.items() if wanted[key]}


def _in_turn(plots: Sequence[Plot]) -> Iterator[tuple[str, str]]:
    for n in range(max(plot.wanted for plot in plots)):
        yield from ((plot.method, plot.leaf.path) for plot in plots if n < plot.wanted)


def _run_id(recipe: str, plots: Iterable[Plot], rows: int | None) -> str:
    """Of what decides the outcome: not where a server is, how fast it may be asked, or what may be spent."""
    return _hash({"recipe": recipe, "plots": [[plot.identity, plot.wanted] for plot in plots], "preview": rows})


def _hash(facts: dict[str, object]) -> str:
    return hashlib.blake2b(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS), digest_size=6).hexdigest()


def _code(recipe: Recipe, methods: Methods) -> str:
    """A hash of the methods' code: a mended parser is another run, answered by the same recorded calls."""
    functions: list[Callable[..., object]] = [methods.generators[step.name].make for step in recipe.generate]
    return hash_of(
        functions + [methods.judges[step.name].judge for step in recipe.curate if step.name in methods.judges]
    )


def _check_steps(recipe: Recipe, methods: Methods) -> None:
    """Whether what the recipe says of single steps is said of any that it has. Raises InputError."""
    known = [methods.generators[step.name].steps for step in recipe.generate]
    known += [methods.judges[step.name].steps for step in recipe.curate if step.name in methods.judges]
    if None in known:  # a method of another package that does not tell
        return
    names = {name for steps in known if steps for name in steps}
    for model in recipe.models:
        for step in model.steps.keys() - names:
            raise InputError(f"steps: {step!r} is no step in which {model.model} is asked. {nearest(step, names)}")
