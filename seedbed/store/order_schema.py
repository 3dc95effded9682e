"""Migration: the order in which things happened is counted, so that no clock decides what came last.

`entry` numbers runs and versions together, and reviews by themselves, as they went in. `latest_run` of a stored shard
is the entry of the run that was the latest to have begun by then: what a run's rows had to be told apart from is what
was stored before it began. Older stores get both from the order of their rows. Times are for people to look at.
"""

# What the next run or version, and the next review, gets as its entry.
NEXT_ENTRY = (
    "(SELECT coalesce(max(entry), 0) + 1 FROM (SELECT entry FROM base.runs UNION ALL SELECT entry FROM base.versions))"
)
NEXT_REVIEW = "(SELECT coalesce(max(entry), 0) + 1 FROM base.reviews)"
LATEST_RUN = "(SELECT coalesce(max(entry), 0) FROM base.runs)"

ORDER = """
ALTER TABLE base.runs ADD COLUMN entry BIGINT;
ALTER TABLE base.versions ADD COLUMN entry BIGINT;
ALTER TABLE base.reviews ADD COLUMN entry BIGINT;
ALTER TABLE base.shards ADD COLUMN latest_run BIGINT;

-- A version came after its run, and after every version before it.
CREATE TEMP TABLE entries AS
SELECT name, is_version, row_number() OVER (ORDER BY after, is_version, n) AS entry FROM (
    SELECT run_id AS name, false AS is_version, rowid AS n, rowid AS after FROM base.runs
    UNION ALL
    SELECT v.version, true, v.rowid, max(coalesce(r.rowid, -1)) OVER (ORDER BY v.rowid)
    FROM base.versions v LEFT JOIN base.runs r USING (run_id));
UPDATE base.runs SET entry = e.entry FROM entries e WHERE NOT is_version AND name = run_id;
UPDATE base.versions SET entry = e.entry FROM entries e WHERE is_version AND name = version;
UPDATE base.reviews SET entry = rowid + 1;
DROP TABLE entries;

-- A run had begun when its first row was stored.
UPDATE base.shards SET latest_run = stored.latest_run FROM (
    SELECT run_id, shard, max(entry) OVER (ORDER BY first_row) AS latest_run FROM (
        SELECT h.run_id, h.shard, min(s.rowid) AS first_row
        FROM base.samples s ASOF JOIN base.shards h ON s.run_id = h.run_id AND s.position >= h.first
        GROUP BY ALL) JOIN base.runs USING (run_id)) stored
WHERE shards.run_id = stored.run_id AND shards.shard = stored.shard;

CREATE OR REPLACE VIEW reviews AS
SELECT review_id, sample_id, run_id, reviewer, action, edit, note, shown_order, created_at, seconds, batch, undoes,
       content_hash, action <> 'undo' AND (
           review_id IN (SELECT undoes FROM base.reviews WHERE action = 'undo')
           OR batch IN (SELECT undoes FROM base.reviews WHERE action = 'undo')) AS undone, entry
FROM base.reviews;

CREATE OR REPLACE VIEW decisions AS
SELECT run_id, sample_id, reviewer, arg_max(action, entry) AS decision, arg_max(review_id, entry) AS review_id,
       arg_max(shown_order, entry) AS shown_order, arg_max(content_hash, entry) AS content_hash,
       arg_max(created_at, entry) AS created_at, arg_max(batch, entry) AS batch, max(entry) AS entry
FROM reviews
WHERE NOT undone AND action IN ('keep', 'drop', 'unsure', 'chosen', 'rejected', 'tie')
GROUP BY run_id, sample_id, reviewer;

CREATE OR REPLACE VIEW voices AS
WITH elsewhere AS (
    SELECT s.run_id, s.sample_id, d.* EXCLUDE (run_id, sample_id)
    FROM decisions d JOIN base.samples s ON s.sample_id = d.sample_id AND s.run_id <> d.run_id),
heard AS (
    SELECT run_id, sample_id, reviewer, decision, created_at, batch, review_id, entry FROM decisions
    UNION ALL
    SELECT e.run_id, e.sample_id, e.reviewer, e.decision, e.created_at, e.batch, e.review_id, e.entry
    FROM elsewhere e JOIN base.samples s ON s.run_id = e.run_id AND s.sample_id = e.sample_id
    WHERE e.content_hash = md5(concat_ws(chr(31), s.question, s.context, s.answer, s.rejected)))
SELECT run_id, sample_id, reviewer, arg_max(decision, entry) AS decision, arg_max(batch, entry) AS batch,
       arg_max(created_at, entry) AS created_at, arg_max(review_id, entry) AS review_id
FROM heard GROUP BY run_id, sample_id, reviewer;

CREATE OR REPLACE VIEW versions AS
SELECT v.version, v.recipe, count(r.sample_id) FILTER (r.kept) AS samples, v.created_at, v.parent, v.run_id,
       v.thresholds, v.reviews, count(r.sample_id) FILTER (NOT r.kept) AS left_out, v.recipe_json, v.entry
FROM base.versions v LEFT JOIN base.version_rows r USING (version)
GROUP BY ALL;
"""
