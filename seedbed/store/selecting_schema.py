"""Migration: what the selectors of a version said of its rows, with their evidence; and who descends from whom.

A relative in `lineage` is a row of the store (`is_row`), or where something was taken from: an example of a leaf, a
part of a document, a line of a file. `step` made of the parent the row next to it, and of a child, the child.
"""

SELECTIONS = """
CREATE TABLE base.selections (
    version VARCHAR, step VARCHAR, curator VARCHAR, run_id VARCHAR, sample_id VARCHAR, keep BOOLEAN, reason VARCHAR,
    score DOUBLE, threshold DOUBLE, evidence VARCHAR);
CREATE VIEW selections AS
SELECT version, step, curator, sample_id, run_id, keep, reason, score, threshold, evidence FROM base.selections;
"""

FARTHEST = 100  # steps from a row to its farthest ancestor: more than any recipe takes, and an end to a circle
LINEAGE = f"""
CREATE VIEW lineage AS
WITH RECURSIVE edges AS (
    SELECT run_id, sample_id, unnest(parents) AS parent, CASE WHEN derived = '' THEN method ELSE derived END AS step
    FROM base.samples),
rows AS (SELECT run_id, sample_id AS parent FROM base.samples),
between AS (SELECT * FROM edges SEMI JOIN rows USING (run_id, parent)),
origins AS (SELECT * FROM edges ANTI JOIN rows USING (run_id, parent)),
ancestors AS (
    SELECT run_id, sample_id, step AS own, parent AS relative, step, 1 AS distance FROM between
    UNION ALL
    SELECT a.run_id, a.sample_id, a.own, b.parent, b.step, a.distance + 1
    FROM ancestors a JOIN between b ON b.run_id = a.run_id AND b.sample_id = a.relative WHERE a.distance < {FARTHEST})
SELECT run_id, sample_id, 'parent' AS what, relative, true AS is_row, distance, step FROM ancestors
UNION ALL
SELECT run_id, sample_id, 'parent', parent, false, 1, step FROM origins
UNION ALL
SELECT a.run_id, a.sample_id, 'parent', o.parent, false, a.distance + 1, o.step
FROM ancestors a JOIN origins o ON o.run_id = a.run_id AND o.sample_id = a.relative
UNION ALL
SELECT run_id, relative, 'child', sample_id, true, distance, own FROM ancestors;
"""
