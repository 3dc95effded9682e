"""All goals in one table: what was measured here, how far the repeats lie apart, and whether it holds.

    make bench                       # all; an hour or more
    make bench ONLY=overhead         # one
    python -m benchmarks.bench overhead store --quick    # less of each, to see that they work; the figures say little

A machine that does other things too slows both sides of a ratio, but not alike: run it on a quiet one.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from benchmarks import imports, judging, overhead, prefect_tax, resume, served, slots, store
from benchmarks.goals import Measured
from benchmarks.peers import measure as peers

Goals = Callable[..., list[Measured]]
BENCHES: dict[str, tuple[Goals, dict[str, int]]] = {  # and what `--quick` makes of it
    "overhead": (overhead.goals, {"records": 600, "repeats": 1}),
    "slots": (slots.goals, {"records": 900, "repeats": 1}),
    "prefect": (prefect_tax.goals, {"records": 600, "repeats": 1}),
    "store": (store.goals, {"rows": 10_000, "repeats": 1}),
    "imports": (imports.goals, {"rows": 40_000, "repeats": 1}),
    "resume": (resume.goals, {"calls": 100_000, "repeats": 1}),
    "judging": (judging.goals, {"rows": 4, "repeats": 1}),
    "served": (served.goals, {"requests": 16, "repeats": 1}),
    "peers": (peers.goals, {"records": 600, "repeats": 1}),
}


def table(found: list[Measured]) -> Table:
    """The table of what was found."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("what", "goal", "measured", "spread", ""):
        shown.add_column(name, overflow="fold")
    verdicts = {True: "[green]holds[/]", False: "[red]falls short[/]", None: "[yellow]not here[/]"}
    for line in found:
        shown.add_row(line.name, line.goal, line.measured, line.spread, verdicts[line.holds])
    return shown


def main() -> None:
    """Read the flags, measure one after another, print; exit 1 where a goal falls short."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("only", nargs="*", choices=[[], *BENCHES], help=f"of {', '.join(BENCHES)}")
    parser.add_argument("--quick", action="store_true", help="less of each; the figures then say little")
    flags = parser.parse_args()
    console, found = Console(width=150), list[Measured]()
    for name in flags.only or BENCHES:
        goals, quick = BENCHES[name]
        began, load = time.monotonic(), os.getloadavg()[0]
        found += goals(**(quick if flags.quick else {}))
        print(f"{name}: {time.monotonic() - began:.0f} s, load {load:.1f} before", file=sys.stderr, flush=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    console.print(table(found))
    console.print(f"{cores} cores, {platform.machine()}, CPython {platform.python_version()}, {platform.system()}")
    raise SystemExit(any(line.holds is False for line in found))


if __name__ == "__main__":
    main()
