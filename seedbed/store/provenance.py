"""Where a version's rows come from and what became of the others: what a published data set tells of itself.

All of it is read from what the version froze, so that the same version tells the same. Only the judges' agreement
with people is of today: it grows with the reviews.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from seedbed.store.choice import METHOD
from seedbed.store.runs import kept_batches
from seedbed.store.selection import DRAW, Only
from seedbed.store.store import Store
from seedbed.store.versions import version_batches

Row = dict[str, object]
_EVERY = 2**62  # rowid

# The rows that are asked about: those of a version between two places, or those of a batch.
_PLACED = """
wanted AS (
    SELECT place AS n, run_id, sample_id, review_ids FROM base.version_rows
    WHERE version = $version AND kept AND place BETWEEN $first AND $last)
"""
_NAMED = "wanted AS (SELECT unnest($runs) AS run_id, unnest($ids) AS sample_id, unnest(range(len($ids))) AS n)"
_SCORES = """
SELECT n, v.step, v.curator, v.model AS judge, v.score, v.threshold
FROM base.verdicts v JOIN wanted USING (run_id, sample_id)
WHERE v.score IS NOT NULL AND v.rowid BETWEEN $low AND $high ORDER BY n, v.rowid
"""
# Where the verdicts of so many rows lie in their table: the bounds spare DuckDB all others.
REACH = """
SELECT place // $rows AS part, min(v.rowid) AS low, max(v.rowid) AS high
FROM base.version_rows r JOIN base.verdicts v USING (run_id, sample_id)
WHERE version = $version AND kept AND score IS NOT NULL GROUP BY part
"""
SIDES = f"""
WITH {_NAMED} SELECT {DRAW} < $share AS held_out FROM wanted JOIN base.samples s USING (run_id, sample_id) ORDER BY n
"""
REVIEWS = f"""
WITH {_PLACED},
acts AS (
    SELECT n, list(DISTINCT action) AS actions
    FROM (SELECT n, unnest(review_ids) AS review_id FROM wanted) JOIN base.reviews USING (review_id) GROUP BY n)
SELECT CASE WHEN actions IS NULL THEN 'none'
            WHEN list_contains(actions, 'edit') AND list_contains(actions, 'rejected') THEN 'edited and turned'
            WHEN list_contains(actions, 'edit') THEN 'edited'
            WHEN list_contains(actions, 'rejected') THEN 'turned' ELSE 'kept' END AS review
FROM wanted LEFT JOIN acts USING (n) ORDER BY n
"""

# Rows of the method `rows` are what the user had, as it was.
KINDS = """
SELECT kind, count(*) FILTER (method = 'rows') AS found FROM version_samples WHERE version = $version AND kept
GROUP BY kind
"""

FUNNEL = """
WITH rows AS (SELECT run_id, sample_id, kept, step, reason FROM base.version_rows WHERE version = $version),
seen AS (
    SELECT step, count(*) AS judged, min(n) AS n FROM (
        SELECT v.step, min(v.rowid) AS n FROM base.verdicts v SEMI JOIN rows USING (run_id, sample_id)
        GROUP BY v.step, run_id, sample_id) GROUP BY step),
gone AS (SELECT step, reason, count(*) AS left_out FROM rows WHERE NOT kept GROUP BY ALL)
SELECT coalesce(seen.step, gone.step) AS step, coalesce(judged, 0) AS judged, coalesce(reason, '') AS reason,
       coalesce(left_out, 0) AS left_out
FROM seen FULL JOIN gone USING (step) ORDER BY judged DESC, seen.n, step, left_out DESC, reason
"""

LEAVES = f"""
WITH rows AS (
    SELECT {METHOD} AS method, s.leaf, r.kept, r.reason, s.status FROM base.version_rows r
    JOIN base.samples s USING (run_id, sample_id) WHERE r.version = $version),
targets AS (
    SELECT method, leaf, arg_max(target, entry) AS target FROM base.targets JOIN base.runs USING (run_id)
    WHERE run_id IN (SELECT run_id FROM base.version_rows WHERE version = $version) GROUP BY ALL),
counted AS (
    SELECT method, leaf, count(*) AS made, count(*) FILTER (kept) AS kept,
           count(*) FILTER (NOT kept AND status <> 'failed') AS dropped,
           count(*) FILTER (NOT kept AND status = 'failed') AS failed
    FROM rows GROUP BY ALL),
against AS (
    SELECT method, leaf, arg_max(reason, (n, reason)) AS main_reason
    FROM (SELECT method, leaf, reason, count(*) AS n FROM rows WHERE NOT kept GROUP BY ALL) GROUP BY ALL)
SELECT method, leaf, target, made, kept, dropped, failed, greatest(target - kept, 0) AS shortfall,
       coalesce(main_reason, '') AS main_reason
FROM counted LEFT JOIN targets USING (method, leaf) LEFT JOIN against USING (method, leaf)
ORDER BY contains(method, '/'), leaf, method
"""

JUDGES = """
SELECT curator, model, judged, agreement_n, agreement, kappa, compared, flip_rate, length_bias, drawn_n,
       drawn_agreement FROM judges
SEMI JOIN (SELECT DISTINCT curator, v.model FROM base.verdicts v SEMI JOIN base.version_rows r
           ON r.version = $version AND r.run_id = v.run_id AND r.sample_id = v.sample_id) mine
USING (curator, model) ORDER BY curator, model
"""

PEOPLE = """
WITH rows AS (SELECT * FROM base.version_rows WHERE version = $version),
acts AS (
    SELECT DISTINCT r.run_id, r.sample_id, r.kept, b.action, b.reviewer
    FROM (SELECT run_id, sample_id, kept, unnest(review_ids) AS review_id FROM rows) r
    JOIN base.reviews b USING (review_id))
SELECT (SELECT count(*) FROM rows WHERE kept) AS published, (SELECT count(*) FROM rows) AS candidates,
       count(DISTINCT (run_id, sample_id)) FILTER (kept) AS reviewed,
       count(DISTINCT (run_id, sample_id)) FILTER (kept AND action = 'edit') AS edited,
       count(DISTINCT (run_id, sample_id)) FILTER (kept AND action = 'rejected') AS turned,
       (SELECT count(*) FROM rows WHERE NOT kept AND step = 'review') AS dropped,
       count(DISTINCT reviewer) AS reviewers
FROM acts
"""

AUTHORS = """
WITH pairs AS (
    SELECT r.sample_id, s.model, p.rejected_model FROM base.version_rows r
    JOIN base.samples s USING (run_id, sample_id) LEFT JOIN preferences p USING (run_id, sample_id)
    WHERE r.version = $version AND r.kept)
SELECT author, count(DISTINCT sample_id) AS rows
FROM (SELECT sample_id, model AS author FROM pairs UNION ALL SELECT sample_id, rejected_model FROM pairs)
WHERE author IS NOT NULL AND author <> '' GROUP BY author ORDER BY author
"""

CHECKED = """
WITH rows AS (SELECT run_id, sample_id, kept, content FROM base.version_rows WHERE version = $version),
checked AS (
    SELECT run_id, sample_id, regexp_replace(step, '-again$', '') AS step, max(rowid) AS n
    FROM base.verdicts WHERE curator = 'decontaminate' GROUP BY ALL),
revised AS (
    SELECT run_id, sample_id, max(rowid) AS n FROM base.verdicts WHERE revision <> '' AND keep GROUP BY ALL)
SELECT step, count(*) FILTER (kept) AS published, count(*) AS checked,
       count(*) FILTER (kept AND (content IS NOT NULL OR coalesce(revised.n > checked.n, false))) AS changed_after
FROM rows JOIN checked USING (run_id, sample_id) LEFT JOIN revised USING (run_id, sample_id)
GROUP BY step ORDER BY step
"""

FOUND = """
SELECT v.step, v.reason, count(*) AS n FROM base.verdicts v SEMI JOIN base.version_rows r
    ON r.version = $version AND r.run_id = v.run_id AND r.sample_id = v.sample_id
WHERE curator = 'decontaminate' AND NOT keep GROUP BY ALL ORDER BY n DESC, reason
"""


def traced_batches(store: Store, version: str, held_out: float, only: Only, rows: int = 4096) -> Iterator[pa.Table]:
    """The samples of a version as `version_batches` gives them, with the scores they had.

    `scores` is a list of {step, curator, judge, score, threshold} in the order of the steps.
    """
    reach = store.rows(REACH, {"version": version, "rows": rows})
    parts = {int(str(row["part"])): (int(str(row["low"])), int(str(row["high"]))) for row in reach}
    for batch in version_batches(store, version, rows, held_out, only):
        placed = _placed(version, batch)
        touched = range(placed["first"] // rows, placed["last"] // rows + 1)
        bounds = [parts[part] for part in touched if part in parts] or [(0, -1)]
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        found = store.query(f"WITH {_PLACED} {_SCORES}", {**placed, "low": low, "high": high})
        yield batch.append_column("scores", _listed(found, batch["place"]))


def published_batches(store: Store, version: str, held_out: float, rows: int = 16_384) -> Iterator[pa.Table]:
    """The samples of a version as `traced_batches` gives them, with what people did of it.

    `review` is one of `none`, `kept`, `edited`, `turned`, `edited and turned`, as the version froze it.
    """
    for batch in traced_batches(store, version, held_out, Only(), rows):
        yield batch.append_column("review", store.query(REVIEWS, _placed(version, batch))["review"])


def _placed(version: str, batch: pa.Table) -> dict[str, Any]:
    return {"version": version, "first": batch["place"][0].as_py(), "last": batch["place"][-1].as_py()}


def running_batches(store: Store, run_id: str, held_out: float) -> Iterator[pa.Table]:
    """What a run has kept so far, with the columns of `traced_batches`: on the sides that a version would have it."""
    for batch in kept_batches(store, run_id):
        named = {"runs": batch["run_id"].to_pylist(), "ids": batch["sample_id"].to_pylist()}
        sides = store.query(SIDES, {**named, "share": held_out})
        found = store.query(f"WITH {_NAMED} {_SCORES}", {**named, "low": 0, "high": _EVERY})
        told = batch.append_column("split", pc.if_else(sides["held_out"], "test", "train"))
        yield told.append_column("scores", _listed(found, pa.chunked_array([range(batch.num_rows)])))


def _listed(scores: pa.Table, rows: pa.ChunkedArray) -> pa.ListArray:
    """The scores of each of these rows, by `n`: three times as fast as a list that DuckDB sorts (measured)."""
    mine = scores.filter(pc.is_in(scores["n"], rows)).combine_chunks()
    ends = np.searchsorted(mine["n"].to_numpy(), rows.to_numpy(), side="right")
    offsets = pa.array(np.concatenate(([0], ends)), pa.int32())
    return pa.ListArray.from_arrays(offsets, mine.drop_columns(["n"]).to_struct_array().combine_chunks())


def origin(store: Store, version: str) -> Row:
    """Everything that a version's card tells, as plain rows by the name of the query; see the SQL above.

    `recipe` and `thresholds` are read from JSON; `models` is a list, one a run, of cards by role; `candidates` are
    all rows that the version chose from, `found_rows` how many of those it holds were taken in as they were.
    """
    [made] = store.rows("SELECT * EXCLUDE (samples, left_out) FROM versions WHERE version = ?", [version])
    runs = store.rows(
        "SELECT run_id, models FROM base.runs WHERE run_id IN (SELECT run_id FROM base.version_rows WHERE version = ?) "
        "ORDER BY entry",
        [version],
    )
    kinds = store.rows(KINDS, {"version": version})
    queries = {
        "funnel": FUNNEL,
        "leaves": LEAVES,
        "judges": JUDGES,
        "people": PEOPLE,
        "authors": AUTHORS,
        "checked": CHECKED,
        "found": FOUND,
    }
    return {
        **made,
        "recipe_json": orjson.loads(str(made["recipe_json"])),
        "thresholds": orjson.loads(str(made["thresholds"])),
        "run_ids": [run["run_id"] for run in runs],
        "models": [orjson.loads(str(run["models"])) for run in runs],
        "kinds": [row["kind"] for row in kinds],
        "found_rows": sum(int(str(row["found"])) for row in kinds),
        **{name: store.rows(query, {"version": version}) for name, query in queries.items()},
    }
