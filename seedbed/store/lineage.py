"""Where a sample comes from, what was said of it, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from seedbed.store.store import Store

Row = dict[str, object]

# DuckDB keeps the order of insertion: the verdicts come in the order in which they were given
VERDICTS = "SELECT * EXCLUDE (run_id, sample_id) FROM verdicts WHERE run_id = ? AND sample_id = ?"
PARENTS = """
SELECT sample_id, kind, leaf, status, question FROM samples
WHERE run_id = $run AND sample_id IN (SELECT unnest(parents) FROM samples WHERE run_id = $run AND sample_id = $sample)
"""
CHILDREN = """
SELECT sample_id, kind, leaf, status, question FROM samples
WHERE run_id = $run AND list_contains(parents, $sample) ORDER BY position, sample_id
"""
VERSIONS = """
SELECT version, kept, step, reason, content IS NOT NULL AND len(review_ids) > 0 AS changed_by_people
FROM base.version_rows JOIN base.versions USING (version)
WHERE base.version_rows.run_id = ? AND sample_id = ? ORDER BY entry
"""
SELECTIONS = """
SELECT version, step, curator, keep, reason, score, threshold, evidence
FROM selections JOIN base.versions USING (version)
WHERE selections.run_id = ? AND sample_id = ? ORDER BY entry
"""
REVIEWS = """
SELECT reviewer, action, edit, note, shown_order, created_at, seconds, batch <> '' AS bulk, undone, run_id
FROM reviews WHERE sample_id = ? AND action <> 'undo' ORDER BY entry
"""


@dataclass(frozen=True, slots=True)
class Life:
    """A sample's row, its verdicts in order, its relatives in the same run, its versions, and its reviews."""

    sample: Row
    verdicts: list[Row]
    parents: list[Row]
    children: list[Row]
    versions: list[Row]
    reviews: list[Row]

    @property
    def call_ids(self) -> list[str]:
        """The calls that made and judged it, in order."""
        of_verdicts = [verdict["call_ids"] for verdict in self.verdicts]
        lists = [ids for ids in (self.sample["call_ids"], *of_verdicts) if isinstance(ids, list)]
        return list(dict.fromkeys(str(call_id) for ids in lists for call_id in ids))


def life(store: Store, run_id: str, sample_id: str) -> Life | None:
    """All that is known of a sample in a run; None if there is no such sample."""
    keys = [run_id, sample_id]
    names = {"run": run_id, "sample": sample_id}
    with store.reading() as db:
        found = _rows(db, "SELECT * FROM samples WHERE run_id = ? AND sample_id = ?", keys)
        if not found:
            return None
        return Life(
            found[0],
            _rows(db, VERDICTS, keys),
            _rows(db, PARENTS, names),
            _rows(db, CHILDREN, names),
            _rows(db, VERSIONS, keys),
            _rows(db, REVIEWS, [sample_id]),
        )


def verdicts(store: Store, run_id: str, sample_id: str) -> list[Row]:
    """What the curators said of a sample, in order."""
    return store.rows(VERDICTS, [run_id, sample_id])


def selections(store: Store, run_id: str, sample_id: str) -> list[Row]:
    """What the selectors of versions said of a sample, in the order of the versions."""
    return store.rows(SELECTIONS, [run_id, sample_id])


def reviews(store: Store, sample_id: str) -> list[Row]:
    """What people did to a sample, in order, in every run that has it."""
    return store.rows(REVIEWS, [sample_id])


def calls(store: Store, call_ids: Sequence[str]) -> list[Row]:
    """The answered calls of these ids, in their order, with prompt and response."""
    ids = list(call_ids)
    return store.rows(
        "SELECT call_id, step, model, revision, tokens_in, tokens_out, seconds, prompt, response, error "
        "FROM calls WHERE call_id IN (SELECT unnest(?)) AND status = 'ok' ORDER BY list_position(?, call_id)",
        [ids, ids],
    )


def _rows(db: DuckDBPyConnection, sql: str, parameters: list[str] | dict[str, str]) -> list[Row]:
    found: list[Row] = db.sql(sql, params=parameters).to_arrow_table().to_pylist()
    return found
