"""What a run writes into the store and what a resumed run must know, as short units of work.

A shard is a slice of the plan. It is announced before work on it begins, so that its rows count as made and
pending, and stored whole when every row in it has an outcome: a shard is done or it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
from duckdb import DuckDBPyConnection

from seedbed.engines import NOBODY, ModelCard
from seedbed.errors import InputError
from seedbed.records import USED_UP
from seedbed.store.order_schema import LATEST_RUN, NEXT_ENTRY
from seedbed.store.rows import Tables, add_tables
from seedbed.store.store import Store

DAMAGED = "damaged"  # a run that lost rows with a damaged store

# A row that the engine failed on is no attempt of the model's, and is tried again, in this run or when it is run again;
# but not for ever: one that a server which is there fails on so often has failed for good.
ENGINE_FAILURE = "engine: "
LAST_TRY = 3

_FAILURES = {"engine": ENGINE_FAILURE, "nobody": f"{ENGINE_FAILURE}{NOBODY}", "last": LAST_TRY, "used_up": USED_UP}

# Of the rows of a run: those that are to be tried again.
_TRIED = """
tried AS (
    SELECT method, leaf, ordinal, attempt, status = 'kept' AS kept,
           status = 'failed' AND starts_with(reason, $engine) AS silent,
           silent AND NOT starts_with(reason, $nobody) AS broken, reason = $used_up AS used_up
    FROM base.samples WHERE run_id = $run AND derived = ''),
rows AS (
    SELECT *, silent AND count(*) FILTER (broken) OVER (PARTITION BY method, leaf, ordinal) < $last AS unanswered
    FROM tried)
"""


def begin(
    store: Store,
    run_id: str,
    recipe: str,
    recipe_json: str,
    models: dict[str, ModelCard],
    targets: Sequence[tuple[str, str, int, str]],
    preview: bool = False,
    steps: Sequence[Sequence[str]] = (),
) -> None:
    """Enter a run, or take it up again.

    Targets are (method, leaf, rows wanted, identity of the work), steps (name, method, role, what transcripts tell,
    options as JSON).
    A damaged one begins anew under its old entry: what is recorded of its calls makes its rows again.
    """
    cards = {role: {name: getattr(card, name) for name in card.__slots__} for role, card in models.items()}
    with store.writing() as db:
        known = db.execute("SELECT status FROM base.runs WHERE run_id = ?", [run_id]).fetchall()
        if not known:
            db.execute(
                "INSERT INTO base.runs VALUES (?, '', '', '', false, '', '', now() AT TIME ZONE 'UTC', NULL, 0, 0, "
                f"{NEXT_ENTRY})",
                [run_id],
            )
        db.execute("UPDATE base.runs SET status = 'running', message = '' WHERE run_id = ?", [run_id])
        if known and known != [(DAMAGED,)]:
            return
        for table in ("targets", "shards", "samples", "verdicts", "steps"):
            db.execute(f"DELETE FROM base.{table} WHERE run_id = ?", [run_id])
        db.execute(
            "UPDATE base.runs SET recipe = ?, recipe_json = ?, models = ?, preview = ? WHERE run_id = ?",
            [recipe, recipe_json, orjson.dumps(cards).decode(), preview, run_id],
        )
        db.execute(
            "INSERT INTO base.targets SELECT ?, unnest(?), unnest(?), unnest(?), unnest(?)",
            [run_id, *map(list, zip(*targets, strict=True))],
        )
        for n, step in enumerate(steps, start=1):
            db.execute("INSERT INTO base.steps VALUES (?, ?, ?, ?, ?, ?, ?)", [run_id, n, *step])


def end(store: Store, run_id: str, status: str, message: str, seconds: float, replayed: int) -> None:
    """Close a run's books for this process."""
    with store.writing() as db:
        db.execute(
            "UPDATE base.runs SET status = ?, message = ?, ended_at = now() AT TIME ZONE 'UTC', "
            "seconds = seconds + ?, calls_replayed = calls_replayed + ? WHERE run_id = ?",
            [status, message, seconds, replayed, run_id],
        )


def grown(store: Store, recipe: str) -> dict[str, str]:
    """The latest finished run in which each plot of a recipe grew, by the plot's identity."""
    rows = store.rows(
        "SELECT identity, arg_max(run_id, entry) AS run_id FROM base.targets JOIN base.runs USING (run_id) "
        "WHERE recipe = ? AND NOT preview AND status IN ('done', 'short') AND identity <> '' GROUP BY identity",
        [recipe],
    )
    return {str(row["identity"]): str(row["run_id"]) for row in rows}


def latest_of(store: Store, run_ids: Sequence[str]) -> str:
    """The one of these runs that began last."""
    [row] = store.rows(
        "SELECT arg_max(run_id, entry) AS run_id FROM base.runs WHERE list_contains(?, run_id)", [list(run_ids)]
    )
    return str(row["run_id"])


def find_run(store: Store, name: str) -> str:
    """The run of this id, or the latest run of the recipe of this name, previews aside; or the one whose id begins so.

    Raises:
        InputError: there is none, or several begin so; the message names those there are.
    """
    runs = store.rows("SELECT run_id, recipe, preview FROM base.runs ORDER BY entry DESC")
    if any(run["run_id"] == name for run in runs):
        return name
    for run in runs:
        if run["recipe"] == name and not run["preview"]:
            return str(run["run_id"])
    if begun := beginning(name, [str(run["run_id"]) for run in runs]):
        return begun
    known = ", ".join(f"{run['recipe']} ({run['run_id']})" for run in runs[:8]) or "none yet; begin with `seedbed run`"
    raise InputError(f"no run or recipe is called {name!r} in {store.home}. There are: {known}")


def beginning(name: str, ids: Iterable[str]) -> str:
    """The id that is so called or the only one that begins so, "" if none does. Raises InputError where several do."""
    found = list(dict.fromkeys(one for one in ids if name and one.startswith(name)))
    if len(found) > 1 and name not in found:
        more = f" and {len(found) - 8:,} more" if len(found) > 8 else ""
        raise InputError(f"{len(found):,} begin with {name!r}: {', '.join(found[:8])}{more}. Write more of it")
    return name if name in found else "".join(found)


def announce(store: Store, run_id: str, shards: Sequence[tuple[int, int, int]]) -> set[int]:
    """Enter shards (number, first position, rows) that are not known yet; the numbers of those already done."""
    numbers, firsts, sizes = (list(column) for column in zip(*shards, strict=True))
    with store.writing() as db:
        db.execute(
            "INSERT INTO base.shards SELECT ?, s, f, n, false, NULL "
            "FROM (SELECT unnest(?) AS s, unnest(?) AS f, unnest(?) AS n) "
            "WHERE s NOT IN (SELECT shard FROM base.shards WHERE run_id = ?)",
            [run_id, numbers, firsts, sizes, run_id],
        )
        done = db.execute("SELECT shard FROM base.shards WHERE run_id = ? AND done", [run_id]).fetchall()
    return {number for (number,) in done}


def finish_shard(run_id: str, shard: int, more: int, outcome: Tables, db: DuckDBPyConnection) -> None:
    """The outcome of every row of a shard and of the `more` that came of it, inside the caller's transaction."""
    db.register("incoming", outcome["samples"])  # rows of a source bring their leaves along
    db.execute(
        "INSERT INTO base.targets SELECT DISTINCT run_id, method, leaf, 0, '' FROM incoming "
        "ANTI JOIN base.targets USING (run_id, method, leaf) WHERE source <> ''"
    )
    db.unregister("incoming")
    add_tables(db, outcome)
    db.execute(
        f"UPDATE base.shards SET done = true, n = n + ?, latest_run = {LATEST_RUN} WHERE run_id = ? AND shard = ?",
        [more, run_id, shard],
    )


def open_places(store: Store, run_id: str, attempt: int, budget: int | None) -> pa.Table:
    """Places (method, leaf, ordinal, tries spent on it) to try for the `attempt`-th time, in the order of the plan.

    Coverage balancing as in LAB, section 3.1: a leaf is refilled until its target is kept or `budget` tries
    a place are spent in all. With `budget` None only rows that the engine failed on are tried again. A place that has
    used up what there was for it is not tried again.
    """
    return store.query(
        f"""
        WITH places AS (
            SELECT rowid AS leaf_order, method, leaf, target, unnest(range(target)) AS ordinal
            FROM base.targets WHERE run_id = $run),
        {_TRIED.replace("WHERE run_id", "WHERE attempt < $attempt AND run_id")},
        spent AS (SELECT method, leaf, count(*) FILTER (NOT unanswered) AS tries FROM rows GROUP BY ALL),
        places_tried AS (
            SELECT method, leaf, ordinal, bool_or(kept OR used_up) AS closed,
                   arg_max(unanswered, attempt) AS unanswered, count(*) FILTER (NOT rows.unanswered) AS spent
            FROM rows GROUP BY ALL),
        waiting AS (
            SELECT leaf_order, method, leaf, ordinal, target, coalesce(tries, 0) AS tries,
                   coalesce(places_tried.spent, 0) AS spent,
                   row_number() OVER (PARTITION BY method, leaf ORDER BY ordinal) AS place
            FROM places LEFT JOIN places_tried USING (method, leaf, ordinal) LEFT JOIN spent USING (method, leaf)
            WHERE $attempt = 0 OR (NOT closed AND ($budget IS NOT NULL OR unanswered)))
        SELECT method, leaf, ordinal, spent FROM waiting
        WHERE $budget IS NULL OR place <= $budget * target - tries
        ORDER BY leaf_order, ordinal
        """,
        {"run": run_id, "attempt": attempt, "budget": budget, **_FAILURES},
    )


def open_rows(store: Store, run_id: str, method: str, attempt: int) -> npt.NDArray[np.int64]:
    """Numbers of a source's rows that are to be tried for the `attempt`-th time: no engine answered to their end."""
    last = f"WITH {_TRIED.replace('WHERE run_id', 'WHERE attempt < $attempt AND run_id')}"
    found = store.query(
        f"{last} SELECT ordinal::BIGINT AS n FROM rows WHERE method = $method GROUP BY ordinal "
        "HAVING arg_max(unanswered, attempt) ORDER BY n",
        {"run": run_id, "method": method, "attempt": attempt, **_FAILURES},
    )
    numbers: npt.NDArray[np.int64] = found["n"].to_numpy()
    return numbers


def unanswered_places(store: Store, run_id: str) -> int:
    """How many places the engine failed on at their last try, and not for good."""
    last = "SELECT arg_max(unanswered, attempt) AS unanswered FROM rows GROUP BY method, leaf, ordinal"
    [row] = store.rows(
        f"WITH {_TRIED}, places AS ({last}) SELECT count(*) AS n FROM places WHERE unanswered",
        {"run": run_id, **_FAILURES},
    )
    return int(str(row["n"]))


def kept_batches(store: Store, run_id: str, rows: int = 4096) -> Iterator[pa.Table]:
    """The kept samples of a run in the plan's order, `rows` at a time, each read in a unit of its own."""
    after: tuple[int, str] = (-1, "")
    while True:
        batch = store.query(
            "SELECT position, sample_id, run_id, kind, method, leaf, model, context, question, answer, rejected, rest, "
            "parents, source FROM base.samples "
            "WHERE run_id = ? AND status = 'kept' AND (position, sample_id) > (?, ?) "
            "ORDER BY position, sample_id LIMIT ?",
            [run_id, *after, rows],
        )
        if not batch.num_rows:
            return
        after = batch["position"][-1].as_py(), batch["sample_id"][-1].as_py()
        yield batch.drop_columns(["position"])
