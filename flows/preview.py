"""A few rows first, shown whole, and what the full run would take if the rest is like them."""

from __future__ import annotations

from flows.estimate import of_preview
from flows.report import Row
from flows.run import Outcome
from flows.screen import Screen, line
from flows.understood import first_rows, show_rows
from seedbed.store import Store


def facts(store: Store, outcome: Outcome) -> Row:
    """The rows made, and what the full run would take if the rest is like them (flows/estimate.py)."""
    run_id = outcome.plan.run_id
    run = store.rows("SELECT * EXCLUDE (recipe_json, models) FROM runs WHERE run_id = ?", [run_id])[0]
    samples = store.rows(
        "SELECT sample_id, leaf, status, step, reason, context, question, answer, rejected FROM samples "
        "WHERE run_id = ? ORDER BY position",
        [run_id],
    )
    found = of_preview(store, outcome.plan)
    sources = [plot for plot in outcome.plan.plots.values() if plot.leaf.source]
    return {
        "understood": [row for plot in sources for row in first_rows(plot)],
        "run": run,
        "samples": samples,
        "wanted": outcome.plan.wanted_in_full,
        "estimate": found.plain() if found else None,
    }


def show(console: Screen, store: Store, outcome: Outcome, command: str) -> None:
    """Print a preview; `command` grows the whole."""
    for plot in outcome.plan.plots.values():
        if plot.leaf.source:
            show_rows(console, plot)
    samples = facts(store, outcome)["samples"]
    assert isinstance(samples, list)  # facts() made it
    for sample in samples:
        console.heading(f"{sample['leaf']}  {sample['sample_id']}")
        for name in ("context", "question", "answer", "rejected"):
            if sample[name]:
                console.print(line((f"{name:9}", "dim"), str(sample[name])))
        why = f" at {sample['step']}: {sample['reason']}" if sample["step"] else ""
        console.print(line((str(sample["status"]), "bold"), why))
    console.heading("the whole run")
    found = of_preview(store, outcome.plan)
    told = (
        f"{found.said} {found.unpriced}" if found else "What they take is not known: no row had an answer to judge by."
    )
    console.print(f"{outcome.plan.wanted_in_full:,} rows wanted. {told}")
    console.print(line("These rows are not paid for again:  ", (command, "bold")))
