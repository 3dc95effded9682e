"""A store that was saved from a damaged file is made consistent: what lost rows is marked, so that it can be redone.

A damaged run is made anew, from its recorded calls, when its recipe is run again. Until then its other rows are there
to be looked at, and its versions say what they lack.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from seedbed.store.order_schema import NEXT_ENTRY
from seedbed.store.runs import DAMAGED
from seedbed.store.store import Store

MESSAGE = "the store was damaged and rows of this run were lost: run its recipe again, which makes them from its calls"

BROKEN = """
CREATE TEMP TABLE broken AS
WITH stored AS (SELECT run_id, count(*) AS n FROM base.samples GROUP BY run_id),
announced AS (SELECT run_id, sum(n) FILTER (done) AS n FROM base.shards GROUP BY run_id),
aimless AS (  -- a leaf, or all, without the number of rows wanted of it
    SELECT run_id FROM base.samples s ANTI JOIN base.targets t
        ON t.run_id = s.run_id AND t.method = s.method AND t.leaf = s.leaf
    UNION SELECT run_id FROM base.runs WHERE status NOT IN ('done', 'short')),
unjudged AS (SELECT run_id FROM base.samples ANTI JOIN base.verdicts USING (run_id, sample_id)
             WHERE status IN ('kept', 'dropped')),
known AS (
    SELECT run_id FROM base.runs UNION SELECT run_id FROM base.targets UNION SELECT run_id FROM base.shards
    UNION SELECT run_id FROM base.samples)
SELECT run_id, r.run_id IS NULL AS unknown FROM known LEFT JOIN base.runs r USING (run_id)
LEFT JOIN stored s USING (run_id) LEFT JOIN announced a USING (run_id)
WHERE r.run_id IS NULL OR coalesce(s.n, 0) <> coalesce(a.n, 0)
   OR ($targets AND run_id IN (FROM aimless)) OR ($verdicts AND run_id IN (FROM unjudged));
"""
MARK = f"""
INSERT INTO base.runs (run_id, recipe, recipe_json, models, preview, status, message, started_at, seconds,
                       calls_replayed, entry)
SELECT run_id, '', '{{}}', '{{}}', false, '', '', coalesce(min(created_at), now() AT TIME ZONE 'UTC'), 0, 0,
       {NEXT_ENTRY} + row_number() OVER (ORDER BY min(created_at)) - 1
FROM broken LEFT JOIN base.samples USING (run_id) WHERE unknown GROUP BY run_id;
UPDATE base.runs SET status = '{DAMAGED}', message = '{MESSAGE}' WHERE run_id IN (SELECT run_id FROM broken);

INSERT INTO base.versions (version, parent, recipe, run_id, recipe_json, thresholds, reviews, created_at, entry)
SELECT version, '', regexp_replace(version, '-v[0-9]+$', ''), max(run_id), coalesce(any_value(recipe_json), '{{}}'),
       '{{}}', 0, now() AT TIME ZONE 'UTC', {NEXT_ENTRY} + row_number() OVER (
           ORDER BY regexp_extract(version, '-v([0-9]+)$', 1)::INTEGER) - 1
FROM base.version_rows LEFT JOIN base.runs USING (run_id)
WHERE version NOT IN (SELECT version FROM base.versions) GROUP BY version;
"""
SHORT = """
SELECT version, count(*) FILTER (s.run_id IS NULL) AS missing FROM base.version_rows r
LEFT JOIN (SELECT run_id, sample_id FROM base.samples) s USING (run_id, sample_id)
WHERE kept GROUP BY version HAVING missing > 0 OR max(place) + 1 <> count(*) ORDER BY version
"""


class Aftermath(NamedTuple):
    """Runs that are to be run again, as (run, recipe), and versions that lack rows."""

    runs: list[tuple[str, str]]
    versions: list[str]


def put_right(store: Store, lost: Collection[str]) -> Aftermath:
    """Mark what lost rows; `lost` are the tables of which rows are missing."""
    with store.writing() as db:
        db.execute(BROKEN, {"targets": "targets" in lost, "verdicts": "verdicts" in lost})
        db.execute(MARK)
        runs = db.execute("SELECT run_id, recipe FROM base.runs SEMI JOIN broken USING (run_id) ORDER BY entry")
        found = runs.fetchall()
        short = [version for version, *_ in db.execute(SHORT).fetchall()]
        db.execute("DROP TABLE broken")
    return Aftermath(found, short)
