"""A few rows first, shown whole, and what the full run would take if the rest is like them."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape

from flows.report import Row
from flows.run import Outcome
from seedbed.confidence import wilson
from seedbed.store import Store


def facts(store: Store, outcome: Outcome) -> Row:
    """The rows made, and the estimate: tokens and seconds a row made, and rows to make for those wanted.

    The range of rows to make is the Wilson interval (95 %) of the kept rate seen, inverted; a preview is small,
    so it is wide. Seconds are only known where this preview paid for its calls.
    """
    run_id = outcome.plan.run_id
    run = store.rows("SELECT * EXCLUDE (recipe_json, models) FROM runs WHERE run_id = ?", [run_id])[0]
    samples = store.rows(
        "SELECT sample_id, leaf, status, step, reason, context, question, answer, rejected FROM samples "
        "WHERE run_id = ? ORDER BY position",
        [run_id],
    )
    spent = store.rows(
        "SELECT sum(tokens_in + tokens_out)::BIGINT AS tokens FROM calls WHERE call_id IN "
        "(SELECT unnest(call_ids) FROM samples WHERE run_id = $run UNION SELECT unnest(call_ids) FROM verdicts "
        "WHERE run_id = $run)",
        {"run": run_id},
    )[0]["tokens"]
    made, kept = int(str(run["made"])), int(str(run["kept"]))
    plan = outcome.plan
    least, most = _rows_to_make(plan.wanted_in_full, plan.tries, made, kept)
    paid = bool(outcome.progress.tally.calls)
    return {
        "run": run,
        "samples": samples,
        "wanted": plan.wanted_in_full,
        "rows_to_make": [least, most],
        "tokens_per_row": float(str(spent or 0)) / made if made else None,
        "seconds_per_row": outcome.progress.seconds / made if made and paid else None,
        "usd": None,
    }


def show(console: Console, found: Row, command: str) -> None:
    """Print a preview; `command` grows the whole."""
    samples, span = found["samples"], found["rows_to_make"]
    assert isinstance(samples, list) and isinstance(span, list)  # facts() made them
    for sample in samples:
        console.rule(f"{sample['leaf']}  {sample['sample_id']}", align="left", style="dim")
        for name in ("context", "question", "answer", "rejected"):
            if sample[name]:
                console.print(f"[dim]{name:9}[/]{escape(str(sample[name]))}")
        why = f" at {sample['step']}: {sample['reason']}" if sample["step"] else ""
        console.print(f"[bold]{sample['status']}[/]{escape(why)}")
    console.rule("the whole run", align="left", style="dim")
    console.print(f"{found['wanted']} rows wanted; between {span[0]:,} and {span[1]:,} to make for them")
    _estimate(console, "tokens", found["tokens_per_row"], span, "")
    _estimate(
        console, "seconds", found["seconds_per_row"], span, " at this preview's pace, which few rows at once slow"
    )
    console.print("dollars: unknown, no price is recorded for this model")
    console.print(f"These rows are not paid for again:  [bold]{escape(command)}[/]")


def _estimate(console: Console, unit: str, each: object, span: list[int], note: str) -> None:
    if each is None:
        console.print(f"{unit}: unknown, every call was answered from the ledger")
        return
    least, most = (rows * float(str(each)) for rows in span)
    console.print(f"{unit}: {least:,.0f} to {most:,.0f}{note}")


def _rows_to_make(wanted: int, tries: int, made: int, kept: int) -> tuple[int, int]:
    """Rows to make for those wanted, at the ends of the kept rate's Wilson interval, within the tries allowed."""
    if not made:
        return wanted, wanted * tries
    low, high = wilson(kept, made)
    most = wanted * tries
    return min(math.ceil(wanted / max(high, 1e-9)), most), min(math.ceil(wanted / max(low, 1e-9)), most)
