"""What the whole run would take, judged by a few of its rows: tokens, minutes and dollars, each as a range.

How many rows must be made follows from how many of those few were kept: the range is the Wilson interval (95 %) of
that share, inverted. What a row costs is the mean of those few. Time lies between two paces: all of the engine's places
busy and answering as fast as it did, and the pace that was seen.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from flows.bill import COLUMNS, bill_of
from flows.engines import places
from flows.figures import dollars, duration
from flows.plan import Plan
from seedbed.confidence import wilson
from seedbed.store import Store

FIRST_ROWS = 16  # of a run that nobody previewed
_LOOK = f"""
WITH looked AS (
    SELECT sample_id, status, call_ids FROM base.samples WHERE run_id = $run
    QUALIFY row_number() OVER (PARTITION BY position ORDER BY derived <> '') = 1  -- not the pair of a revision
    ORDER BY position LIMIT $first),
asked AS (
    SELECT unnest(call_ids) AS call_id FROM looked UNION
    SELECT unnest(v.call_ids) FROM base.verdicts v JOIN looked USING (sample_id) WHERE v.run_id = $run),
paid AS (SELECT DISTINCT ON (call_id) * FROM base.calls JOIN asked USING (call_id) WHERE status = 'ok')
SELECT (SELECT count(*) FROM looked) AS made, (SELECT count(*) FROM looked WHERE status = 'kept') AS kept,
       coalesce(sum(tokens_in + tokens_out), 0)::BIGINT AS tokens, coalesce(sum(seconds), 0) AS busy,
       {COLUMNS},
       coalesce(epoch(max(created_at) - min(created_at - to_microseconds((seconds * 1e6)::BIGINT))), 0) AS wall
FROM paid
"""


class Span(NamedTuple):
    """The least and the most that is expected."""

    least: float
    most: float


class Estimate(NamedTuple):
    """What making the rows wanted takes, by `rows_seen`. `usd` is None where a price is: `unpriced` says whose."""

    rows: Span
    tokens: Span
    seconds: Span
    usd: Span | None
    rows_seen: int
    previewed: bool
    unpriced: str

    @property
    def said(self) -> str:
        """In a line."""
        by = "the preview's" if self.previewed else "its first"
        usd = "dollars unknown" if self.usd is None else f"{dollars(self.usd.least)} to {dollars(self.usd.most)}"
        return (
            f"Estimated by {by} {self.rows_seen} rows: {self.rows.least:,} to {self.rows.most:,} rows to make, "
            f"{self.tokens.least:,.0f} to {self.tokens.most:,.0f} tokens, "
            f"{duration(self.seconds.least)} to {duration(self.seconds.most)}, {usd}."
        )

    def plain(self) -> dict[str, object]:
        """As plain values."""
        spans = {"rows": self.rows, "tokens": self.tokens, "seconds": self.seconds, "usd": self.usd}
        told = {name: list(span) if span else None for name, span in spans.items()}
        return told | {"rows_seen": self.rows_seen, "previewed": self.previewed}


def against_actual(store: Store, plan: Plan) -> tuple[str, dict[str, object]] | None:
    """A run's estimate beside what it took, in a line and as plain values; None where no model had to be asked."""
    found = of_run(store, plan)
    if found is None:
        return None
    took = actual(store, plan.run_id)
    why = bill_of(took).why(plan.recipe) or found.unpriced
    told = "\n".join(filter(None, [found.said, took_in_words(took), why]))
    return told, {"estimate": found.plain(), "actual": took}


def took_in_words(took: dict[str, Any]) -> str:
    """What a run took, in a line; a pair that came of a revision is a row more, and no place's."""
    pairs = f" (and {took['pairs']:,} pairs that came of revisions)" if took["pairs"] else ""
    long, cost = duration(took["seconds"] or 0), bill_of(took).said
    return f"It took {took['rows']:,} rows{pairs}, {took['tokens']:,} tokens, {long}, {cost}."


def of_preview(store: Store, plan: Plan) -> Estimate | None:
    """The estimate for the whole recipe by a preview of it; None where no model had to be asked."""
    return _estimate(store, plan.run_id, plan, plan.wanted_in_full, None)


def of_run(store: Store, plan: Plan) -> Estimate | None:
    """The estimate for a run by the latest preview of its recipe, else by the first of its own rows, if more came."""
    preview = _preview_of(store, plan.run_id)
    found = _estimate(store, preview, plan, plan.wanted, None) if preview else None
    made = int(str(actual(store, plan.run_id)["rows"]))
    return found or (_estimate(store, plan.run_id, plan, plan.wanted, FIRST_ROWS) if made > FIRST_ROWS else None)


def _estimate(store: Store, run_id: str, plan: Plan, wanted: int, first: int | None) -> Estimate | None:
    seen = store.rows(_LOOK, {"run": run_id, "first": first or 1_000_000})[0]
    made, kept, tokens = (int(str(seen[name])) for name in ("made", "kept", "tokens"))
    if not made or not tokens:
        return None
    busy, wall = float(str(seen["busy"])), float(str(seen["wall"]))
    rows, at_once = _rows_to_make(wanted, plan.tries, made, kept), places(plan.recipe)
    return Estimate(
        rows=rows,
        tokens=_times(rows, tokens / made),
        seconds=Span(rows.least * busy / made / at_once, rows.most * min(busy, wall) / made),
        usd=None if seen["usd"] is None else _times(rows, float(str(seen["usd"])) / made),
        rows_seen=made,
        previewed=first is None,
        unpriced=bill_of(seen).why(plan.recipe),
    )


def _preview_of(store: Store, run_id: str) -> str:
    """The latest preview of what a run grows, "" where there was none: the same recipe, whatever its budget."""
    found = store.rows(
        "SELECT run_id, preview, recipe_json FROM base.runs "
        "WHERE recipe = (SELECT recipe FROM base.runs WHERE run_id = ?) ORDER BY entry DESC",
        [run_id],
    )
    told = {str(row["run_id"]): _without_budget(str(row["recipe_json"])) for row in found}
    return next(
        (str(row["run_id"]) for row in found if row["preview"] and told[str(row["run_id"])] == told[run_id]), ""
    )


def actual(store: Store, run_id: str) -> dict[str, Any]:
    """What a run took in all: its own calls, and those that its rows had of others (a preview's, say)."""
    return store.rows(
        f"""
        WITH asked AS (
            SELECT unnest(call_ids) AS call_id FROM base.samples WHERE run_id = $run UNION
            SELECT unnest(call_ids) FROM base.verdicts WHERE run_id = $run UNION
            SELECT call_id FROM base.calls WHERE run_id = $run),
        paid AS (SELECT DISTINCT ON (call_id) * FROM base.calls JOIN asked USING (call_id) WHERE status = 'ok')
        SELECT (SELECT count(DISTINCT position) FROM base.samples WHERE run_id = $run) AS rows,
               (SELECT count(*) - count(DISTINCT position) FROM base.samples WHERE run_id = $run) AS pairs,
               coalesce(sum(tokens_in + tokens_out), 0)::BIGINT AS tokens,
               (SELECT seconds FROM base.runs WHERE run_id = $run) AS seconds, {COLUMNS}
        FROM paid
        """,
        {"run": run_id},
    )[0]


def _rows_to_make(wanted: int, tries: int, made: int, kept: int) -> Span:
    """Rows to make for those wanted, at the ends of the kept share's interval, within the tries allowed."""
    low, high = wilson(kept, made)
    most = wanted * tries
    return Span(min(math.ceil(wanted / max(high, 1e-9)), most), min(math.ceil(wanted / max(low, 1e-9)), most))


def _times(rows: Span, each: float) -> Span:
    return Span(rows.least * each, rows.most * each)


def _without_budget(recipe: str) -> dict[str, object]:
    told: dict[str, object] = json.loads(recipe)
    return {key: value for key, value in told.items() if key != "budget"}
