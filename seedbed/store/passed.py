"""What a run's new rows must not repeat: what it let through before; if asked for, what other recipes have kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seedbed.store.runs import ENGINE_FAILURE
from seedbed.store.store import Store

# Runs of which something was stored after this one began are taken as they were then: by the shards stored before.
RIVALS = """
WITH late AS (
    SELECT run_id FROM base.shards
    WHERE latest_run >= (SELECT entry FROM base.runs WHERE run_id = $run) GROUP BY run_id),
rivals AS (
    SELECT s.run_id, s.rowid AS lies, position FROM base.samples s JOIN base.runs r USING (run_id)
    WHERE r.recipe <> $recipe AND NOT r.preview AND s.status = 'kept')
SELECT lies FROM rivals ANTI JOIN late USING (run_id)
UNION ALL
SELECT lies FROM (FROM rivals SEMI JOIN late USING (run_id)) s
ASOF JOIN base.shards h ON s.run_id = h.run_id AND s.position >= h.first
WHERE h.latest_run < (SELECT entry FROM base.runs WHERE run_id = $run)
ORDER BY lies
"""
CARRIED = """
SELECT row_key AS key FROM base.samples s
SEMI JOIN (SELECT unnest($runs::VARCHAR[]) AS run_id, unnest($methods::VARCHAR[]) AS method,
                  unnest($leaves::VARCHAR[]) AS leaf) c
    ON s.run_id = c.run_id AND s.method = c.method AND coalesce(nullif(s.source, ''), s.leaf) = c.leaf
WHERE status = 'kept'
"""


def keys_before(
    store: Store, run_id: str, step: str, carried: Sequence[tuple[str, str, str]] = ()
) -> npt.NDArray[np.uint64]:
    """The keys of the rows that this run let through `step` so far, and of those of the plots carried from others."""
    runs, methods, leaves = map(list, zip(*carried, strict=True)) if carried else ([], [], [])
    with store.reading() as db:
        found = db.execute(
            "SELECT DISTINCT key FROM (SELECT s.row_key AS key FROM base.samples s "
            "JOIN base.verdicts v USING (run_id, sample_id) WHERE run_id = $run AND v.step = $step AND v.keep "
            "AND NOT (s.status = 'failed' AND starts_with(s.reason, $engine)) "
            f"UNION ALL {CARRIED}) WHERE key IS NOT NULL",
            {"run": run_id, "step": step, "runs": runs, "methods": methods, "leaves": leaves}
            | {"engine": ENGINE_FAILURE},
        ).fetchnumpy()
    return np.asarray(found["key"], dtype=np.uint64)


def kept_by_others(store: Store, run_id: str, recipe: str, rows: int = 16_384) -> Iterator[pa.Table]:
    """What runs of other recipes had kept when this run began: kind and texts, each table read in its own unit.

    Earlier runs of the same recipe are its former editions, not rivals.
    """
    lies = store.query(RIVALS, {"run": run_id, "recipe": recipe})["lies"].to_numpy()
    for start in range(0, len(lies), rows):
        part = lies[start : start + rows]
        yield store.query(
            "SELECT kind, question, context, answer, rejected, rest FROM base.samples "
            "WHERE rowid BETWEEN $first AND $last AND rowid IN (SELECT unnest($lies))",
            {"first": int(part[0]), "last": int(part[-1]), "lies": part.tolist()},
        )
