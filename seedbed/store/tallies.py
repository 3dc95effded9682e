"""Figures that the review pages show: of a run's leaves, steps and costs, of judges, and of what versions hold."""

from __future__ import annotations

from seedbed.store.store import Store

Row = dict[str, object]


def leaves(store: Store, run_id: str) -> list[Row]:
    """A run's leaves, those that lack most first."""
    return store.rows(
        "SELECT * EXCLUDE (run_id) FROM coverage WHERE run_id = ? ORDER BY shortfall DESC, method DESC, leaf", [run_id]
    )


def funnel(store: Store, run_id: str) -> list[Row]:
    """What went into each step of a run and what came out, in the order of the steps."""
    return store.rows(
        "SELECT step, count(*) AS rows_in, count(*) FILTER (keep) AS rows_out, count(*) FILTER (NOT keep) AS dropped "
        "FROM base.verdicts WHERE run_id = ? GROUP BY step ORDER BY min(rowid)",
        [run_id],
    )


def reasons(store: Store, run_id: str) -> list[Row]:
    """Why a run dropped or failed rows, the most frequent reason first."""
    return store.rows(
        "SELECT status, step, reason, count(*) AS n FROM base.samples WHERE run_id = ? "
        "AND status IN ('dropped', 'failed') GROUP BY ALL ORDER BY n DESC, step, reason",
        [run_id],
    )


def costs(store: Store, run_id: str) -> list[Row]:
    """What each step's calls cost, the dearest in time first."""
    return store.rows("SELECT * EXCLUDE (run_id) FROM costs WHERE run_id = ? ORDER BY seconds DESC", [run_id])


def wanted(store: Store, run_id: str) -> int:
    """How many rows a run is to keep in all."""
    [row] = store.rows("SELECT coalesce(sum(target), 0)::BIGINT AS n FROM base.targets WHERE run_id = ?", [run_id])
    return int(str(row["n"]))


def judges(store: Store) -> list[Row]:
    """How each judge did: agreement with people, changes of mind when answers change places, lean to length."""
    return store.rows("SELECT * FROM judges ORDER BY agreement_n DESC NULLS LAST, curator, model")


def versions(store: Store) -> list[Row]:
    """All versions, the latest first."""
    return store.rows("SELECT * EXCLUDE (recipe_json) FROM versions ORDER BY entry DESC")


def contents(store: Store, version: str) -> list[Row]:
    """What a version holds: samples by kind and leaf, and how many of them people changed."""
    return store.rows(
        "SELECT kind, leaf, count(*) AS samples, count(*) FILTER (changed_by_people) AS changed_by_people "
        "FROM version_samples WHERE version = ? AND kept GROUP BY kind, leaf ORDER BY kind, leaf",
        [version],
    )


def steps_with_threshold(store: Store, version: str) -> list[Row]:
    """The steps whose threshold a version may move: name, the threshold it was judged by, lowest and highest score."""
    return store.rows(
        "SELECT v.step, max(threshold) AS threshold, min(score) AS low, max(score) AS high FROM base.verdicts v "
        "JOIN base.version_rows r ON r.run_id = v.run_id AND r.sample_id = v.sample_id "
        "WHERE r.version = ? AND threshold IS NOT NULL GROUP BY v.step ORDER BY min(v.rowid)",
        [version],
    )
