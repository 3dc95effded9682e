"""Migration: pairs that were taken in, of which no step said which answer is better, are pairs too."""

PAIRS_TAKEN_IN = """
CREATE OR REPLACE VIEW preferences AS
WITH ruled AS (
    SELECT *, CASE WHEN json_valid(transcript) THEN transcript::JSON END AS t FROM base.verdicts
    WHERE step = 'preference')
SELECT s.sample_id, s.run_id, CASE WHEN s.derived = '' THEN s.method ELSE s.method || '/' || s.derived END AS method,
       s.leaf, s.status, CASE WHEN starts_with(v.reason, 'tie') THEN 'tie' ELSE 'pair' END AS outcome,
       s.question, s.context, s.answer AS chosen, s.rejected, v.score AS margin, v.model AS judge,
       TRY_CAST(t->'orders' AS DOUBLE[]) AS orders,
       coalesce(nullif(v.reason, ''), CASE WHEN v.step IS NULL THEN 'taken in as it was'
                                           WHEN (t->'orders') IS NULL THEN 'rated higher'
                                           ELSE 'preferred in both orders' END) AS reason,
       json_extract_string(t, '$.candidates[' || TRY_CAST(t->>'chosen' AS UINTEGER) || '].model') AS chosen_model,
       json_extract_string(t, '$.candidates[' || TRY_CAST(t->>'rejected' AS UINTEGER) || '].model') AS rejected_model,
       (t->'candidates') AS candidates, (t->'comparisons') AS comparisons
FROM base.samples s LEFT JOIN ruled v USING (run_id, sample_id)
WHERE v.step IS NOT NULL OR s.kind = 'preference';
"""
