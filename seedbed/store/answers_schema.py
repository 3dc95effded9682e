"""Migration: what a reply holds beside its words, why a row failed, and the views that tell of both.

Tokens that no server told are NULL, and a sum over calls of which none told any is NULL too.
"""

ANSWERS = """
ALTER TABLE base.calls ADD COLUMN reasoning VARCHAR;
ALTER TABLE base.calls ADD COLUMN refusal VARCHAR;
ALTER TABLE base.calls ADD COLUMN tool_calls VARCHAR;
ALTER TABLE base.calls ADD COLUMN served VARCHAR;
ALTER TABLE base.samples ADD COLUMN error VARCHAR DEFAULT '';

CREATE OR REPLACE VIEW calls AS
SELECT call_id, run_id, step, model, revision, prompt, request, response, finish, tokens_in, tokens_out,
       seconds, usd, status, error, created_at, reasoning, refusal, tool_calls, served
FROM base.calls;

CREATE OR REPLACE VIEW samples AS
SELECT sample_id, run_id, kind, method, leaf, status, step, reason,
       to_json({question: question, answer: answer, context: context, rejected: rejected}) AS content,
       question, answer, context, rejected, parents, call_ids, model, text_hash, ordinal, attempt, position,
       created_at, error
FROM base.samples;

CREATE OR REPLACE VIEW funnel AS
WITH said AS (
    SELECT run_id, step, keep, NOT keep AS dropped, false AS failed, reason FROM base.verdicts
    UNION ALL
    SELECT run_id, step, false, false, true, reason FROM base.samples WHERE status = 'failed'),
steps AS (
    SELECT run_id, step, count(*) AS rows_in, count(*) FILTER (keep) AS rows_out,
           count(*) FILTER (dropped) AS dropped, count(*) FILTER (failed) AS failed
    FROM said GROUP BY run_id, step),
reasons AS (
    SELECT run_id, step, reason, CASE WHEN failed THEN 'failed' ELSE 'dropped' END AS outcome, count(*) AS n
    FROM said WHERE NOT keep GROUP BY ALL)
SELECT run_id, step, rows_in, rows_out, dropped, reason, n, failed, outcome
FROM steps LEFT JOIN reasons USING (run_id, step);

CREATE OR REPLACE VIEW costs AS
WITH booked AS (
    SELECT run_id, call_id, min(step) AS verdict_step
    FROM (SELECT run_id, step, unnest(call_ids) AS call_id FROM base.verdicts) GROUP BY ALL),
paid AS (
    SELECT run_id, coalesce(verdict_step, step) AS step, model, count(*) AS calls,
           count(*) FILTER (status = 'error') AS errors, count(*) FILTER (status = 'refused') AS refused,
           sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out, sum(seconds) AS seconds,
           sum(usd) AS usd
    FROM base.calls LEFT JOIN booked USING (run_id, call_id) GROUP BY ALL),
judged AS (
    SELECT run_id, step, count(*) AS rows, count(*) FILTER (NOT keep) AS dropped
    FROM base.verdicts WHERE NOT (keep AND starts_with(reason, 'settled by ')) GROUP BY ALL),
together AS (
    SELECT run_id, step, coalesce(model, '') AS model, coalesce(calls, 0) AS calls, coalesce(errors, 0) AS errors,
           CASE WHEN calls IS NULL THEN 0 ELSE tokens_in END AS tokens_in,
           CASE WHEN calls IS NULL THEN 0 ELSE tokens_out END AS tokens_out, coalesce(seconds, 0) AS seconds, usd,
           rows, dropped, coalesce(refused, 0) AS refused
    FROM paid FULL JOIN judged USING (run_id, step))
SELECT run_id, step, model, calls, errors, tokens_in, tokens_out, seconds, usd, rows, dropped, dropped / rows AS yield,
       (tokens_in + tokens_out) / rows AS tokens_per_row,
       (tokens_in + tokens_out) / nullif(dropped, 0) AS tokens_per_drop, refused
FROM together;

CREATE OR REPLACE VIEW runs AS
WITH rows AS (
    SELECT run_id, count(*) FILTER (status = 'kept') AS kept, count(*) FILTER (status = 'dropped') AS dropped,
           count(*) FILTER (status = 'failed') AS failed, count(*) FILTER (status = 'pending') AS waiting
    FROM base.samples GROUP BY run_id),
planned AS (
    SELECT run_id, sum(n)::BIGINT AS made, coalesce(sum(n) FILTER (NOT done), 0)::BIGINT AS unfinished
    FROM base.shards GROUP BY run_id),
spent AS (
    SELECT run_id, count(*) AS calls, sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out,
           sum(usd) AS usd, count(*) FILTER (status = 'ok' AND (tokens_in IS NULL OR tokens_out IS NULL)) AS unmetered
    FROM base.calls GROUP BY run_id)
SELECT run_id, recipe, status, coalesce(made, 0) AS made, coalesce(kept, 0) AS kept,
       coalesce(dropped, 0) AS dropped, coalesce(failed, 0) AS failed,
       coalesce(unfinished, 0) + coalesce(waiting, 0) AS pending, coalesce(calls, 0) AS calls, calls_replayed,
       CASE WHEN calls IS NULL THEN 0 ELSE tokens_in END AS tokens_in,
       CASE WHEN calls IS NULL THEN 0 ELSE tokens_out END AS tokens_out, seconds, usd, started_at,
       ended_at, message, preview, models, recipe_json, coalesce(unmetered, 0) AS unmetered, entry
FROM base.runs LEFT JOIN rows USING (run_id) LEFT JOIN planned USING (run_id) LEFT JOIN spent USING (run_id);
"""
