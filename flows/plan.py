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
from flows.methods import Generator, Methods
from flows.sources import hash_of
from flows.steps import JudgeStep, check_asked, judges_in_order, named, selectors_in_order
from seedbed.asking import Asking
from seedbed.engines import Engines, ModelCard
from seedbed.errors import InputError
from seedbed.recipe import Recipe, Step
from seedbed.records import Draft, Leaf, Unit

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
        return dict(named(self.recipe.generate))[method].name

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
            for name, step in named(self.recipe.generate)
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
    check_asked(recipe, methods)
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
        curators=judges_in_order(recipe, methods),
        selectors=selectors_in_order(recipe, methods),
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
    for name, step in named(recipe.generate):
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
