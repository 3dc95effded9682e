"""People's edits that no step has looked at yet, and what the steps said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from seedbed.store.reviews import HASH
from seedbed.store.store import Store

Row = dict[str, object]

# The latest edit of each text; what was undone does not count, nor what was edited again.
UNCHECKED = f"""
WITH mine AS (
    SELECT run_id, sample_id, kind, method, leaf, ordinal, attempt, question, context, answer, rejected, rest,
           {HASH} AS content_hash
    FROM base.samples WHERE sample_id IN (SELECT sample_id FROM base.reviews WHERE action = 'edit')),
edits AS (
    SELECT m.*, arg_max(r.edit, r.entry) AS edit, arg_max(r.review_id, r.entry) AS review_id
    FROM mine m JOIN reviews r ON r.sample_id = m.sample_id AND r.content_hash = m.content_hash
    WHERE r.action = 'edit' AND NOT r.undone GROUP BY ALL)
SELECT * FROM edits ANTI JOIN base.edit_checks USING (run_id, review_id) ORDER BY run_id, sample_id
"""
STEPS = """
SELECT run_id, step, s.method, s.role, s.options, recipe_json FROM base.steps s JOIN base.runs USING (run_id)
WHERE role IN ('judge', 'selector') ORDER BY run_id, n
"""
TWINS = """
SELECT sample_id FROM base.samples WHERE run_id = $run AND row_key = $key AND sample_id <> $sample AND status = 'kept'
LIMIT 1
"""


def unchecked(store: Store) -> list[Row]:
    """The edits that no step has looked at, each with the sample that it changes."""
    if not store.rows("SELECT 1 AS one FROM base.reviews WHERE action = 'edit' LIMIT 1"):
        return []
    return store.rows(UNCHECKED)


def steps_of_runs(store: Store) -> list[Row]:
    """The judges and selectors of all runs, in their order, with their options as JSON.

    Runs of before there were options among a run's steps have them in their recipe.
    """
    return [{**row, "options": row["options"] or _in_recipe(row)} for row in store.rows(STEPS)]


def _in_recipe(row: Row) -> str:
    curate = orjson.loads(str(row["recipe_json"])).get("curate", ())
    return next((orjson.dumps(one["options"]).decode() for one in curate if one["name"] == row["method"]), "{}")


def twin_of(store: Store, run_id: str, sample_id: str, key: int) -> str:
    """Another row that a run kept with this key, "" if there is none."""
    found = store.rows(TWINS, {"run": run_id, "sample": sample_id, "key": key})
    return str(found[0]["sample_id"]) if found else ""


def say(store: Store, checks: Iterable[Sequence[object]]) -> None:
    """Store what was found: (run, review, whether it passes, the step against it, the reason)."""
    with store.writing() as db:
        for check in checks:
            db.execute("INSERT INTO base.edit_checks VALUES (?, ?, ?, ?, ?)", list(check))
