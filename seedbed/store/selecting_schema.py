"""Migration: what the selectors of a version said of its rows, with the evidence that they had."""

SELECTIONS = """
CREATE TABLE base.selections (
    version VARCHAR, step VARCHAR, curator VARCHAR, run_id VARCHAR, sample_id VARCHAR, keep BOOLEAN, reason VARCHAR,
    score DOUBLE, threshold DOUBLE, evidence VARCHAR);
CREATE VIEW selections AS
SELECT version, step, curator, sample_id, run_id, keep, reason, score, threshold, evidence FROM base.selections;
"""
