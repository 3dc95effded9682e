"""How runs stand, as anyone may see it from outside: their books, their pace, and whether a process is at work."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.journal import at_work
from seedbed.store import Store

Row = dict[str, object]

PACE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """What the last minute brought: rows with an outcome, answered calls, tokens."""

    rows: int
    calls: int
    tokens: int


def runs(store: Store) -> list[Row]:
    """All runs, latest first. One that says it is running but that no process holds was killed."""
    found = store.rows(
        "SELECT * EXCLUDE (recipe_json, models), (SELECT count(*) FROM base.calls c WHERE c.run_id = runs.run_id "
        "AND status = 'ok' AND usd IS NULL) AS unpriced FROM runs "
        "ORDER BY (SELECT entry FROM base.runs r WHERE r.run_id = runs.run_id) DESC"
    )
    for run in found:
        if run["status"] == "running" and not at_work(store.home, str(run["run_id"])):
            run["status"] = "killed"
    return found


def tokens_of(run: Row) -> str:
    """A run's tokens, in and out, for people; "unknown" where no server told any, "at least" where some did not."""
    told = (run["tokens_in"], run["tokens_out"])
    least = "at least " if run["unmetered"] else ""
    return "unknown" if None in told else f"{least}{sum(int(str(n)) for n in told):,}"


def cost_of(run: Row) -> str:
    """A run's dollars for people: as much of them as is known."""
    if run["usd"] is None:
        return "no prices known"
    without = int(str(run["unpriced"]))
    return f"${run['usd']:,.2f}{f' and {without:,} calls without a price' if without else ''}"


def counted(tokens: object) -> str:
    """A call's tokens for people; "unknown" where no server told them."""
    return "unknown" if tokens is None else f"{int(str(tokens)):,}"


def pace(store: Store, run_id: str) -> Pace:
    """How fast a run goes right now, by what was stored in the last minute."""
    recent = f"created_at > (now() AT TIME ZONE 'UTC') - to_seconds({PACE_SECONDS})"
    [row] = store.rows(
        f"SELECT (SELECT count(*) FROM base.samples WHERE run_id = $run AND {recent}) AS rows, "
        "count(*) AS calls, coalesce(sum(tokens_in + tokens_out), 0)::BIGINT AS tokens "
        f"FROM base.calls WHERE run_id = $run AND status = 'ok' AND {recent}",
        {"run": run_id},
    )
    return Pace(int(str(row["rows"])), int(str(row["calls"])), int(str(row["tokens"])))
