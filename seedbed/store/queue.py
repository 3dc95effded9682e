"""In which order a reviewer sees what is to be reviewed.

A queue is a list of keys, made once and walked through; `seedbed.store.leases` takes the next free one. Making it looks
at every row that the filter means, so it is long enough to last a while.
"""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.store.filters import Filter, matching, without_state
from seedbed.store.store import Store

LENGTH = 200

# How far each row is from being judged otherwise, in spreads of its step's scores: a tie of a pair is no distance.
DOUBT = """
ruled AS (
    SELECT v.*, v.step = 'preference' AS pair
    FROM base.verdicts v JOIN matching m ON v.run_id = m.run_id AND v.sample_id = m.sample_id
    WHERE v.score IS NOT NULL OR v.model <> ''),
spreads AS (SELECT step, nullif(stddev_pop(score), 0) AS spread FROM ruled GROUP BY step),
doubt AS (
    SELECT run_id, sample_id, min(CASE
        WHEN pair AND starts_with(reason, 'tie') THEN 0
        ELSE abs(score - CASE WHEN pair THEN 0 ELSE coalesce(threshold, 0.5) END) / coalesce(spread, 1) END) AS distance
    FROM ruled JOIN spreads USING (step) GROUP BY run_id, sample_id)
"""
# Reviewers against each other weigh most, then a judge against itself, then one step's judge against another's.
QUARREL = """
quarrel AS (
    SELECT run_id, sample_id, sum(weight) AS weight FROM (
        SELECT run_id, sample_id, 4 AS weight FROM voices WHERE decision <> 'unsure'
        GROUP BY run_id, sample_id HAVING count(DISTINCT decision) > 1
        UNION ALL
        SELECT run_id, sample_id, 2 FROM ruled
        WHERE reason = 'debate undecided' OR (pair AND starts_with(reason, 'tie'))
        UNION ALL
        SELECT run_id, sample_id, 1 FROM ruled WHERE model <> ''
        GROUP BY run_id, sample_id HAVING bool_or(keep) AND NOT bool_and(keep))
    GROUP BY run_id, sample_id)
"""
# A leaf's n-th sample waits as long as if it had been reviewed n times more, so that the leaves take turns.
TURNS = """
asked AS (SELECT leaf, count(*) AS n FROM voices JOIN base.samples USING (run_id, sample_id) GROUP BY leaf),
turns AS (
    SELECT run_id, sample_id, coalesce(asked.n, 0) + row_number() OVER (PARTITION BY leaf ORDER BY draw) AS turn
    FROM matching LEFT JOIN asked USING (leaf))
"""
SKIPS = """
ANTI JOIN (SELECT run_id, sample_id FROM reviews WHERE action = 'skip' AND reviewer = $who AND NOT undone)
    USING (run_id, sample_id)
"""
ORDERS = {  # name -> what it needs, and how it sorts
    "disagreement": (
        f", {DOUBT}, {QUARREL}",
        "LEFT JOIN doubt USING (run_id, sample_id) LEFT JOIN quarrel USING (run_id, sample_id)",
        "coalesce(quarrel.weight, 0) DESC, distance NULLS LAST",
    ),
    "uncertainty": (f", {DOUBT}", "LEFT JOIN doubt USING (run_id, sample_id)", "distance NULLS LAST"),
    "leaf": (f", {TURNS}", "JOIN turns USING (run_id, sample_id)", "turn"),
    "random": ("", "", "draw"),
}


@dataclass(frozen=True, slots=True)
class Key:
    """A row of the store, with its place in the plan, by which the store finds it without looking at all rows."""

    run_id: str
    sample_id: str
    position: int


@dataclass(frozen=True, slots=True)
class Queue:
    """What is next, and how far along: rows that the filter means in any state, rows left, rows of this reviewer."""

    keys: tuple[Key, ...]
    matching: int
    left: int
    mine: int


def plan(store: Store, reviewer: str, found: Filter, order: str, length: int = LENGTH) -> Queue:
    """The next `length` keys in this order, without those that the reviewer skipped, unless these are asked for."""
    needs, joins, sort = ORDERS[order]
    rows = matching(found, reviewer)
    skips = "" if found.state == "skipped" else SKIPS
    keys = store.rows(
        "WITH matching AS MATERIALIZED ("
        f"SELECT *, md5(concat($who, run_id, sample_id)) AS draw FROM ({rows.sql}) {skips}){needs} "
        "SELECT run_id, sample_id, position, (SELECT count(*) FROM matching) AS n "
        f"FROM matching {joins} ORDER BY {sort}, draw LIMIT $length",
        rows.values | {"who": reviewer, "length": length},
    )
    everything = matching(without_state(found), reviewer)
    [sums] = store.rows(
        "SELECT count(*) AS n, count(v.run_id) AS mine "
        f"FROM ({everything.sql}) m LEFT JOIN (SELECT run_id, sample_id FROM voices WHERE reviewer = $who) v "
        "USING (run_id, sample_id)",
        everything.values | {"who": reviewer},
    )
    return Queue(
        tuple(Key(str(row["run_id"]), str(row["sample_id"]), int(str(row["position"]))) for row in keys),
        int(str(sums["n"])),
        int(str(keys[0]["n"])) if keys else 0,
        int(str(sums["mine"])),
    )
