"""What a model's tokens cost: from the recipe, or from the dated table prices.yaml; else unknown, never guessed."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from seedbed.records import Frozen

TABLE = Path(__file__).with_name("prices.yaml")
_DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")  # a snapshot's date behind a model's name


class Price(Frozen):
    """US dollars per million tokens."""

    input: float = Field(ge=0, allow_inf_nan=False, description="Of a million tokens of prompts.")
    output: float = Field(ge=0, allow_inf_nan=False, description="Of a million tokens of answers.")

    def usd(self, tokens_in: int, tokens_out: int) -> float:
        """Dollars for so many tokens."""
        return (tokens_in * self.input + tokens_out * self.output) / 1e6


class Listed(Price):
    """A line of the table: who asks that price for which model, seen when, by the source that the file names."""

    host: str
    model: str
    as_of: date
    source: str


def listed_price(base_url: str, model: str) -> Listed | None:
    """The price that the table has for a model at a server, snapshots with a date in their names included."""
    host = urlsplit(base_url).hostname or ""
    return _table().get((host, model)) or _table().get((host, _DATED.sub("", model)))


@cache
def _table() -> dict[tuple[str, str], Listed]:
    from seedbed.yamlfile import load

    lines = load(TABLE).value
    assert isinstance(lines, list)  # a test reads every line
    return {(line.host, line.model): line for line in map(Listed.model_validate, lines)}
