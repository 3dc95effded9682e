"""Tables and views, as migrations in order. One that has shipped is never edited: write the next one.

The tables live in schema `base` and are ours to change; the views in `main` are the documented interface.
Times are UTC. `position` is a row's place in its run's plan: it decides which of two twins came first.
"""

from seedbed.store.answers_schema import ANSWERS
from seedbed.store.conversation_schema import CONVERSATIONS, TELLING
from seedbed.store.curation_schema import CURATION
from seedbed.store.order_schema import ORDER
from seedbed.store.pairs_schema import PAIRS_TAKEN_IN
from seedbed.store.selecting_schema import LINEAGE, SELECTIONS

TABLES = """
CREATE SCHEMA base;
CREATE TABLE base.runs (
    run_id VARCHAR, recipe VARCHAR, recipe_json VARCHAR, models VARCHAR, preview BOOLEAN, status VARCHAR,
    message VARCHAR,
    started_at TIMESTAMP, ended_at TIMESTAMP, seconds DOUBLE, calls_replayed BIGINT);
CREATE TABLE base.targets (run_id VARCHAR, method VARCHAR, leaf VARCHAR, target INTEGER);
CREATE TABLE base.shards (run_id VARCHAR, shard INTEGER, first BIGINT, n INTEGER, done BOOLEAN);
CREATE TABLE base.samples (
    run_id VARCHAR, sample_id VARCHAR, position BIGINT, kind VARCHAR, method VARCHAR, leaf VARCHAR,
    ordinal INTEGER, attempt INTEGER, status VARCHAR, step VARCHAR, reason VARCHAR,
    question VARCHAR, answer VARCHAR, context VARCHAR, parents VARCHAR[], call_ids VARCHAR[],
    model VARCHAR, text_hash VARCHAR, created_at TIMESTAMP);
CREATE TABLE base.verdicts (
    run_id VARCHAR, sample_id VARCHAR, step VARCHAR, curator VARCHAR, keep BOOLEAN, score DOUBLE,
    threshold DOUBLE, reason VARCHAR, call_ids VARCHAR[], transcript VARCHAR);
CREATE TABLE base.calls (
    call_id VARCHAR, run_id VARCHAR, step VARCHAR, model VARCHAR, revision VARCHAR, prompt VARCHAR,
    request VARCHAR, response VARCHAR, finish VARCHAR, tokens_in INTEGER, tokens_out INTEGER, seconds DOUBLE,
    usd DOUBLE, status VARCHAR, error VARCHAR, created_at TIMESTAMP);
"""

VIEWS = """
CREATE VIEW samples AS
SELECT sample_id, run_id, kind, method, leaf, status, step, reason,
       to_json({question: question, answer: answer, context: context}) AS content,
       question, answer, context, parents, call_ids, model, text_hash, ordinal, attempt, position, created_at
FROM base.samples;

CREATE VIEW calls AS
SELECT call_id, run_id, step, model, revision, prompt, request, response, finish, tokens_in, tokens_out,
       seconds, usd, status, error, created_at
FROM base.calls;

CREATE VIEW verdicts AS
SELECT sample_id, run_id, step, curator, keep, score, threshold, reason, call_ids, transcript
FROM base.verdicts;

CREATE VIEW costs AS
SELECT run_id, step, model, count(*) AS calls, count(*) FILTER (status = 'error') AS errors,
       sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out,
       sum(seconds) AS seconds, sum(usd) AS usd
FROM base.calls GROUP BY ALL;

CREATE VIEW runs AS
WITH rows AS (
    SELECT run_id, count(*) FILTER (status = 'kept') AS kept, count(*) FILTER (status = 'dropped') AS dropped,
           count(*) FILTER (status = 'failed') AS failed, count(*) FILTER (status = 'pending') AS waiting
    FROM base.samples GROUP BY run_id),
planned AS (
    SELECT run_id, sum(n)::BIGINT AS made, coalesce(sum(n) FILTER (NOT done), 0)::BIGINT AS unfinished
    FROM base.shards GROUP BY run_id),
spent AS (
    SELECT run_id, sum(calls)::BIGINT AS calls, sum(tokens_in)::BIGINT AS tokens_in,
           sum(tokens_out)::BIGINT AS tokens_out, sum(usd) AS usd
    FROM costs GROUP BY run_id)
SELECT run_id, recipe, status, coalesce(made, 0) AS made, coalesce(kept, 0) AS kept,
       coalesce(dropped, 0) AS dropped, coalesce(failed, 0) AS failed,
       coalesce(unfinished, 0) + coalesce(waiting, 0) AS pending, coalesce(calls, 0) AS calls, calls_replayed,
       coalesce(tokens_in, 0) AS tokens_in, coalesce(tokens_out, 0) AS tokens_out, seconds, usd, started_at,
       ended_at, message, preview, models, recipe_json
FROM base.runs LEFT JOIN rows USING (run_id) LEFT JOIN planned USING (run_id) LEFT JOIN spent USING (run_id);

CREATE VIEW funnel AS
WITH steps AS (
    SELECT run_id, step, count(*) AS rows_in, count(*) FILTER (keep) AS rows_out,
           count(*) FILTER (NOT keep) AS dropped
    FROM base.verdicts GROUP BY run_id, step),
reasons AS (
    SELECT run_id, step, reason, count(*) AS n FROM base.verdicts WHERE NOT keep GROUP BY run_id, step, reason)
SELECT run_id, step, rows_in, rows_out, dropped, reason, n
FROM steps LEFT JOIN reasons USING (run_id, step);

CREATE VIEW coverage AS
WITH rows AS (
    SELECT run_id, method, leaf, count(*) AS made, count(*) FILTER (status = 'kept') AS kept,
           count(*) FILTER (status = 'dropped') AS dropped, count(*) FILTER (status = 'failed') AS failed
    FROM base.samples GROUP BY run_id, method, leaf),
reasons AS (
    SELECT run_id, method, leaf, arg_max(reason, (n, reason)) AS main_reason
    FROM (SELECT run_id, method, leaf, reason, count(*) AS n FROM base.samples
          WHERE status IN ('dropped', 'failed') GROUP BY ALL)
    GROUP BY run_id, method, leaf)
SELECT run_id, method, leaf, target, coalesce(made, 0) AS made, coalesce(kept, 0) AS kept,
       coalesce(dropped, 0) AS dropped, coalesce(failed, 0) AS failed,
       greatest(target - coalesce(kept, 0), 0) AS shortfall, main_reason
FROM base.targets LEFT JOIN rows USING (run_id, method, leaf) LEFT JOIN reasons USING (run_id, method, leaf);
"""

# A step's price beside its yield. A judge's calls stand under the step whose verdict they led to, all others under
# their own name; a step that asks no model costs nothing and is there all the same. A row that an earlier step had
# settled was not judged, so it counts for nothing here.
COSTS = """
CREATE OR REPLACE VIEW costs AS
WITH booked AS (
    SELECT run_id, call_id, min(step) AS verdict_step
    FROM (SELECT run_id, step, unnest(call_ids) AS call_id FROM base.verdicts) GROUP BY ALL),
paid AS (
    SELECT run_id, coalesce(verdict_step, step) AS step, model, count(*) AS calls,
           count(*) FILTER (status = 'error') AS errors, sum(tokens_in)::BIGINT AS tokens_in,
           sum(tokens_out)::BIGINT AS tokens_out, sum(seconds) AS seconds, sum(usd) AS usd
    FROM base.calls LEFT JOIN booked USING (run_id, call_id) GROUP BY ALL),
judged AS (
    SELECT run_id, step, count(*) AS rows, count(*) FILTER (NOT keep) AS dropped
    FROM base.verdicts WHERE NOT (keep AND starts_with(reason, 'settled by ')) GROUP BY ALL)
SELECT run_id, step, coalesce(model, '') AS model, coalesce(calls, 0) AS calls, coalesce(errors, 0) AS errors,
       coalesce(tokens_in, 0) AS tokens_in, coalesce(tokens_out, 0) AS tokens_out, coalesce(seconds, 0) AS seconds,
       usd, rows, dropped, dropped / rows AS yield, (tokens_in + tokens_out) / rows AS tokens_per_row,
       (tokens_in + tokens_out) / nullif(dropped, 0) AS tokens_per_drop
FROM paid FULL JOIN judged USING (run_id, step);

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
           sum(usd) AS usd
    FROM base.calls GROUP BY run_id)
SELECT run_id, recipe, status, coalesce(made, 0) AS made, coalesce(kept, 0) AS kept,
       coalesce(dropped, 0) AS dropped, coalesce(failed, 0) AS failed,
       coalesce(unfinished, 0) + coalesce(waiting, 0) AS pending, coalesce(calls, 0) AS calls, calls_replayed,
       coalesce(tokens_in, 0) AS tokens_in, coalesce(tokens_out, 0) AS tokens_out, seconds, usd, started_at,
       ended_at, message, preview, models, recipe_json
FROM base.runs LEFT JOIN rows USING (run_id) LEFT JOIN planned USING (run_id) LEFT JOIN spent USING (run_id);
"""

MIGRATIONS: tuple[tuple[str, str], ...] = (
    ("tables", TABLES),
    ("views", VIEWS),
    ("curation", CURATION),
    ("costs", COSTS),
    ("order", ORDER),
    ("answers", ANSWERS),
    ("conversations", CONVERSATIONS + TELLING),
    ("pairs", PAIRS_TAKEN_IN),
    ("selections", SELECTIONS),
    ("lineage", LINEAGE),
)
