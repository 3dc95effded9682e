"""Seedbed's run, for the peers' benchmark: python -m benchmarks.peers.with_seedbed BASE_URL RECORDS FOLDER.

The whole walk as `seedbed run` takes it, without its progress display. PYTHONPATH has the package of `two_calls`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvloop

from benchmarks.peers.prompts import CONCURRENCY, MODEL
from flows.methods import methods
from flows.run import ReadRecipe, grow
from seedbed.recipe import HttpModel, Recipe, Step
from seedbed.records import Leaf
from seedbed.store import Store


def main() -> None:
    """Generate, judge, store; print how many records the store has kept."""
    base_url, records, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    known = methods()
    recipe = Recipe(
        name="peers",
        model=HttpModel(base_url=base_url, model=MODEL, concurrency=CONCURRENCY),
        generate=(Step(name="one_call", options=known.generators["one_call"].options(per_leaf=records)),),
        curate=(Step(name="one_look", options=known.judges["one_look"].options()),),
    )
    leaf = Leaf(path="help/desk", kind="skill", seeds=(), task="help desk")
    outcome = uvloop.run(grow(ReadRecipe(recipe, (leaf,)), folder))
    if outcome.status != "done":
        raise SystemExit(f"the run did not go well: {outcome.status} {outcome.message}")
    store = Store(folder)
    [row] = store.rows(
        "SELECT count(*) AS n FROM samples JOIN verdicts USING (sample_id) "
        "WHERE samples.status = 'kept' AND length(verdicts.transcript) > 0"
    )
    store.close()
    print(row["n"])


if __name__ == "__main__":
    main()
