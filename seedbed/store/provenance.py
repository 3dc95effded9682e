"""Where a version's rows come from and what became of the others: what a published data set tells of itself.

All of it is read from what the version froze, so that the same version tells the same. Only the judges' agreement
with people is of today: it grows with the reviews.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pyarrow as pa

from seedbed.store.choice import METHOD
from seedbed.store.store import Store
from seedbed.store.versions import version_batches

Row = dict[str, object]

LINEAGE = """
WITH wanted AS (SELECT unnest($ids) AS sample_id, unnest(range(len($ids))) AS n),
mine AS (
    SELECT n, run_id, sample_id, r.review_ids, r.content FROM base.version_rows r JOIN wanted USING (sample_id)
    WHERE version = $version AND kept),
said AS (
    SELECT sample_id, list({step: v.step, curator: v.curator, judge: v.model, score: v.score, threshold: v.threshold}
                           ORDER BY v.rowid) AS scores
    FROM base.verdicts v JOIN mine USING (run_id, sample_id) WHERE v.score IS NOT NULL GROUP BY sample_id),
acts AS (
    SELECT sample_id, list(DISTINCT action) AS actions
    FROM (SELECT sample_id, unnest(review_ids) AS review_id FROM mine) JOIN base.reviews USING (review_id, sample_id)
    GROUP BY sample_id)
SELECT coalesce(scores, []) AS scores,
       CASE WHEN actions IS NULL THEN 'none'
            WHEN list_contains(actions, 'edit') AND list_contains(actions, 'rejected') THEN 'edited and turned'
            WHEN list_contains(actions, 'edit') THEN 'edited'
            WHEN list_contains(actions, 'rejected') THEN 'turned' ELSE 'kept' END AS review
FROM mine LEFT JOIN said USING (sample_id) LEFT JOIN acts USING (sample_id) ORDER BY n
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
SELECT curator, model, judged, agreement_n, agreement, kappa, compared, flip_rate, length_bias FROM judges
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


def published_batches(store: Store, version: str, held_out: float, rows: int = 16_384) -> Iterator[pa.Table]:
    """The samples of a version as `version_batches` gives them, with the scores they had and what people did.

    `scores` is a list of {step, curator, judge, score, threshold} in the order of the steps; `review` is one of
    `none`, `kept`, `edited`, `turned`, `edited and turned`, as the version froze it.
    """
    for batch in version_batches(store, version, rows, held_out):
        more = store.query(LINEAGE, {"version": version, "ids": batch["sample_id"].to_pylist()})
        yield batch.append_column("scores", more["scores"]).append_column("review", more["review"])


def origin(store: Store, version: str) -> Row:
    """Everything that a version's card tells, as plain rows by the name of the query; see the SQL above.

    `recipe` and `thresholds` are read from JSON; `models` is a list, one a run, of cards by role; `candidates` are
    all rows that the version chose from.
    """
    [made] = store.rows("SELECT * EXCLUDE (samples, left_out) FROM versions WHERE version = ?", [version])
    runs = store.rows(
        "SELECT run_id, models FROM base.runs WHERE run_id IN (SELECT run_id FROM base.version_rows WHERE version = ?) "
        "ORDER BY entry",
        [version],
    )
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
        "kinds": [
            row["kind"]
            for row in store.rows("SELECT DISTINCT kind FROM version_samples WHERE version = ? AND kept", [version])
        ],
        **{name: store.rows(query, {"version": version}) for name, query in queries.items()},
    }
