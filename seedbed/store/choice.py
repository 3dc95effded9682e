"""Which rows a version keeps, with which text, and why the others stay out: the SQL behind `versions.py`, in its order.

People go before judges and judges in the order of their steps. A pair that came of a revision holds the sample's own
answer as the chosen one, so what was said of that sample afterwards is said of the pair.
"""

from seedbed.kinds import PAIRS, TWOFOLD, sql_list
from seedbed.store.reviews import HASH

# What Python's split() takes for white space, but the plain space, in RE2's words. Single plain spaces are left alone
# below: eight times as fast (measured).
_WHITE = r"\t-\r\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"


METHOD = "CASE WHEN s.derived = '' THEN s.method ELSE s.method || '/' || s.derived END"  # as views tell it


def folded(text: str) -> str:
    """The SQL of `" ".join(text.split())`."""
    return f"trim(regexp_replace({text}, ' ?[{_WHITE}][ {_WHITE}]*|  [ {_WHITE}]*', ' ', 'g'))"


def _calls(number: int) -> str:
    return f"(rest->'$.responses[{number}].tool_calls')"


def _says_something(words: str, number: int) -> str:
    """The SQL of whether a response has words or calls of tools: cheaper than folding it, which few rows need."""
    return f"(regexp_matches({words}, '[^ {_WHITE}]') OR {_calls(number)} IS NOT NULL)"


def _said(words: str, number: int) -> str:
    """The SQL of what a response says: its words, folded, and its calls of tools."""
    return f"concat({folded(words)}, {_calls(number)})"


def _whole(answer: str, rejected: str) -> str:
    """The SQL of whether there is anything to train on: an answer, and of a pair two different ones."""
    return (
        f"CASE WHEN NOT coalesce({_says_something(answer, 0)}, false) THEN false "
        f"WHEN kind NOT IN {sql_list(TWOFOLD)} THEN true "
        f"ELSE {_said(rejected, 1)} NOT IN ('', {_said(answer, 0)}) END"
    )


CANDIDATES = f"""
CREATE OR REPLACE TEMP TABLE temp.candidates AS
SELECT s.run_id, s.sample_id, {METHOD} AS method, s.derived, s.leaf, s.kind, s.status, s.step, s.reason,
       s.parents[1] AS parent,
       row_number() OVER (ORDER BY r.entry, s.position, s.sample_id) AS place,
       {_whole("s.answer", "s.rejected")} AS whole
FROM base.samples s JOIN base.runs r USING (run_id)
"""
FROM_SCOPE = """
SEMI JOIN (SELECT unnest($runs) AS run_id, unnest($methods) AS method, unnest($leaves) AS leaf) scope
    ON s.run_id = scope.run_id AND s.method = scope.method AND coalesce(nullif(s.source, ''), s.leaf) = scope.leaf
"""
FROM_PARENT = """
SEMI JOIN base.version_rows p ON p.version = $parent AND s.run_id = p.run_id AND s.sample_id = p.sample_id
"""

# Reviews count for what was seen: those of another run too, where its sample of this id says the same.
PEOPLE = f"""
CREATE OR REPLACE TEMP TABLE temp.people AS
WITH seen AS (
    SELECT run_id, sample_id, base.samples.kind, answer, rejected, rest, {HASH} AS content_hash
    FROM temp.candidates JOIN base.samples USING (run_id, sample_id)
    WHERE sample_id IN (SELECT sample_id FROM base.reviews)),
votes AS (
    SELECT run_id, sample_id, decision, count(*) AS n, list(review_id ORDER BY review_id) AS review_ids
    FROM voices SEMI JOIN temp.candidates USING (run_id, sample_id) WHERE decision <> 'unsure' GROUP BY ALL),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY run_id, sample_id ORDER BY n DESC) AS rank,
           lead(n) OVER (PARTITION BY run_id, sample_id ORDER BY n DESC) AS next
    FROM votes),
edits AS (
    SELECT seen.run_id, seen.sample_id, kind, answer, rejected, rest, arg_max(r.edit, r.entry) AS edit,
           arg_max(r.review_id, r.entry) AS review_id
    FROM seen JOIN reviews r ON r.sample_id = seen.sample_id AND r.content_hash = seen.content_hash
    WHERE r.action = 'edit' AND NOT r.undone GROUP BY ALL),
edited AS (
    SELECT run_id, sample_id, edit, review_id,
           {_whole("coalesce(edit->>'answer', answer)", "coalesce(edit->>'rejected', rejected)")} AS whole
    FROM edits)
SELECT coalesce(v.run_id, e.run_id) AS run_id, coalesce(v.sample_id, e.sample_id) AS sample_id, v.decision,
       e.edit, e.whole, e.review_id AS edit_id, list_concat(coalesce(v.review_ids, []),
                                    CASE WHEN e.review_id IS NULL THEN [] ELSE [e.review_id] END) AS review_ids
FROM (SELECT * FROM ranked WHERE rank = 1 AND n > coalesce(next, 0)) v
FULL JOIN edited e ON v.run_id = e.run_id AND v.sample_id = e.sample_id
"""

# `heard` says of each row whose verdicts count for it, and from which on: a sample's own, all of them; of a pair its
# parent's after the one that made it. A parent that fell there kept its first answer, so nothing later is about the
# pair. Where another threshold turns a drop into a keep, the score is of the revision that won, so that one goes in.
CHOSEN = """
CREATE OR REPLACE TEMP TABLE temp.chosen AS
WITH cuts AS (SELECT unnest($steps::VARCHAR[]) AS step, unnest($cuts::DOUBLE[]) AS cut),
ruled AS (
    SELECT v.run_id, v.sample_id, v.step, v.rowid AS n, v.score, v.revision, v.keep AS kept_then,
           CASE WHEN cut IS NULL OR v.threshold IS NULL THEN v.keep ELSE v.score >= cut END AS keep,
           CASE WHEN cut IS NULL OR v.threshold IS NULL THEN v.reason ELSE v.step || ' below ' || cut::VARCHAR END
               AS reason
    FROM base.verdicts v SEMI JOIN temp.candidates USING (run_id, sample_id)
    LEFT JOIN cuts ON v.step IN (cuts.step, cuts.step || '-again')),  -- a second look at words that were changed
heard AS (
    SELECT run_id, sample_id, sample_id AS judged, -1 AS since FROM temp.candidates WHERE derived = ''
    UNION ALL
    SELECT c.run_id, c.sample_id, c.parent, r.n FROM temp.candidates c JOIN ruled r
        ON r.run_id = c.run_id AND r.sample_id = c.parent AND r.step = c.derived AND r.kept_then
    WHERE c.derived <> ''),
against AS (
    SELECT h.run_id, h.sample_id, arg_min(r.step, r.n) AS step, arg_min(r.reason, r.n) AS reason
    FROM heard h JOIN ruled r ON r.run_id = h.run_id AND r.sample_id = h.judged AND r.n > h.since
    WHERE NOT r.keep GROUP BY ALL),
required AS (SELECT unnest($required::VARCHAR[]) AS step, unnest(range(len($required::VARCHAR[]))) AS n),
missing AS (
    SELECT h.run_id, h.sample_id, arg_min(q.step, q.n) AS step
    FROM heard h CROSS JOIN required q
    ANTI JOIN ruled r ON r.run_id = h.run_id AND r.sample_id = h.judged AND r.step = q.step
    GROUP BY ALL),
scores AS (SELECT run_id, sample_id, arg_max(score, n) AS score FROM ruled WHERE score IS NOT NULL GROUP BY ALL),
revised AS (
    SELECT run_id, sample_id, arg_max(revision, n) AS revision
    FROM ruled WHERE keep AND NOT kept_then AND revision <> '' GROUP BY ALL),
weighed AS (
    SELECT c.*, mine.decision, mine.edit, coalesce(CASE WHEN mine.decision IS NULL THEN of_judged.decision = 'keep'
               ELSE mine.decision IN ('keep', 'chosen', 'rejected') END, false) AS decided,
           coalesce(mine.review_ids, []) AS review_ids, scores.score, revised.revision,
           CASE
               WHEN mine.decision = 'drop' THEN {step: 'review', why: 'dropped by people'}
               WHEN mine.decision = 'tie' THEN {step: 'review', why: 'a tie for people'}
               WHEN c.status = 'failed' OR NOT (c.whole OR coalesce(mine.whole, false))
                   THEN {step: c.step, why: coalesce(nullif(c.reason, ''), 'nothing to train on')}
               WHEN NOT mine.whole THEN {step: 'review', why: 'nothing to train on'}
               WHEN NOT passed.keep THEN {step: passed.step, why: 'edited: ' || passed.reason}
               WHEN mine.decision IN ('keep', 'chosen', 'rejected') THEN {step: '', why: ''}
               WHEN of_judged.decision = 'drop' THEN {step: 'review', why: 'dropped by people'}
               WHEN of_judged.decision = 'keep' THEN {step: '', why: ''}
               WHEN h.judged IS NULL THEN {step: c.step, why: c.reason}
               WHEN against.step IS NOT NULL THEN {step: against.step, why: against.reason}
               WHEN c.status = 'dropped' AND c.step <> 'preference' AND NOT list_contains($required::VARCHAR[], c.step)
                   THEN {step: c.step, why: c.reason}
               WHEN missing.step IS NOT NULL THEN {step: missing.step, why: 'never seen by ' || missing.step}
               ELSE {step: '', why: ''} END AS ruling
    FROM temp.candidates c
    LEFT JOIN heard h USING (run_id, sample_id)
    LEFT JOIN temp.people mine USING (run_id, sample_id)
    LEFT JOIN base.edit_checks passed ON passed.run_id = c.run_id AND passed.review_id = mine.edit_id
    LEFT JOIN temp.people of_judged ON of_judged.run_id = h.run_id AND of_judged.sample_id = h.judged
    LEFT JOIN against USING (run_id, sample_id) LEFT JOIN scores USING (run_id, sample_id)
    LEFT JOIN missing USING (run_id, sample_id) LEFT JOIN revised USING (run_id, sample_id)),
ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY method, leaf
        ORDER BY coalesce(decision IN ('keep', 'chosen', 'rejected'), false) DESC, status = 'kept' DESC, score DESC,
                 place) AS rank
    FROM weighed WHERE ruling.why = ''),
targets AS (
    SELECT method, leaf, arg_max(target, entry) AS target
    FROM base.targets JOIN base.runs USING (run_id)
    WHERE run_id IN (SELECT run_id FROM temp.candidates) AND target > 0  -- of rows that were there none is too many
    GROUP BY ALL)
SELECT w.run_id, w.sample_id, w.place, w.decision, w.decided, w.edit, w.revision, w.review_ids,
       w.ruling.why = '' AND NOT coalesce($balanced AND r.rank > t.target, false) AS kept,
       CASE WHEN w.ruling.why <> '' THEN w.ruling.why
            WHEN $balanced AND r.rank > t.target THEN 'over the leaf''s target' ELSE '' END AS reason,
       CASE WHEN w.ruling.why <> '' THEN w.ruling.step
            WHEN $balanced AND r.rank > t.target THEN 'coverage' ELSE '' END AS step
FROM weighed w LEFT JOIN ranked r USING (run_id, sample_id)
LEFT JOIN targets t ON t.method = w.method AND t.leaf = w.leaf
"""

# A revision goes in only where nobody decided on the first answer or edited it: a review holds for what was seen.
CONTENT = f"""
CASE WHEN c.decision = 'rejected' AND s.kind IN {sql_list(PAIRS)}
     THEN json_merge_patch(coalesce(c.edit, '{{}}'), to_json({{answer: coalesce(c.edit->>'rejected', s.rejected),
                                             rejected: coalesce(c.edit->>'answer', s.answer)}}))
     WHEN c.kept AND c.revision IS NOT NULL AND c.edit IS NULL AND c.decision IS NULL
     THEN to_json({{answer: c.revision}})
     ELSE c.edit END
"""
"""What of the chosen row `c`, of sample `s`, is other than it was made: its texts as JSON, NULL where nothing is."""

# Reasoning and calls of tools were of the answer as it was made: an edit is without them, a pair that was turned round
# has them turned.
REST = """
CASE WHEN s.rest IS NULL OR coalesce(r.content->>'answer', r.content->>'rejected') IS NULL THEN s.rest
     WHEN (r.content->>'answer') = s.rejected AND (r.content->>'rejected') = s.answer
         THEN CASE WHEN (s.rest->'responses') IS NULL THEN s.rest ELSE json_merge_patch(s.rest, json_object('responses',
             json_array(coalesce(s.rest->'$.responses[1]', '{}'), s.rest->'$.responses[0]')))::VARCHAR END
     WHEN (s.rest->'responses') IS NULL THEN s.rest
     ELSE json_merge_patch(s.rest, json_object('responses', json_array(
         CASE WHEN coalesce((r.content->>'answer') <> s.answer, false) THEN '{}'
              ELSE coalesce(s.rest->'$.responses[0]', '{}') END::JSON,
         CASE WHEN coalesce((r.content->>'rejected') <> s.rejected, false) THEN '{}'
              ELSE coalesce(s.rest->'$.responses[1]', '{}') END::JSON)))::VARCHAR END
"""

FROZEN = f"""
SELECT $version, CASE WHEN c.kept THEN row_number() OVER (PARTITION BY c.kept ORDER BY c.place) - 1 END, c.run_id,
       c.sample_id, c.kept, c.step, c.reason, c.review_ids, {CONTENT}
FROM temp.chosen c LEFT JOIN base.samples s
    ON s.run_id = c.run_id AND s.sample_id = c.sample_id AND s.kind IN {sql_list(PAIRS)}  -- no other's texts are read
"""
