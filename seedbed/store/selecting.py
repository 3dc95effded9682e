"""Barrier selectors at work: each sees all rows that a version would hold, as a relation, and says which stay.

They run when a version is made, in the recipe's order and after every judge, so that another version under other
thresholds has them run again and calls no model. What people decided to keep they are shown and cannot drop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import duckdb
import pyarrow as pa

from seedbed.errors import InputError
from seedbed.store.choice import CONTENT, METHOD, REST

Said: TypeAlias = "duckdb.DuckDBPyRelation | pa.Table"
OPTIONAL = {"reason": "VARCHAR", "score": "DOUBLE", "threshold": "DOUBLE", "evidence": "VARCHAR"}

# A pair that came of a revision has its sample's scores, but where it has its own; words that were changed, the scores
# of the second look. A row that was settled was not asked for more.
SCORES = """
scored AS (
    SELECT run_id, sample_id, regexp_replace(step, '-again$', '') AS step, arg_max(score, v.rowid) AS score
    FROM base.verdicts v WHERE score IS NOT NULL AND run_id IN (SELECT run_id FROM temp.chosen) GROUP BY ALL),
mapped AS (SELECT run_id, sample_id, map(list(step), list(score)) AS scores FROM scored GROUP BY ALL),
settled AS (
    SELECT DISTINCT run_id, sample_id FROM base.verdicts
    WHERE keep AND starts_with(reason, 'settled by ') AND run_id IN (SELECT run_id FROM temp.chosen))
"""
ROWS = f"""
WITH {SCORES},
r AS (
    SELECT c.*, {CONTENT} AS content FROM temp.chosen c JOIN base.samples s USING (run_id, sample_id) WHERE c.kept)
SELECT r.run_id, r.sample_id, r.place, s.kind, {METHOD} AS method, s.leaf,
       coalesce(r.content->>'question', s.question) AS question, coalesce(r.content->>'answer', s.answer) AS answer,
       coalesce(r.content->>'context', s.context) AS context,
       coalesce(r.content->>'rejected', s.rejected) AS rejected, {REST} AS rest, r.decided,
       settled.sample_id IS NOT NULL AS settled,
       map_concat(coalesce(of_parent.scores, MAP {{}}::MAP(VARCHAR, DOUBLE)),
                  coalesce(own.scores, MAP {{}}::MAP(VARCHAR, DOUBLE))) AS scores
FROM r JOIN base.samples s USING (run_id, sample_id)
LEFT JOIN mapped own ON own.run_id = s.run_id AND own.sample_id = s.sample_id
LEFT JOIN mapped of_parent ON s.derived <> '' AND of_parent.run_id = s.run_id AND of_parent.sample_id = s.parents[1]
LEFT JOIN settled ON settled.run_id = s.run_id AND settled.sample_id = s.sample_id
"""
NONE = "CREATE OR REPLACE TEMP TABLE temp.selected AS SELECT * EXCLUDE (version) FROM base.selections LIMIT 0"
TOLD = """
CREATE OR REPLACE TEMP TABLE temp.said AS
SELECT run_id, sample_id, keep::BOOLEAN AS keep, {columns} FROM said_now
"""
# A selector must say one thing of each row that it was given, and of no other.
ODD = """
SELECT count(*) FILTER (s.n IS NULL), count(*) FILTER (s.n > 1 OR s.unsure), count(*) FILTER (c.sample_id IS NULL)
FROM (SELECT run_id, sample_id FROM temp.chosen WHERE kept) c
FULL JOIN (SELECT run_id, sample_id, count(*) AS n, bool_or(keep IS NULL) AS unsure FROM temp.said GROUP BY ALL) s
USING (run_id, sample_id)
"""
APPLY = """
UPDATE temp.chosen SET kept = false, step = $step, reason = coalesce(nullif(s.reason, ''), $step) FROM temp.said s
WHERE temp.chosen.run_id = s.run_id AND temp.chosen.sample_id = s.sample_id AND NOT s.keep
  AND NOT decided
"""


class Selection(NamedTuple):
    """A barrier selector of a recipe, under the name of its step.

    `select` gets the rows that are kept so far, with the columns of `ROWS`, and gives a relation or an Arrow table with
    a row for each: `run_id`, `sample_id`, `keep`, and as it likes `reason`, `score`, `threshold` and `evidence` (JSON).
    """

    step: str
    curator: str
    select: Callable[[duckdb.DuckDBPyRelation], Said]


def select(db: duckdb.DuckDBPyConnection, selections: Sequence[Selection]) -> None:
    """Let the selectors drop rows of `temp.chosen`; what they said is in `temp.selected`.

    Raises:
        InputError: a selector fails, or does not say one thing of each row that it was given, and of no other.
    """
    db.execute(NONE)
    for one in selections:
        try:
            _say(db, one.select(db.sql(ROWS)))
        except (duckdb.OutOfMemoryException, duckdb.IOException):
            raise  # no fault of the selector
        except Exception as error:  # whatever it is: a selector may be from anywhere
            raise _at_fault(one, f"{type(error).__name__}: {error}") from error
        [(unsaid, unsure, unknown)] = db.execute(ODD).fetchall()
        if unsaid or unsure or unknown:
            odd = f"it said nothing of {unsaid} rows, no one thing of {unsure}, and something of {unknown} others"
            raise _at_fault(one, odd)
        db.execute(
            "INSERT INTO temp.selected SELECT $step, $curator, run_id, sample_id, keep, coalesce(reason, ''), score, "
            "threshold, evidence FROM temp.said",
            {"step": one.step, "curator": one.curator},
        )
        db.execute(APPLY, {"step": one.step})


def _say(db: duckdb.DuckDBPyConnection, said: Said) -> None:
    """What a selector said, as `temp.said`; what it says nothing about is NULL."""
    names = said.columns if isinstance(said, duckdb.DuckDBPyRelation) else said.column_names
    columns = [f"{name if name in names else 'NULL'}::{kind} AS {name}" for name, kind in OPTIONAL.items()]
    db.register("said_now", said)
    try:
        db.execute(TOLD.format(columns=", ".join(columns)))
    finally:
        db.unregister("said_now")


def _at_fault(selection: Selection, what: str) -> InputError:
    return InputError(
        f"the selector {selection.step} is at fault, so that there is no version: {what}. All rows are in the store: "
        "mend it, and the same command makes the version"
    )
