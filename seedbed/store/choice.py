"""Which rows a version keeps, with which text, and why the others stay out: the SQL behind `versions.py`, in its order.

People go before judges and judges in the order of their steps.
"""

from seedbed.store.reviews import HASH

CANDIDATES = """
CREATE OR REPLACE TEMP TABLE temp.candidates AS
SELECT s.run_id, s.sample_id, s.method, s.leaf, s.kind, s.status, s.step, s.reason,
       row_number() OVER (ORDER BY r.started_at, s.position, s.sample_id) AS place,
       s.answer <> '' AND (s.kind <> 'preference' OR s.rejected NOT IN ('', s.answer)) AS whole
FROM base.samples s JOIN base.runs r USING (run_id)
"""
FROM_SCOPE = """
SEMI JOIN (SELECT unnest($runs) AS run_id, unnest($methods) AS method, unnest($leaves) AS leaf) scope
    ON s.run_id = scope.run_id AND split_part(s.method, '/', 1) = scope.method AND s.leaf = scope.leaf
"""
FROM_PARENT = """
SEMI JOIN base.version_rows p ON p.version = $parent AND s.run_id = p.run_id AND s.sample_id = p.sample_id
"""

# Reviews count for what was seen: those of another run too, where its sample of this id says the same.
PEOPLE = f"""
CREATE OR REPLACE TEMP TABLE temp.people AS
WITH seen AS (
    SELECT c.run_id, c.sample_id, {HASH} AS content_hash
    FROM temp.candidates c JOIN base.samples USING (run_id, sample_id)
    WHERE sample_id IN (SELECT sample_id FROM base.reviews)),
votes AS (
    SELECT run_id, sample_id, decision, count(*) AS n, list(review_id ORDER BY review_id) AS review_ids
    FROM voices SEMI JOIN temp.candidates USING (run_id, sample_id) WHERE decision <> 'unsure' GROUP BY ALL),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY run_id, sample_id ORDER BY n DESC) AS rank,
           lead(n) OVER (PARTITION BY run_id, sample_id ORDER BY n DESC) AS next
    FROM votes),
edits AS (
    SELECT seen.run_id, seen.sample_id, arg_max(r.edit, r.created_at) AS edit,
           arg_max(r.review_id, r.created_at) AS review_id
    FROM seen JOIN reviews r ON r.sample_id = seen.sample_id AND r.content_hash = seen.content_hash
    WHERE r.action = 'edit' AND NOT r.undone GROUP BY ALL)
SELECT coalesce(v.run_id, e.run_id) AS run_id, coalesce(v.sample_id, e.sample_id) AS sample_id, v.decision,
       e.edit, list_concat(coalesce(v.review_ids, []),
                           CASE WHEN e.review_id IS NULL THEN [] ELSE [e.review_id] END) AS review_ids
FROM (SELECT * FROM ranked WHERE rank = 1 AND n > coalesce(next, 0)) v
FULL JOIN edits e ON v.run_id = e.run_id AND v.sample_id = e.sample_id
"""

CHOSEN = """
CREATE OR REPLACE TEMP TABLE temp.chosen AS
WITH cuts AS (SELECT unnest($steps::VARCHAR[]) AS step, unnest($cuts::DOUBLE[]) AS cut),
ruled AS (
    SELECT v.run_id, v.sample_id, v.step, v.rowid AS n, v.score,
           CASE WHEN cut IS NULL OR v.threshold IS NULL THEN v.keep ELSE v.score >= cut END AS keep,
           CASE WHEN cut IS NULL OR v.threshold IS NULL THEN v.reason ELSE v.step || ' below ' || cut::VARCHAR END
               AS reason
    FROM base.verdicts v SEMI JOIN temp.candidates USING (run_id, sample_id) LEFT JOIN cuts USING (step)),
against AS (
    SELECT run_id, sample_id, arg_min(step, n) AS step, arg_min(reason, n) AS reason
    FROM ruled WHERE NOT keep GROUP BY ALL),
scores AS (SELECT run_id, sample_id, arg_max(score, n) AS score FROM ruled WHERE score IS NOT NULL GROUP BY ALL),
required AS (SELECT unnest($required::VARCHAR[]) AS step, unnest(range(len($required::VARCHAR[]))) AS n),
missing AS (
    SELECT run_id, sample_id, arg_min(required.step, required.n) AS step
    FROM temp.candidates CROSS JOIN required ANTI JOIN ruled
        ON ruled.run_id = candidates.run_id AND ruled.sample_id = candidates.sample_id AND ruled.step = required.step
    GROUP BY ALL),
weighed AS (
    SELECT c.*, people.decision, people.edit, coalesce(people.review_ids, []) AS review_ids, scores.score,
           CASE
               WHEN people.decision = 'drop' THEN 'dropped by people'
               WHEN people.decision = 'tie' THEN 'a tie for people'
               WHEN c.status = 'failed' OR NOT c.whole THEN coalesce(nullif(c.reason, ''), 'nothing to train on')
               WHEN people.decision IN ('keep', 'chosen', 'rejected') THEN ''
               WHEN contains(c.method, '/') THEN c.reason
               WHEN against.step IS NOT NULL THEN against.reason
               WHEN c.status = 'dropped' AND c.step <> 'preference' AND NOT list_contains($required::VARCHAR[], c.step)
                   THEN c.reason
               WHEN missing.step IS NOT NULL THEN 'never seen by ' || missing.step
               ELSE '' END AS why,
           CASE WHEN people.decision IN ('drop', 'tie') THEN 'review' WHEN c.status = 'failed' THEN c.step
                ELSE coalesce(against.step, missing.step, c.step) END AS at
    FROM temp.candidates c
    LEFT JOIN temp.people USING (run_id, sample_id) LEFT JOIN against USING (run_id, sample_id)
    LEFT JOIN scores USING (run_id, sample_id) LEFT JOIN missing USING (run_id, sample_id)),
ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY method, leaf
        ORDER BY coalesce(decision IN ('keep', 'chosen', 'rejected'), false) DESC, status = 'kept' DESC, score DESC,
                 place) AS rank
    FROM weighed WHERE why = ''),
targets AS (
    SELECT method, leaf, arg_max(target, started_at) AS target
    FROM base.targets JOIN base.runs USING (run_id) WHERE run_id IN (SELECT run_id FROM temp.candidates)
    GROUP BY ALL)
SELECT w.run_id, w.sample_id, w.place, w.decision, w.edit, w.review_ids,
       w.why = '' AND NOT coalesce($balanced AND r.rank > t.target, false) AS kept,
       CASE WHEN w.why <> '' THEN w.why WHEN $balanced AND r.rank > t.target THEN 'over the leaf''s target' ELSE '' END
           AS reason,
       CASE WHEN w.why <> '' THEN w.at WHEN $balanced AND r.rank > t.target THEN 'coverage' ELSE '' END AS step
FROM weighed w LEFT JOIN ranked r USING (run_id, sample_id)
LEFT JOIN targets t ON t.method = w.method AND t.leaf = w.leaf
"""

FROZEN = """
SELECT $version, CASE WHEN c.kept THEN row_number() OVER (PARTITION BY c.kept ORDER BY c.place) - 1 END, c.run_id,
       c.sample_id, c.kept, c.step, c.reason, c.review_ids,
       CASE WHEN c.decision = 'rejected' AND s.kind = 'preference'
            THEN json_merge_patch(coalesce(c.edit, '{}'), to_json({answer: coalesce(c.edit->>'rejected', s.rejected),
                                                    rejected: coalesce(c.edit->>'answer', s.answer)}))
            ELSE c.edit END
FROM temp.chosen c JOIN base.samples s USING (run_id, sample_id)
"""
