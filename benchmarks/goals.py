"""What is measured against which goal: a line of the table that `make bench` prints."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Measured(NamedTuple):
    """One goal. `holds` is None where this machine cannot tell; `spread` is of the repeats."""

    name: str
    goal: str
    measured: str
    spread: str
    holds: bool | None


def at_most(name: str, goal: float, found: Sequence[float], unit: str, digits: int = 2) -> Measured:
    """A figure whose median must not be over the goal."""
    middle = statistics.median(found)
    return _line(name, f"at most {goal:g} {unit}", found, unit, digits, middle <= goal)


def at_least(name: str, goal: float, found: Sequence[float], unit: str, digits: int = 2) -> Measured:
    """A figure whose median must not be under the goal."""
    middle = statistics.median(found)
    return _line(name, f"at least {goal:g} {unit}", found, unit, digits, middle >= goal)


def not_here(name: str, goal: str, why: str) -> Measured:
    """A goal that cannot be measured on this machine, and why."""
    return Measured(name, goal, why, "", None)


def script(about: str | None, measure: Callable[..., list[Measured]], **sizes: int) -> None:
    """A benchmark's command line: a flag for each size; what was measured is printed line by line."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    for line in measure(**vars(parser.parse_args())):
        print(*line, sep="  ")


def _line(name: str, goal: str, found: Sequence[float], unit: str, digits: int, holds: bool) -> Measured:
    middle = f"{statistics.median(found):,.{digits}f} {unit}"
    spread = f"{min(found):,.{digits}f} to {max(found):,.{digits}f} in {len(found)}"
    return Measured(name, goal, middle, spread, holds)
