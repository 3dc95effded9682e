"""What calls cost, as far as it is known: the sum of those that had a price, and whose price is missing, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flows.engines import price_of
from flows.figures import dollars
from seedbed.recipe import HttpModel, Recipe

# Of a table `paid` of answered calls.
COLUMNS = """
    count(*) AS calls, coalesce(sum(usd), 0) AS usd_known, CASE WHEN count(*) = count(usd) THEN sum(usd) END AS usd,
    (SELECT list({model: model, calls: n} ORDER BY n DESC, model)
     FROM (SELECT model, count(*) AS n FROM paid WHERE usd IS NULL GROUP BY model)) AS unpriced"""


class Bill(NamedTuple):
    """Calls, the dollars of those that had a price, and how many had none, by model."""

    calls: int
    usd_known: float
    unpriced: dict[str, int]

    @property
    def said(self) -> str:
        """The dollars, or as much of them as is known."""
        without = sum(self.unpriced.values())
        if not without:
            return dollars(self.usd_known)
        known = self.calls - without
        return f"{dollars(self.usd_known)} for {known:,} of {self.calls:,} calls" if known else "dollars unknown"

    def why(self, recipe: Recipe) -> str:
        """Which models' calls have no dollars, and what is to be done; "" where all have."""
        return " ".join(
            f"{n:,} of {self.calls:,} calls, of {model}, {_without(model, recipe)}"
            for model, n in self.unpriced.items()
        )


def bill_of(row: Mapping[str, object]) -> Bill:
    """The bill in a row of `COLUMNS`."""
    unpriced = row["unpriced"] or []
    assert isinstance(unpriced, list)  # so COLUMNS makes it
    return Bill(int(str(row["calls"])), float(str(row["usd_known"])), {one["model"]: one["calls"] for one in unpriced})


def _without(name: str, recipe: Recipe) -> str:
    named = (recipe.model, recipe.judge, *recipe.pool)
    served = [model for model in named if isinstance(model, HttpModel) and model.model == name]
    if not served:
        return "which runs on a machine of yours, have no price."
    if all(map(price_of, served)):
        return "were made before it had a price."
    return (
        "have no price: write `price: {input: …, output: …}` (US dollars per million tokens) under that model in the "
        "recipe, and its further calls have one."
    )
