"""Which samples are meant: a filter as SQL whose every word is written here and whose every value is a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seedbed.errors import InputError
from seedbed.store.store import Store

MOST_WORDS = 16
MOST_FACETS = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """Every field narrows, and an empty one does not. `leaf` means what is under it too.

    `low` and `high` bound the last score that the sample got, or the one of step `judge`; `text` is words that all
    occur, or the beginning of an id; `whole` leaves out what has no answer.
    """

    run: str = ""
    version: str = ""
    leaf: str = ""
    kind: str = ""
    status: str = ""
    step: str = ""
    reason: str = ""
    state: str = ""
    judge: str = ""
    low: float | None = None
    high: float | None = None
    text: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Matching:
    """The rows that a filter means, as a query and its parameters.

    Columns: run_id, sample_id, position, kind, leaf, status, step, reason.
    """

    sql: str
    values: dict[str, object]


@dataclass(frozen=True, slots=True)
class Scope:
    """A run or a version to look at."""

    label: str
    run: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Facets:
    """What there is to filter by: branches and leaves, and the values that occur, the most frequent first."""

    leaves: tuple[str, ...]
    kinds: tuple[str, ...]
    statuses: tuple[str, ...]
    steps: tuple[str, ...]
    reasons: tuple[str, ...]
    judges: tuple[str, ...]


# What reviewers have said of a row; p is counted over people, m over marks.
STATES = {
    "unreviewed": "coalesce(p.people, 0) = 0",
    "second opinion": "p.people = 1 AND NOT p.mine",
    "reviewed": "p.people > 0",
    "mine": "p.mine",
    "conflicts": "p.sides > 1",
    "flagged": "m.flagged",
    "skipped": "m.skipped AND NOT coalesce(p.mine, false)",
}
ANSWERED = "answer <> '' OR ((rest->'responses')->0->'tool_calls') IS NOT NULL"  # in words or by a call of tools
EQUAL = {"kind": "s.kind", "status": "s.status", "step": "s.step", "reason": "s.reason"}  # by field of the filter

PEOPLE = """
people AS (
    SELECT run_id, sample_id, count(*) AS people, bool_or(reviewer = $reviewer) AS mine,
           count(DISTINCT decision) FILTER (decision <> 'unsure') AS sides
    FROM voices GROUP BY run_id, sample_id),
marks AS (
    SELECT run_id, sample_id, bool_or(action = 'flag') AS flagged,
           bool_or(action = 'skip' AND reviewer = $reviewer) AS skipped
    FROM reviews WHERE action IN ('flag', 'skip') AND NOT undone GROUP BY run_id, sample_id)
"""
OF_RUNS = """
chosen AS (
    SELECT * FROM base.samples
    WHERE CASE WHEN $run = '' THEN run_id IN (SELECT run_id FROM base.runs WHERE NOT preview) ELSE run_id = $run END)
"""
OF_VERSION = """
chosen AS (
    SELECT s.* REPLACE (
        v.step AS step, v.reason AS reason,
        CASE WHEN v.kept THEN 'kept' WHEN s.status = 'failed' THEN 'failed' ELSE 'dropped' END AS status)
    FROM base.samples s JOIN base.version_rows v ON v.run_id = s.run_id AND v.sample_id = s.sample_id
    WHERE v.version = $version)
"""
SCORED = """
scored AS (
    SELECT run_id, sample_id, arg_max(score, rowid) AS score FROM base.verdicts
    WHERE score IS NOT NULL AND ($judge = '' OR step = $judge) GROUP BY run_id, sample_id)
"""


def matching(found: Filter, reviewer: str) -> Matching:
    """The rows that a filter means, for this reviewer. Raises InputError on a state that there is not."""
    values: dict[str, object] = {"version": found.version} if found.version else {"run": found.run}
    parts, joins, where = [OF_VERSION if found.version else OF_RUNS], list[str](), ["true"]
    for name, column in EQUAL.items():
        if value := getattr(found, name):
            where.append(f"{column} = ${name}")
            values[name] = value
    for clause, more in (_leaf(found), _text(found), _score(found)):
        where += clause
        values |= more
    if _bounded(found):
        parts.append(SCORED)
        joins.append("LEFT JOIN scored USING (run_id, sample_id)")
    if found.state:
        where.append(_state(found.state))
        values["reviewer"] = reviewer
        parts.append(PEOPLE)
        joins += ["LEFT JOIN people p USING (run_id, sample_id)", "LEFT JOIN marks m USING (run_id, sample_id)"]
    if found.whole:
        where.append(f"({ANSWERED}) AND s.status IN ('kept', 'dropped')")
    columns = "s.run_id, s.sample_id, s.position, s.kind, s.leaf, s.status, s.step, s.reason"
    tables = f"FROM chosen s {' '.join(joins)}"
    return Matching(f"WITH {', '.join(parts)} SELECT {columns} {tables} WHERE {' AND '.join(where)}", values)


def count(store: Store, found: Filter, reviewer: str = "") -> int:
    """How many rows a filter means."""
    rows = matching(found, reviewer)
    [row] = store.rows(f"SELECT count(*) AS n FROM ({rows.sql})", rows.values)
    return int(str(row["n"]))


def page(
    store: Store, found: Filter, reviewer: str, after: tuple[int, str, str] | None, size: int
) -> list[dict[str, object]]:
    """The next `size` rows after this place, (position, run, sample), in the plan's order, each with its question."""
    rows = matching(found, reviewer)
    values = rows.values | {"size": size}
    beyond = ""
    if after:
        beyond = "WHERE (position, run_id, sample_id) > ($after_position, $after_run, $after_sample)"
        values |= dict(zip(("after_position", "after_run", "after_sample"), after, strict=True))
    return store.rows(
        f"WITH shown AS (SELECT * FROM ({rows.sql}) {beyond} ORDER BY position, run_id, sample_id LIMIT $size) "
        "SELECT shown.*, s.question FROM shown JOIN base.samples s USING (run_id, sample_id) "
        "ORDER BY shown.position, run_id, sample_id",
        values,
    )


def scopes(store: Store) -> list[Scope]:
    """Versions and runs, the latest first, previews last; a version is later than the run that it was made of."""
    found = store.rows(
        "SELECT 'version ' || version AS label, '' AS run, version, false AS preview, entry "
        "FROM base.versions UNION ALL SELECT 'run ' || run_id || ' of ' || recipe || "
        "CASE WHEN preview THEN ' (preview)' ELSE '' END, run_id, '', preview, entry FROM base.runs "
        "ORDER BY preview, entry DESC"
    )
    return [Scope(str(row["label"]), str(row["run"]), str(row["version"])) for row in found]


def holds(store: Store, scope: Scope) -> bool:
    """Whether there is a sample to look at: one that the version keeps, or one with an answer in the run."""
    if scope.version:
        sql = "SELECT 1 AS n FROM base.version_rows WHERE version = ? AND kept LIMIT 1"
    else:
        sql = f"SELECT 1 AS n FROM base.samples WHERE run_id = ? AND ({ANSWERED}) LIMIT 1"
    return bool(store.rows(sql, [scope.version or scope.run]))


def facets(store: Store, scope: Scope) -> Facets:
    """What occurs in a scope, to choose from."""
    everything = matching(Filter(run=scope.run, version=scope.version), "")
    with store.reading() as db:
        db.execute(f"CREATE OR REPLACE TEMP TABLE temp.facets AS {everything.sql}", everything.values)

        def values(column: str, where: str = "true") -> tuple[str, ...]:
            rows = db.execute(
                f"SELECT {column} FROM temp.facets WHERE {where} AND {column} <> '' "
                f"GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {MOST_FACETS}"
            ).fetchall()
            return tuple(str(value) for (value,) in rows)

        judges = db.execute(
            "SELECT step FROM base.verdicts SEMI JOIN temp.facets USING (run_id, sample_id) WHERE score IS NOT NULL "
            "GROUP BY step ORDER BY min(verdicts.rowid)"
        ).fetchall()
        leaves = db.execute("SELECT DISTINCT leaf FROM temp.facets").fetchall()
        branches = {str(leaf).rsplit("/", n)[0] for (leaf,) in leaves for n in range(str(leaf).count("/") + 1)}
        against = "status <> 'kept'"
        found = Facets(
            tuple(sorted(branches)),
            *(values("kind"), values("status"), values("step", against), values("reason", against)),
            tuple(str(step) for (step,) in judges),
        )
        db.execute("DROP TABLE temp.facets")
    return found


def without_state(found: Filter) -> Filter:
    """The same filter whatever reviewers have said."""
    return replace(found, state="")


def _leaf(found: Filter) -> tuple[list[str], dict[str, object]]:
    if not found.leaf:
        return [], {}
    return ["(s.leaf = $leaf OR starts_with(s.leaf, $leaf || '/'))"], {"leaf": found.leaf}


def _state(state: str) -> str:
    if state not in STATES:
        raise InputError(f"there is no review state {state!r}: use {', '.join(STATES)}")
    return STATES[state]


def _text(found: Filter) -> tuple[list[str], dict[str, object]]:
    """Words that all occur somewhere, case aside. Many more than sixteen would be a pasted text, not a search."""
    words: Sequence[str] = found.text.lower().split()[:MOST_WORDS]
    if not words:
        return [], {}
    text = "lower(concat_ws(' ', s.question, s.context, s.answer, s.rejected, s.rest))"
    all_occur = " AND ".join(f"contains({text}, $word_{n})" for n in range(len(words)))
    values: dict[str, object] = {f"word_{n}": word for n, word in enumerate(words)}
    return [f"(starts_with(s.sample_id, $word_0) OR ({all_occur}))"], values


def _bounded(found: Filter) -> bool:
    return found.low is not None or found.high is not None or bool(found.judge)


def _score(found: Filter) -> tuple[list[str], dict[str, object]]:
    if not _bounded(found):
        return [], {}
    low, high = found.low, found.high
    clauses = [
        "score IS NOT NULL",
        "($low::DOUBLE IS NULL OR score >= $low)",
        "($high::DOUBLE IS NULL OR score <= $high)",
    ]
    return clauses, {"judge": found.judge, "low": low, "high": high}
