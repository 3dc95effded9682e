"""How many of an engine's places are used where every call takes the same time: no stage may wait for another.

    python benchmarks/slots.py

The mock server answers each call after 200 ms, 256 calls at once. A record is up to six calls, one after another
(question, check, answer, check, critique, score), so that generating, judging and storing must overlap to keep all
places busy. Used is the time that the calls would take with all places always busy, over the time from the first
call to the last answer, as the ledger has them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.goals import Measured, at_least, script
from benchmarks.mock_server import running
from benchmarks.overhead import child, span

LATENCY_MS, SLOTS = 200, 256


def used(records: int) -> float:
    """The share of the places' time in which they had a call, once."""
    with tempfile.TemporaryDirectory() as folder, running(latency_ms=LATENCY_MS) as base_url:
        home = Path(folder) / "home"
        child("wide", base_url, str(home), str(records))
        calls, seconds = span(home)
    return calls * LATENCY_MS / 1000 / SLOTS / seconds


def goals(records: int = 3000, repeats: int = 5) -> list[Measured]:
    """The goal, measured."""
    found = [used(records) for _ in range(repeats)]
    return [at_least(f"slots used at {LATENCY_MS} ms, {SLOTS} slots", 0.90, found, "of the ideal rate")]


if __name__ == "__main__":
    script(__doc__, goals, records=3000, repeats=5)
