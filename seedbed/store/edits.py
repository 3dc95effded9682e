"""People's edits that no step has looked at yet, and what the steps said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
STEPS = "SELECT run_id, step, method, options FROM base.steps WHERE role = 'judge' AND options <> '' ORDER BY run_id, n"


def unchecked(store: Store) -> list[Row]:
    """The edits that no step has looked at, each with the sample that it changes."""
    if not store.rows("SELECT 1 AS one FROM base.reviews WHERE action = 'edit' LIMIT 1"):
        return []
    return store.rows(UNCHECKED)


def judge_steps(store: Store) -> list[Row]:
    """The judges of all runs, in their order, with their options as JSON."""
    return store.rows(STEPS)


def say(store: Store, checks: Iterable[Sequence[object]]) -> None:
    """Store what was found: (run, review, whether it passes, the step against it, the reason)."""
    with store.writing() as db:
        for check in checks:
            db.execute("INSERT INTO base.edit_checks VALUES (?, ?, ?, ?, ?)", list(check))
