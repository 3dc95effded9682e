"""Rows whose words a step of their run has changed, which the duplicates' step has not seen as they are now."""

from __future__ import annotations

from collections.abc import Sequence

from seedbed.store.store import Store

Row = dict[str, object]

REVISED = """
SELECT sample_id, position, kind, question, context, answer, rejected, rest FROM base.samples s
WHERE run_id = $run AND status = 'kept' AND derived = '' AND sample_id IN (
    SELECT sample_id FROM base.verdicts WHERE run_id = $run AND keep AND revision <> '')
  AND sample_id NOT IN (SELECT sample_id FROM base.verdicts WHERE run_id = $run AND step = $again)
ORDER BY position, sample_id
"""
HELD = """
SELECT row_key AS key FROM base.samples
WHERE run_id = $run AND status = 'kept' AND derived = '' AND list_contains($keys, row_key)
  AND NOT list_contains($ids, sample_id)
"""


def revised_rows(store: Store, run_id: str, again: str) -> list[Row]:
    """The kept rows of a run with a revision in them, in the plan's order, that step `again` has not looked at."""
    return store.rows(REVISED, {"run": run_id, "again": again})


def keys_held(store: Store, run_id: str, keys: Sequence[int], ids: Sequence[str]) -> set[int]:
    """Those of the keys that kept rows of the run have, but for the rows of these ids."""
    found = store.rows(HELD, {"run": run_id, "keys": list(keys), "ids": list(ids)})
    return {int(str(row["key"])) for row in found}


def say_again(store: Store, run_id: str, step: str, curator: str, found: Sequence[tuple[str, int, bool]]) -> None:
    """Store what the step says of each row, (id, its key now, whether it stays): one that does not is dropped."""
    reason = curator.replace("_", " ").removesuffix("s")
    with store.writing() as db:
        for sample_id, key, keep in found:
            db.execute(
                "INSERT INTO base.verdicts SELECT ?, ?, ?, ?, ?, NULL, NULL, ?, [], NULL, '', ''",
                [run_id, sample_id, step, curator, keep, "" if keep else reason],
            )
            db.execute(
                "UPDATE base.samples SET row_key = ? WHERE run_id = ? AND sample_id = ?", [key, run_id, sample_id]
            )
            if not keep:
                db.execute(
                    "UPDATE base.samples SET status = 'dropped', step = ?, reason = ? "
                    "WHERE run_id = ? AND (sample_id = ? OR (derived <> '' AND list_contains(parents, ?)))",
                    [step, reason, run_id, sample_id, sample_id],
                )
