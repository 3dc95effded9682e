"""Migration: conversations, where rows come from, and a run's steps as rows.

`base.samples.rest` is what a conversation has beside its four texts (`seedbed.conversation_json`), NULL for one request
and one answer. `source` is the place of the plan that a row grew in, where that is not its leaf: a file of rows has
many leaves. `derived` is the step that made a row of another one, which stood in the method's name before; the view
still says it there. `row_key` is what exact duplicates are told by. `base.steps` says what each step of a run is, what
its transcripts tell, and its options, so that no view knows a method by its name. `base.edit_checks` holds what the
steps that ask no model say of a person's edit. `queue_order` is the order in which a reviewer
came upon a sample: agreement on samples that were chosen for being doubtful says nothing of the others.
"""

TELLS_BEFORE = (
    "CASE curator WHEN 'preferences' THEN 'pair' WHEN 'critique' THEN 'revision' "
    "WHEN 'debate' THEN 'debate' ELSE '' END"
)

CONVERSATIONS = f"""
ALTER TABLE base.samples ADD COLUMN rest VARCHAR;
ALTER TABLE base.samples ADD COLUMN derived VARCHAR DEFAULT '';
ALTER TABLE base.samples ADD COLUMN source VARCHAR DEFAULT '';
ALTER TABLE base.samples ADD COLUMN row_key UBIGINT;
ALTER TABLE base.reviews ADD COLUMN queue_order VARCHAR DEFAULT '';
UPDATE base.samples SET derived = substring(method, position('/' IN method) + 1), method = split_part(method, '/', 1)
WHERE contains(method, '/');

CREATE TABLE base.steps (run_id VARCHAR, n INTEGER, step VARCHAR, method VARCHAR, role VARCHAR, tells VARCHAR,
    options VARCHAR DEFAULT '');
CREATE TABLE base.edit_checks (run_id VARCHAR, review_id VARCHAR, keep BOOLEAN, step VARCHAR, reason VARCHAR);
INSERT INTO base.steps
SELECT run_id, row_number() OVER (PARTITION BY run_id ORDER BY first), step, curator,
       CASE WHEN curator IN ('skills', 'knowledge', 'preferences') THEN 'generator'
            WHEN curator = 'exact_duplicates' THEN 'selector' ELSE 'judge' END, {TELLS_BEFORE}, ''
FROM (SELECT run_id, step, curator, min(rowid) AS first FROM base.verdicts
      WHERE NOT ends_with(step, '-again') GROUP BY ALL);

CREATE VIEW steps AS SELECT run_id, n, step, method, role, tells FROM base.steps;

CREATE OR REPLACE VIEW samples AS
SELECT sample_id, run_id, kind, CASE WHEN derived = '' THEN method ELSE method || '/' || derived END AS method, leaf,
       status, step, reason, to_json({{question: question, answer: answer, context: context, rejected: rejected}})
       AS content, question, answer, context, rejected, parents, call_ids, model, text_hash, ordinal, attempt, position,
       created_at, error, rest, derived, source, (rest->'before') AS before, (rest->'after') AS after,
       (rest->'tools') AS tools, (rest->'facts') AS facts, CAST(rest->>'label' AS BOOLEAN) AS label,
       (rest->'responses') AS responses
FROM base.samples;

CREATE OR REPLACE VIEW reviews AS
SELECT review_id, sample_id, run_id, reviewer, action, edit, note, shown_order, created_at, seconds, batch, undoes,
       content_hash, action <> 'undo' AND (
           review_id IN (SELECT undoes FROM base.reviews WHERE action = 'undo')
           OR batch IN (SELECT undoes FROM base.reviews WHERE action = 'undo')) AS undone, entry, queue_order
FROM base.reviews;

CREATE OR REPLACE VIEW decisions AS
SELECT run_id, sample_id, reviewer, arg_max(action, entry) AS decision, arg_max(review_id, entry) AS review_id,
       arg_max(shown_order, entry) AS shown_order, arg_max(content_hash, entry) AS content_hash,
       arg_max(created_at, entry) AS created_at, arg_max(batch, entry) AS batch, max(entry) AS entry,
       arg_max(queue_order, entry) AS queue_order
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
    WHERE e.content_hash = md5(concat_ws(chr(31), s.question, s.context, s.answer, s.rejected, s.rest)))
SELECT run_id, sample_id, reviewer, arg_max(decision, entry) AS decision, arg_max(batch, entry) AS batch,
       arg_max(created_at, entry) AS created_at, arg_max(review_id, entry) AS review_id
FROM heard GROUP BY run_id, sample_id, reviewer;

CREATE OR REPLACE VIEW coverage AS
WITH mine AS (SELECT * FROM base.samples WHERE derived = ''),
rows AS (
    SELECT run_id, method, leaf, count(*) AS made, count(*) FILTER (status = 'kept') AS kept,
           count(*) FILTER (status = 'dropped') AS dropped, count(*) FILTER (status = 'failed') AS failed
    FROM mine GROUP BY run_id, method, leaf),
reasons AS (
    SELECT run_id, method, leaf, arg_max(reason, (n, reason)) AS main_reason
    FROM (SELECT run_id, method, leaf, reason, count(*) AS n FROM mine
          WHERE status IN ('dropped', 'failed') GROUP BY ALL)
    GROUP BY run_id, method, leaf)
SELECT run_id, method, leaf, target, coalesce(made, 0) AS made, coalesce(kept, 0) AS kept,
       coalesce(dropped, 0) AS dropped, coalesce(failed, 0) AS failed,
       greatest(target - coalesce(kept, 0), 0) AS shortfall, main_reason
FROM base.targets LEFT JOIN rows USING (run_id, method, leaf) LEFT JOIN reasons USING (run_id, method, leaf)
WHERE target > 0 OR made > 0;  -- the source of rows is no leaf, but they have leaves

CREATE OR REPLACE VIEW version_samples AS
SELECT version, place, r.run_id, r.sample_id, r.kept, r.step, r.reason, s.kind,
       CASE WHEN s.derived = '' THEN s.method ELSE s.method || '/' || s.derived END AS method, s.leaf, s.model,
       coalesce((r.content->>'question'), s.question) AS question,
       coalesce((r.content->>'context'), s.context) AS context,
       coalesce((r.content->>'answer'), s.answer) AS answer,
       coalesce((r.content->>'rejected'), s.rejected) AS rejected,
       r.content IS NOT NULL AND len(r.review_ids) > 0 AS changed_by_people, r.review_ids, s.text_hash,
       s.rest, s.source, s.parents
FROM base.version_rows r JOIN base.samples s USING (run_id, sample_id);
"""

# What steps tell, by curator: a recipe's second critique tells what its first does.
_TELLS = "tells AS (SELECT DISTINCT run_id, method AS curator, tells FROM base.steps)"
TELLING = f"""
CREATE OR REPLACE VIEW preferences AS
WITH ruled AS (
    SELECT *, CASE WHEN json_valid(transcript) THEN transcript::JSON END AS t FROM base.verdicts
    WHERE step = 'preference')
SELECT s.sample_id, s.run_id, CASE WHEN s.derived = '' THEN s.method ELSE s.method || '/' || s.derived END AS method,
       s.leaf, s.status, CASE WHEN starts_with(v.reason, 'tie') THEN 'tie' ELSE 'pair' END AS outcome,
       s.question, s.context, s.answer AS chosen, s.rejected, v.score AS margin, v.model AS judge,
       TRY_CAST(t->'orders' AS DOUBLE[]) AS orders,
       coalesce(nullif(v.reason, ''), CASE WHEN (t->'orders') IS NULL THEN 'rated higher'
                                           ELSE 'preferred in both orders' END) AS reason,
       json_extract_string(t, '$.candidates[' || TRY_CAST(t->>'chosen' AS UINTEGER) || '].model') AS chosen_model,
       json_extract_string(t, '$.candidates[' || TRY_CAST(t->>'rejected' AS UINTEGER) || '].model') AS rejected_model,
       (t->'candidates') AS candidates, (t->'comparisons') AS comparisons
FROM base.samples s JOIN ruled v USING (run_id, sample_id);

CREATE OR REPLACE VIEW revisions AS
WITH {_TELLS},
told AS (
    SELECT v.*, CASE WHEN json_valid(transcript) THEN
                         CASE tells WHEN 'debate' THEN transcript->'attempt' ELSE transcript::JSON END END AS t
    FROM base.verdicts v JOIN tells USING (run_id, curator) WHERE tells IN ('revision', 'debate'))
SELECT run_id, sample_id, step, curator, model AS judge, (t->>'outcome') AS outcome, (t->>'revised') AS revised,
       TRY_CAST(t->>'before' AS DOUBLE) AS score_before, TRY_CAST(t->>'after' AS DOUBLE) AS score_after,
       coalesce(TRY_CAST(t->>'fixed' AS BOOLEAN), false) AS fixed,
       coalesce(TRY_CAST(t->>'broken' AS BOOLEAN), false) AS broken,
       TRY_CAST(t->'orders' AS DOUBLE[]) AS orders, (t->>'critique') AS critique
FROM told
WHERE (t->>'revised') IS NOT NULL AND (t->>'outcome') IN ('won', 'lost', 'tie', 'unchanged', 'unusable');

CREATE OR REPLACE VIEW debates AS
WITH {_TELLS},
held AS (
    SELECT v.run_id, sample_id, step, keep, score, reason, call_ids, transcript, model
    FROM base.verdicts v JOIN tells USING (run_id, curator) WHERE tells = 'debate' AND json_valid(transcript)),
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

-- A verdict on words that a revision has since replaced is not what a person saw, so it is not scored by them.
CREATE OR REPLACE VIEW judges AS
WITH {_TELLS},
replaced AS (
    SELECT run_id, sample_id, max(rowid) AS n FROM base.verdicts WHERE keep AND revision <> '' GROUP BY ALL),
ruled AS (
    SELECT v.run_id, v.sample_id, step, v.curator, model, keep, score, coalesce(v.rowid < n, false) AS stale, CASE
               WHEN starts_with(reason, 'tie') OR reason = 'debate undecided' THEN 'tie'
               WHEN tells = 'debate' AND NOT keep THEN 'rejected' ELSE 'chosen' END AS better  -- of a pair
    FROM base.verdicts v LEFT JOIN tells USING (run_id, curator) LEFT JOIN replaced USING (run_id, sample_id)
    WHERE model <> ''),
sides AS (
    SELECT r.curator, model, queue_order IN ('random', 'leaf') AS drawn, CASE
               WHEN decision IN ('keep', 'drop') THEN CASE WHEN keep THEN 'keep' ELSE 'drop' END
               WHEN better = 'tie' THEN 'tie'
               WHEN (better = 'chosen') = (shown_order = 'chosen-first') THEN 'left' ELSE 'right' END AS said,
           CASE WHEN decision IN ('keep', 'drop', 'tie') THEN decision
                WHEN (decision = 'chosen') = (shown_order = 'chosen-first') THEN 'left' ELSE 'right' END AS person
    FROM ruled r JOIN decisions USING (run_id, sample_id) LEFT JOIN tells t
        ON t.run_id = r.run_id AND t.curator = r.curator
    WHERE decision <> 'unsure' AND batch = '' AND NOT stale
      AND (decision IN ('keep', 'drop') OR step = 'preference' OR t.tells = 'debate')),
margins AS (
    SELECT curator, model, person AS label, 0 AS j, count(*) AS p FROM sides GROUP BY ALL
    UNION ALL SELECT curator, model, said, count(*), 0 FROM sides GROUP BY ALL),
chance AS (
    SELECT curator, model, sum(j * p) AS hits FROM (
        SELECT curator, model, label, sum(j) AS j, sum(p) AS p FROM margins GROUP BY ALL) GROUP BY ALL),
agreement AS (
    SELECT curator, model, count(*) AS n, avg((said = person)::INTEGER) AS share, count(*) FILTER (drawn) AS drawn_n,
           avg((said = person)::INTEGER) FILTER (drawn) AS drawn_share
    FROM sides GROUP BY ALL),
pairs AS (
    SELECT curator, model, unnest(from_json(transcript->'comparisons',
               '[{{"a": "UINTEGER", "b": "UINTEGER", "in_front": "DOUBLE", "behind": "DOUBLE"}}]')) AS c, transcript
    FROM base.verdicts JOIN tells USING (run_id, curator) WHERE tells = 'pair' AND json_valid(transcript)),
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
       any_value(coalesce(swaps.length_bias, scores.length_bias)) AS length_bias,
       any_value(drawn_n) AS drawn_n, any_value(drawn_share) AS drawn_agreement
FROM ruled LEFT JOIN agreement USING (curator, model) LEFT JOIN chance USING (curator, model)
LEFT JOIN swaps USING (curator, model) LEFT JOIN scores USING (curator, model)
GROUP BY curator, model;
"""
