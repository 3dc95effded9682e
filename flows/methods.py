"""Which methods there are: plain tables of name, options and function. Third parties join by an entry point."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from duckdb import DuckDBPyRelation
from pydantic import BaseModel

from curators.best import Best, best, steps_read
from curators.coverage import Coverage
from curators.critique import Critique, critique
from curators.debate import Debate, debate
from curators.decontaminate import Decontaminate, compared, decontaminate
from curators.exact_duplicates import ExactDuplicates
from curators.glance import Glance, glance
from curators.rules import Rules, ruled, rules
from curators.vote import Vote, vote
from generators import knowledge, preferences, rows, skills
from seedbed.conversation import Content
from seedbed.recipe import Recipe
from seedbed.records import Draft, Leaf, Unit, Verdict
from seedbed.sources.source import Source
from seedbed.store.selecting import Said

Tells = Literal["", "pair", "revision", "debate"]  # what a view reads out of a step's transcripts


@dataclass(frozen=True, slots=True)
class Generator:
    """`leaves(taxonomy, options)` says where it works; `make(unit, engines, options)` makes one sample.

    The options model has a field `per_leaf`: how many samples are wanted of each leaf; where that hangs on the leaf,
    `wanted(leaf, options)` says it instead. `recheck(sample, leaf, engines,
    options)` are those of its checks that an answer must pass again that was changed later. `steps` are the names under
    which it asks models, for recipes that say how; None where it does not say. `tells` is what its transcripts tell.
    `at_once` is `make` of one that asks no model: a plain function of a unit and the options.
    `source(options, folder)` opens the rows that it takes in, where it does.
    """

    options: type[BaseModel]
    leaves: Callable[[Sequence[Leaf], Any], list[Leaf]]
    make: Callable[..., Awaitable[Draft]]
    kind: str = "instruction"
    recheck: Callable[..., Awaitable[tuple[Verdict, ...]]] | None = None
    steps: tuple[str, ...] | None = None
    tells: Tells = ""
    at_once: Callable[[Unit, Any], Draft] | None = None
    source: Callable[[Any, Path], Source] | None = None
    wanted: Callable[[Leaf, Any], int] | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """`judge(sample, engines, options)` looks at one sample. A `dear` one is not asked about what is settled before.

    `steps` are the names under which it asks models, None where it does not say. `tells` is what its transcripts tell.
    `at_once` is `judge` of one that asks no model: a plain function of a content and the options. `whole`: it looks at
    every text of a row, where others look at what a row's kind has judged. `scores`: its verdicts have scores.
    """

    options: type[BaseModel]
    judge: Callable[..., Awaitable[Verdict]]
    dear: bool = False
    steps: tuple[str, ...] | None = None
    tells: Tells = ""
    at_once: Callable[[Content, Any], Verdict] | None = None
    whole: bool = False
    scores: bool = True


@dataclass(frozen=True, slots=True)
class Selector:
    """`select(rows, options)` sees all rows that a version would hold, and says of each whether it stays.

    Rows are a relation of DuckDB with the columns of `seedbed.store.selecting.ROWS`; what it gives, see `Selection`
    there. `reads(options)` names the steps whose scores it looks at. One without `select` works while rows are made:
    the walk knows it by its name.
    """

    options: type[BaseModel]
    select: Callable[[DuckDBPyRelation, Any], Said] | None = None
    reads: Callable[[Any], Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class Methods:
    """Everything a recipe may name."""

    generators: Mapping[str, Generator]
    judges: Mapping[str, Judge]
    selectors: Mapping[str, Selector]

    def ask(self, recipe: Recipe) -> bool:
        """Whether any step of a recipe asks a model."""
        makers = any(not self.generators[step.name].at_once for step in recipe.generate)
        judges = (self.judges[step.name] for step in recipe.curate if step.name in self.judges)
        return makers or any(not judge.at_once for judge in judges)

    def generator_options(self) -> dict[str, type[BaseModel]]:
        """Options model by generator name, for reading recipes."""
        return {name: generator.options for name, generator in self.generators.items()}

    def curator_options(self) -> dict[str, type[BaseModel]]:
        """Options model by curator name, judges and selectors together."""
        judges = {name: judge.options for name, judge in self.judges.items()}
        return judges | {name: selector.options for name, selector in self.selectors.items()}


GENERATORS = {
    "skills": Generator(
        skills.Skills,
        skills.leaves,
        skills.skill,
        recheck=skills.answer_checks,
        steps=("context", "question", "question_check", "answer", "answer_check"),
    ),
    "knowledge": Generator(
        knowledge.Knowledge,
        knowledge.leaves,
        knowledge.knowledge,
        "knowledge",
        recheck=knowledge.answer_checks,
        steps=("question", "question_check", "faithfulness", "relevancy"),
        wanted=knowledge.wanted,
    ),
    "preferences": Generator(
        preferences.Preferences,
        preferences.leaves,
        preferences.preference,
        "preference",
        steps=("context", "question", "question_check", "candidate", "preference"),
        tells="pair",
    ),
    "rows": Generator(
        rows.Rows,
        rows.leaves,
        rows.rows,
        steps=(),
        wanted=rows.wanted,
        at_once=rows.row,
        source=rows.opened,
    ),
}

JUDGES = {
    "rules": Judge(Rules, rules, steps=(), at_once=ruled, scores=False),
    "decontaminate": Judge(Decontaminate, decontaminate, steps=(), at_once=compared, whole=True, scores=False),
    "glance": Judge(Glance, glance, dear=True, steps=("glance",)),
    "critique": Judge(
        Critique,
        critique,
        dear=True,
        steps=("critique", "critique_score", "revise", "revision_compare"),
        tells="revision",
    ),
    "vote": Judge(Vote, vote, dear=True, steps=("vote_review", "vote")),
    "debate": Judge(
        Debate,
        debate,
        dear=True,
        steps=(
            *("debate_opinion", "debate_argument", "debate_ruling", "debate_decisive", "debate_mendable"),
            *("revise", "revision_compare"),
        ),
        tells="debate",
    ),
}
SELECTORS = {
    "exact_duplicates": Selector(ExactDuplicates),
    "coverage": Selector(Coverage),
    "best": Selector(Best, best, reads=steps_read),
}


def methods() -> Methods:
    """Our own methods and those that installed packages offer.

    An entry point of group `seedbed.generators` names a `Generator`, one of `seedbed.curators` a `Judge`, one of
    `seedbed.selectors` a `Selector`.
    """
    offered = entry_points()
    return Methods(
        GENERATORS | {point.name: point.load() for point in offered.select(group="seedbed.generators")},
        JUDGES | {point.name: point.load() for point in offered.select(group="seedbed.curators")},
        SELECTORS | {point.name: point.load() for point in offered.select(group="seedbed.selectors")},
    )
