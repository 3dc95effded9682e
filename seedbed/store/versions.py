"""Versions: a list of sample ids frozen with the recipe, thresholds and reviews that chose them.

A version is made from rows that are in the store already, so it costs no model call. It keeps every row that it
chose from, those left out with the reason; people's decisions go before the judges', and what people edited is frozen
with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from duckdb import DuckDBPyConnection

from seedbed.errors import InputError
from seedbed.store.choice import CANDIDATES, CHOSEN, FROM_PARENT, FROM_SCOPE, FROZEN, METHOD, PEOPLE, REST
from seedbed.store.difference import IN_ORDER
from seedbed.store.order_schema import NEXT_ENTRY
from seedbed.store.runs import beginning
from seedbed.store.selecting import Selection, select
from seedbed.store.selection import DRAW, Only, least_share, places
from seedbed.store.store import Store

MANY_ROWS = "RESET threads"  # what is written here is no small append
Scope = Sequence[tuple[str, str, str]]  # (run, method, leaf)

__all__ = ["Only", "diff", "find_version", "freeze", "least_share", "refilter", "version_batches"]
_ALL = Only()


@dataclass(frozen=True, slots=True)
class Version:
    """A version as it was made. `new` is false where it would have been one that there is, which is then named."""

    version: str
    samples: int
    left_out: int
    new: bool


# Where a version's samples lie in the table, and which of them are held out: 17 bytes a row, read once.
INDEX = f"""
SELECT place, s.rowid AS lies, {DRAW} < $share AS held_out
FROM base.version_rows r JOIN base.samples s USING (run_id, sample_id)
WHERE version = $version AND kept AND ($leaf = '' OR leaf = $leaf OR starts_with(leaf, $leaf || '/')) ORDER BY place
"""

# A version's order is about the table's: the bounds on `rowid` spare DuckDB all texts but the batch's own.
BATCH = f"""
SELECT place, run_id, sample_id, kind, {METHOD} AS method, leaf, model, s.parents, s.source, {REST} AS rest,
       coalesce(r.content->>'context', s.context) AS context, coalesce(r.content->>'question', s.question) AS question,
       coalesce(r.content->>'answer', s.answer) AS answer, coalesce(r.content->>'rejected', s.rejected) AS rejected
FROM base.version_rows r JOIN base.samples s USING (run_id, sample_id)
WHERE version = $version AND kept AND place BETWEEN $first AND $last AND s.rowid BETWEEN $low AND $high
"""
AMONG = "AND place IN (SELECT unnest($places::BIGINT[]))"  # dearer, so only where some places between are not wanted


def freeze(store: Store, run_id: str, scope: Scope, selections: Sequence[Selection] = ()) -> Version:
    """Freeze what a finished run has kept, the plots it carried from earlier runs included, under the next name.

    `selections` are the recipe's selectors that look at all of it.

    If the recipe's latest version is of the very same rows, it is that one.
    """
    runs, methods, leaves = map(list, zip(*scope, strict=True))
    with store.writing() as db:
        db.execute(MANY_ROWS)
        db.execute(CANDIDATES + FROM_SCOPE, {"runs": runs, "methods": methods, "leaves": leaves})
        return _latest_if_same(db, run_id) or _make(db, run_id, {}, "", selections)


def refilter(store: Store, name: str, thresholds: Mapping[str, float], selections: Sequence[Selection] = ()) -> Version:
    """A version like the named one under other thresholds and with the reviews since; no model is called.

    A row that a lower threshold lets through counts only if every later step has seen it. Where the recipe balances
    coverage, no leaf gets more than its target: people's choice first, then what was kept before, then the score.

    Raises:
        InputError: there is no such version, a step gives no score under a threshold, or a number is not finite.
    """
    parent = find_version(store, name)
    [row] = store.rows("SELECT run_id, thresholds FROM versions WHERE version = ?", [parent])
    steps = store.rows(
        "SELECT DISTINCT step FROM base.verdicts SEMI JOIN (SELECT run_id, sample_id FROM base.version_rows "
        "WHERE version = ?) USING (run_id, sample_id) WHERE threshold IS NOT NULL ORDER BY step",
        [parent],
    )
    known = [str(step["step"]) for step in steps]
    for step, cut in thresholds.items():
        if step not in known:
            raise InputError(f"no step {step!r} of {parent} has a threshold. Those that have: {', '.join(known)}")
        if not math.isfinite(cut):  # JSON has no such number: it would be stored as null, and read as none
            raise InputError(f"{step}={cut} is no threshold: give a finite number, such as 3.5")
    cuts = {**orjson.loads(str(row["thresholds"])), **thresholds}
    with store.writing() as db:
        db.execute(MANY_ROWS)
        db.execute(CANDIDATES + FROM_PARENT, {"parent": parent})
        return _make(db, str(row["run_id"]), cuts, parent, selections)


def find_version(store: Store, name: str) -> str:
    """The version of this name, or the latest one of the recipe or run of this name; its beginning will do.

    Raises:
        InputError: there is none, or several begin so; the message names those there are.
    """
    rows = store.rows("SELECT version, recipe, run_id FROM base.versions ORDER BY entry DESC")
    for key in ("version", "recipe", "run_id"):
        for row in rows:
            if row[key] == name:
                return str(row["version"])
    if begun := beginning(name, [str(row[key]) for row in rows for key in ("version", "run_id")]):
        return next(str(row["version"]) for row in rows if begun in (row["version"], row["run_id"]))
    known = ", ".join(str(row["version"]) for row in rows[:8]) or "none yet; a run that ends makes one"
    raise InputError(f"no version, recipe or run with a version is called {name!r} in {store.home}. There are: {known}")


def version_batches(
    store: Store, version: str, rows: int = 16_384, held_out: float = 0.1, only: Only = _ALL
) -> Iterator[pa.Table]:
    """The samples of a version in its order, as frozen, `rows` at a time, each read in a unit of its own.

    Column `split` says `test` of a share `held_out` of what the rows are about, and `train` of the others: always the
    same for the same row, in whatever version (see `selection`).

    Raises:
        InputError: a damaged store has lost rows of it, or the condition of `only` is none.
    """
    _check_whole(store, version)
    index = store.query(INDEX, {"version": version, "share": held_out, "leaf": only.leaf})
    if only.where:
        index = index.filter(pc.is_in(index["place"], places(store, version, only.where)))
    for start in range(0, index.num_rows, rows):
        part = index.slice(start, rows)
        wanted, lies = part["place"].to_pylist(), part["lies"].to_pylist()
        bounds = {"first": wanted[0], "last": wanted[-1], "low": min(lies), "high": max(lies)}
        gaps = wanted[-1] - wanted[0] >= len(wanted)
        among, more = (AMONG, {"places": wanted}) if gaps else ("", {})
        batch = store.query(f"{BATCH} {among} ORDER BY place", {"version": version, **bounds, **more})
        yield batch.append_column("split", pc.if_else(part["held_out"], "test", "train"))


def _check_whole(store: Store, version: str) -> None:
    """A version whose rows a damaged store has lost must not pass for itself. Raises InputError."""
    [row] = store.rows(
        "SELECT count(*) AS n, count(*) - count(s.sample_id) AS lost FROM base.version_rows "
        "LEFT JOIN base.samples s USING (run_id, sample_id) WHERE version = ? AND kept",
        [version],
    )
    if row["lost"]:
        raise InputError(
            f"{row['lost']} of the {row['n']} rows of {version} were lost with a damaged store. Run its recipe again, "
            f"which makes them from the recorded calls, or make a version of what is left: seedbed refilter {version}"
        )


def diff(store: Store, old: str, new: str) -> list[dict[str, object]]:
    """What came, went or changed from one version to another, and why, in the order of the new one, then the old.

    The reason of a row that went is the new version's against it; of one that came, the old version's against it.
    """
    return store.rows(IN_ORDER, {"old": old, "new": new})


def _latest_if_same(db: DuckDBPyConnection, run_id: str) -> Version | None:
    """The latest version of the run's recipe, if it was chosen from the very rows that are candidates now.

    Not an earlier one, which the recipe's name no longer stands for; and not by count, which a leaf that went and
    another that came leave as it was.
    """
    latest = db.execute(
        "SELECT version, samples, left_out FROM versions "
        "WHERE recipe = (SELECT recipe FROM base.runs WHERE run_id = ?) ORDER BY entry DESC LIMIT 1",
        [run_id],
    ).fetchall()
    if not latest:
        return None
    [(name, kept, left_out)] = latest
    [(shared, now)] = db.execute(
        "SELECT count(r.sample_id), count(*) FROM temp.candidates c LEFT JOIN base.version_rows r "
        "ON r.version = ? AND r.run_id = c.run_id AND r.sample_id = c.sample_id",
        [name],
    ).fetchall()
    return Version(name, kept, left_out, new=False) if shared == now == kept + left_out else None


def _make(
    db: DuckDBPyConnection, run_id: str, cuts: Mapping[str, float], parent: str, selections: Sequence[Selection]
) -> Version:
    [(recipe, recipe_json)] = db.execute(
        "SELECT recipe, recipe_json FROM base.runs WHERE run_id = ?", [run_id]
    ).fetchall()
    steps = _curate_steps(recipe_json)
    unheard = {"coverage", *(one.step for one in selections)}  # they say nothing of a row while it is made
    db.execute(PEOPLE)
    db.execute(
        CHOSEN,
        {
            "steps": list(cuts),
            "cuts": list(cuts.values()),
            "required": [step for step in steps if step not in unheard],
            "balanced": "coverage" in steps,
        },
    )
    select(db, selections)
    [(kept, left_out)] = db.execute(
        "SELECT count(*) FILTER (kept), count(*) FILTER (NOT kept) FROM temp.chosen"
    ).fetchall()
    name = _next_name(db, recipe)
    db.execute(f"INSERT INTO base.version_rows {FROZEN}", {"version": name})
    if same := _made_before(db, parent, cuts, name):
        db.execute("DELETE FROM base.version_rows WHERE version = ?", [name])
        return Version(same, kept, left_out, new=False)
    db.execute("INSERT INTO base.selections SELECT ?, * FROM temp.selected", [name])
    db.execute(
        "INSERT INTO base.versions SELECT ?, ?, ?, ?, ?, ?, "
        "(SELECT count(*) FROM (SELECT DISTINCT unnest(review_ids) FROM base.version_rows WHERE version = ?)), "
        f"now() AT TIME ZONE 'UTC', {NEXT_ENTRY}",
        [name, parent, recipe, run_id, recipe_json, orjson.dumps(dict(cuts)).decode(), name],
    )
    return Version(name, kept, left_out, new=True)


def _made_before(db: DuckDBPyConnection, parent: str, cuts: Mapping[str, float], name: str) -> str:
    """The version that `name` would be again: its parent, or one made of it by the same command; "" if there is none.

    So a command that was killed after its version was there can be repeated.
    """
    made = db.execute("SELECT version, thresholds FROM base.versions WHERE parent = ? ORDER BY entry DESC", [parent])
    children = [version for version, thresholds in made.fetchall() if orjson.loads(thresholds) == cuts]
    return next((one for one in [parent, *children] if not _differ(db, one, name)), "") if parent else ""


def _differ(db: DuckDBPyConnection, one: str, other: str) -> bool:
    columns = "place, run_id, sample_id, kept, step, reason, review_ids, content"
    both = [one, other, other, one]
    query = (
        f"(SELECT {columns} FROM base.version_rows WHERE version = ? EXCEPT ALL "
        f"SELECT {columns} FROM base.version_rows WHERE version = ?)"
    )
    [(differences,)] = db.execute(f"SELECT count(*) FROM ({query} UNION ALL {query})", both).fetchall()
    return bool(differences)


def _next_name(db: DuckDBPyConnection, recipe: str) -> str:
    [(last,)] = db.execute(
        "SELECT coalesce(max(regexp_extract(version, '-v([0-9]+)$', 1)::INTEGER), 0) FROM base.versions "
        "WHERE recipe = ?",
        [recipe],
    ).fetchall()
    return f"{recipe}-v{last + 1}"


def _curate_steps(recipe_json: str) -> list[str]:
    """The recipe's curators under the names that their verdicts carry."""
    names = [step["name"] for step in orjson.loads(recipe_json).get("curate", ())]
    before = [names[:n].count(name) for n, name in enumerate(names)]
    return [f"{name}-{n + 1}" if n else name for name, n in zip(names, before, strict=True)]
