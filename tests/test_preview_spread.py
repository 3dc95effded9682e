"""A preview shows something of every step, however few rows it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.methods import GENERATORS, methods
from flows.plan import make_plan
from seedbed.engines import ModelCard
from seedbed.recipe import Recipe, Step, TransformersModel
from seedbed.taxonomy import read_taxonomy

STARTER = Path(__file__).parent.parent / "taxonomies" / "starter"


def wanted(rows: int) -> dict[str, int]:
    """Rows by step of a preview of a recipe with three steps: five leaves, five leaves, one leaf."""
    steps = (("skills", 8), ("skills", 2), ("knowledge", 8))
    generate = tuple(Step(name=name, options=GENERATORS[name].options(per_leaf=n)) for name, n in steps)
    recipe = Recipe(name="r", model=TransformersModel(), taxonomy=STARTER, generate=generate)
    card = ModelCard("scripted", "scripted", "1", "none")
    plan = make_plan(recipe, read_taxonomy(STARTER), methods(), {"model": card, "judge": card}, rows)
    sums: dict[str, int] = {}
    for plot in plan.plots.values():
        sums[plot.method] = sums.get(plot.method, 0) + plot.wanted
    return sums


@pytest.mark.parametrize(
    ("rows", "by_step"),
    [
        (1, {"skills": 1}),
        (3, {"skills": 1, "skills-2": 1, "knowledge": 1}),
        (4, {"skills": 2, "skills-2": 1, "knowledge": 1}),
        (30, {"skills": 12, "skills-2": 10, "knowledge": 8}),
        (1000, {"skills": 40, "skills-2": 10, "knowledge": 8}),
    ],
)
def test_a_previews_rows_go_to_the_steps_in_turn(rows, by_step):
    assert wanted(rows) == by_step
