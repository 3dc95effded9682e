"""Migration 3: preferences, reviews and versions, and the views over them.

`base.version_rows` holds every row that a version chose from, with the reason of those left out, so that two
versions can be compared and any one of them filtered again. Reviews are events: what is undone stays. A decision is a
reviewer's latest on a row; `voices` lends it to the same text in other runs, and `judges` leaves bulk verdicts out,
which nobody gave by looking at the sample. A transcript may hold anything, as curators of other packages write it
too: what is read out of one is tried, and no row of it can make a view fail.
"""

CURATION = """
ALTER TABLE base.samples ADD COLUMN rejected VARCHAR DEFAULT '';
ALTER TABLE base.verdicts ADD COLUMN revision VARCHAR DEFAULT '';
ALTER TABLE base.verdicts ADD COLUMN model VARCHAR DEFAULT '';
ALTER TABLE base.targets ADD COLUMN identity VARCHAR DEFAULT '';
CREATE TABLE base.reviews (
    review_id VARCHAR, run_id VARCHAR, sample_id VARCHAR, content_hash VARCHAR, reviewer VARCHAR, action VARCHAR,
    edit VARCHAR, note VARCHAR, shown_order VARCHAR, seconds DOUBLE, batch VARCHAR, undoes VARCHAR,
    created_at TIMESTAMP);
CREATE TABLE base.assignments (
    run_id VARCHAR, sample_id VARCHAR, reviewer VARCHAR, shown_order VARCHAR, leased_until TIMESTAMP);
CREATE TABLE base.versions (
    version VARCHAR, parent VARCHAR, recipe VARCHAR, run_id VARCHAR, recipe_json VARCHAR, thresholds VARCHAR,
    reviews INTEGER, created_at TIMESTAMP);
CREATE TABLE base.version_rows (
    version VARCHAR, place BIGINT, run_id VARCHAR, sample_id VARCHAR, kept BOOLEAN, step VARCHAR, reason VARCHAR,
    review_ids VARCHAR[], content VARCHAR);

CREATE OR REPLACE VIEW samples AS
SELECT sample_id, run_id, kind, method, leaf, status, step, reason,
       to_json({question: question, answer: answer, context: context, rejected: rejected}) AS content,
       question, answer, context, rejected, parents, call_ids, model, text_hash, ordinal, attempt, position, created_at
FROM base.samples;

CREATE OR REPLACE VIEW verdicts AS
SELECT sample_id, run_id, step, curator, keep, score, threshold, reason, call_ids, transcript, model, revision,
       CASE WHEN revision <> '' AND keep THEN 'revise' WHEN keep THEN 'keep' ELSE 'drop' END AS action
FROM base.verdicts;

CREATE VIEW reviews AS
SELECT review_id, sample_id, run_id, reviewer, action, edit, note, shown_order, created_at, seconds, batch, undoes,
       content_hash, action <> 'undo' AND (
           review_id IN (SELECT undoes FROM base.reviews WHERE action = 'undo')
           OR batch IN (SELECT undoes FROM base.reviews WHERE action = 'undo')) AS undone
FROM base.reviews;

CREATE VIEW decisions AS
SELECT run_id, sample_id, reviewer, arg_max(action, created_at) AS decision,
       arg_max(review_id, created_at) AS review_id, arg_max(shown_order, created_at) AS shown_order,
       arg_max(content_hash, created_at) AS content_hash, max(created_at) AS created_at,
       arg_max(batch, created_at) AS batch
FROM reviews
WHERE NOT undone AND action IN ('keep', 'drop', 'unsure', 'chosen', 'rejected', 'tie')
GROUP BY run_id, sample_id, reviewer;

CREATE VIEW voices AS
WITH elsewhere AS (
    SELECT s.run_id, s.sample_id, d.reviewer, d.decision, d.created_at, d.batch, d.content_hash, d.review_id
    FROM decisions d JOIN base.samples s ON s.sample_id = d.sample_id AND s.run_id <> d.run_id),
heard AS (
    SELECT run_id, sample_id, reviewer, decision, created_at, batch, review_id FROM decisions
    UNION ALL
    SELECT e.run_id, e.sample_id, e.reviewer, e.decision, e.created_at, e.batch, e.review_id
    FROM elsewhere e JOIN base.samples s ON s.run_id = e.run_id AND s.sample_id = e.sample_id
    WHERE e.content_hash = md5(concat_ws(chr(31), s.question, s.context, s.answer, s.rejected)))
SELECT run_id, sample_id, reviewer, arg_max(decision, created_at) AS decision, arg_max(batch, created_at) AS batch,
       max(created_at) AS created_at, arg_max(review_id, created_at) AS review_id
FROM heard GROUP BY run_id, sample_id, reviewer;

CREATE VIEW versions AS
SELECT v.version, v.recipe, count(r.sample_id) FILTER (r.kept) AS samples, v.created_at, v.parent, v.run_id,
       v.thresholds, v.reviews, count(r.sample_id) FILTER (NOT r.kept) AS left_out, v.recipe_json
FROM base.versions v LEFT JOIN base.version_rows r USING (version)
GROUP BY ALL;

CREATE VIEW version_samples AS
SELECT version, place, r.run_id, r.sample_id, r.kept, r.step, r.reason, s.kind, s.method, s.leaf, s.model,
       coalesce((r.content->>'question'), s.question) AS question,
       coalesce((r.content->>'context'), s.context) AS context,
       coalesce((r.content->>'answer'), s.answer) AS answer,
       coalesce((r.content->>'rejected'), s.rejected) AS rejected,
       r.content IS NOT NULL AND len(r.review_ids) > 0 AS changed_by_people, r.review_ids, s.text_hash
FROM base.version_rows r JOIN base.samples s USING (run_id, sample_id);

CREATE VIEW preferences AS
SELECT s.sample_id, s.run_id, s.method, s.leaf, s.status,
       CASE WHEN starts_with(v.reason, 'tie') THEN 'tie' ELSE 'pair' END AS outcome,
       s.question, s.context, s.answer AS chosen, s.rejected, v.score AS margin, v.model AS judge,
       TRY_CAST(t->'orders' AS DOUBLE[]) AS orders,
       coalesce(nullif(v.reason, ''), CASE WHEN (t->'orders') IS NULL THEN 'rated higher'
                                           ELSE 'preferred in both orders' END) AS reason,
       json_extract_string(t, '$.candidates[' || TRY_CAST(t->>'chosen' AS UINTEGER) || '].model') AS chosen_model,
       json_extract_string(t, '$.candidates[' || TRY_CAST(t->>'rejected' AS UINTEGER) || '].model') AS rejected_model,
       (t->'candidates') AS candidates, (t->'comparisons') AS comparisons
FROM base.samples s
JOIN (SELECT *, CASE WHEN json_valid(transcript) THEN transcript::JSON END AS t FROM base.verdicts
      WHERE step = 'preference') v USING (run_id, sample_id)
WHERE s.kind = 'preference';

CREATE VIEW revisions AS
SELECT run_id, sample_id, step, curator, model AS judge, (t->>'outcome') AS outcome, (t->>'revised') AS revised,
       TRY_CAST(t->>'before' AS DOUBLE) AS score_before, TRY_CAST(t->>'after' AS DOUBLE) AS score_after,
       coalesce(TRY_CAST(t->>'fixed' AS BOOLEAN), false) AS fixed,
       coalesce(TRY_CAST(t->>'broken' AS BOOLEAN), false) AS broken,
       TRY_CAST(t->'orders' AS DOUBLE[]) AS orders, (t->>'critique') AS critique
FROM (SELECT *, CASE WHEN json_valid(transcript) THEN
                         CASE curator WHEN 'debate' THEN transcript->'attempt' ELSE transcript::JSON END END AS t
      FROM base.verdicts WHERE curator IN ('critique', 'debate'))
WHERE (t->>'revised') IS NOT NULL AND (t->>'outcome') IN ('won', 'lost', 'tie', 'unchanged', 'unusable');

CREATE VIEW debates AS
WITH held AS (
    SELECT run_id, sample_id, step, keep, score, reason, call_ids, transcript, model FROM base.verdicts
    WHERE curator = 'debate' AND json_valid(transcript)),
spent AS (
    SELECT run_id, sample_id, step, count(*) AS calls, sum(tokens_in)::BIGINT AS tokens_in,
           sum(tokens_out)::BIGINT AS tokens_out
    FROM (SELECT run_id, sample_id, step, unnest(call_ids) AS call_id FROM held)
    JOIN (SELECT DISTINCT ON (call_id) call_id, tokens_in, tokens_out FROM base.calls WHERE status = 'ok')
        USING (call_id)
    GROUP BY run_id, sample_id, step)
SELECT run_id, sample_id, step, (transcript->>'outcome') AS outcome,
       json_array_length(transcript->'turns') > 0 AS debated, keep, score, reason,
       TRY_CAST(transcript->'orders' AS DOUBLE[]) AS orders, (transcript->>'decisive') AS decisive,
       (transcript->'opinions') AS opinions, (transcript->'turns') AS turns, model AS judge, calls, tokens_in,
       tokens_out
FROM held LEFT JOIN spent USING (run_id, sample_id, step);

CREATE VIEW judges AS
WITH ruled AS (
    SELECT run_id, sample_id, step, curator, model, keep, score, CASE
               WHEN starts_with(reason, 'tie') OR reason = 'debate undecided' THEN 'tie'
               WHEN curator = 'debate' AND NOT keep THEN 'rejected' ELSE 'chosen' END AS better  -- of a pair
    FROM base.verdicts WHERE model <> ''),
sides AS (
    SELECT curator, model, CASE
               WHEN decision IN ('keep', 'drop') THEN CASE WHEN keep THEN 'keep' ELSE 'drop' END
               WHEN better = 'tie' THEN 'tie'
               WHEN (better = 'chosen') = (shown_order = 'chosen-first') THEN 'left' ELSE 'right' END AS said,
           CASE WHEN decision IN ('keep', 'drop', 'tie') THEN decision
                WHEN (decision = 'chosen') = (shown_order = 'chosen-first') THEN 'left' ELSE 'right' END AS person
    FROM ruled JOIN decisions USING (run_id, sample_id)
    WHERE decision <> 'unsure' AND batch = '' AND (decision IN ('keep', 'drop') OR step IN ('preference', 'debate'))),
margins AS (
    SELECT curator, model, person AS label, 0 AS j, count(*) AS p FROM sides GROUP BY ALL
    UNION ALL SELECT curator, model, said, count(*), 0 FROM sides GROUP BY ALL),
chance AS (
    SELECT curator, model, sum(j * p) AS hits FROM (
        SELECT curator, model, label, sum(j) AS j, sum(p) AS p FROM margins GROUP BY ALL) GROUP BY ALL),
agreement AS (
    SELECT curator, model, count(*) AS n, avg((said = person)::INTEGER) AS share FROM sides GROUP BY ALL),
pairs AS (
    SELECT curator, model, unnest(from_json(transcript->'comparisons',
               '[{"a": "UINTEGER", "b": "UINTEGER", "in_front": "DOUBLE", "behind": "DOUBLE"}]')) AS c, transcript
    FROM base.verdicts WHERE curator = 'preferences' AND json_valid(transcript)),
compared AS (
    SELECT curator, model, c.in_front AS p, c.behind AS q,
           length(json_extract_string(transcript, '$.candidates[' || c.a || '].text'))
           - length(json_extract_string(transcript, '$.candidates[' || c.b || '].text')) AS longer FROM pairs
    UNION ALL
    SELECT r.curator, r.judge, orders[1], orders[2], length(revised) - length(s.answer)
    FROM revisions r JOIN base.samples s USING (run_id, sample_id) WHERE orders IS NOT NULL),
swaps AS (
    SELECT curator, model, count(*) AS compared, avg(((p > 0.5) <> (q > 0.5))::INTEGER) AS flip_rate,
           nullif(corr((p + q) / 2, longer), 'NaN'::DOUBLE) AS length_bias FROM compared GROUP BY ALL),
scores AS (
    SELECT curator, v.model, nullif(corr(score, length(answer)), 'NaN'::DOUBLE) AS length_bias
    FROM base.verdicts v JOIN base.samples USING (run_id, sample_id)
    WHERE v.model <> '' AND score IS NOT NULL AND v.step <> 'preference' GROUP BY ALL)
SELECT curator, model, count(*) AS judged, any_value(n) AS agreement_n, any_value(share) AS agreement,
       any_value(CASE WHEN hits < n * n THEN (share - hits / (n * n)) / (1 - hits / (n * n)) END) AS kappa,
       any_value(compared) AS compared, any_value(flip_rate) AS flip_rate,
       any_value(coalesce(swaps.length_bias, scores.length_bias)) AS length_bias
FROM ruled LEFT JOIN agreement USING (curator, model) LEFT JOIN chance USING (curator, model)
LEFT JOIN swaps USING (curator, model) LEFT JOIN scores USING (curator, model)
GROUP BY curator, model;
"""
