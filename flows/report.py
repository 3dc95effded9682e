"""What a person wants to know when a run has ended, read from the store's own views."""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.estimate import against_actual
from flows.plan import Plan
from flows.run import INTERRUPTED, Outcome
from seedbed.store import Store

SAMPLES_SHOWN = 3

Row = dict[str, object]


def facts(store: Store, plan: Plan) -> Row:
    """A run's figures, its leaves and its three best kept samples, as plain values."""
    run_id = plan.run_id
    run = store.rows("SELECT * EXCLUDE (recipe_json) FROM runs WHERE run_id = ?", [run_id])[0]
    leaves = store.rows("SELECT * EXCLUDE (run_id) FROM coverage WHERE run_id = ? ORDER BY method DESC, leaf", [run_id])
    funnel = store.rows(
        "SELECT * EXCLUDE (run_id) FROM funnel WHERE run_id = ? ORDER BY rows_in DESC, step, n DESC", [run_id]
    )
    kept = store.rows(
        "SELECT sample_id, leaf, context, question, answer, rejected FROM samples WHERE run_id = ? AND status = 'kept' "
        "QUALIFY row_number() OVER (PARTITION BY leaf ORDER BY position) = 1 ORDER BY position LIMIT ?",
        [run_id, SAMPLES_SHOWN],
    )
    short = store.rows(
        "SELECT reason, count(*) AS n FROM samples JOIN coverage USING (run_id, method, leaf) "
        "WHERE run_id = ? AND status <> 'kept' AND shortfall > 0 GROUP BY ALL ORDER BY n DESC, reason",
        [run_id],
    )
    revisions = store.rows(
        "SELECT step, count(*) AS tried, count(*) FILTER (outcome = 'won') AS won, "
        "count(*) FILTER (outcome = 'lost') AS lost, count(*) FILTER (outcome = 'tie') AS tied, "
        "count(*) FILTER (fixed) AS fixed, count(*) FILTER (broken) AS broken "
        "FROM revisions WHERE run_id = ? GROUP BY step ORDER BY step",
        [run_id],
    )
    debates = store.rows(
        "SELECT step, count(*) AS samples, count(*) FILTER (debated) AS debated, "
        "coalesce(sum(tokens_in + tokens_out), 0)::BIGINT AS tokens FROM debates WHERE run_id = ? GROUP BY step",
        [run_id],
    )
    found: Row = {"run": run, "leaves": leaves, "funnel": funnel, "samples": kept, "short": short}
    weighed = against_actual(store, plan)
    return found | {"revisions": revisions, "debates": debates, "forecast": weighed[1] if weighed else None}


class Call(NamedTuple):
    """How we were called: by which name, what followed it, and what further commands need to find the store."""

    program: str
    typed: str
    recipe: str
    home: str


def show(console: Console, store: Store, outcome: Outcome, call: Call) -> None:
    """Print the report of a run that has just ended."""
    command = f"{call.program} {call.typed}"
    found = facts(store, outcome.plan)
    _leaves(console, found["leaves"], found["short"], ", their tries are spent" if outcome.status == "short" else "")
    _sums(console, found["run"], outcome)
    if weighed := against_actual(store, outcome.plan):
        console.print(weighed[0], highlight=False)
    _dear(console, found["revisions"], found["debates"])
    _samples(console, found["samples"])
    if outcome.status == "interrupted":
        console.print(f"{INTERRUPTED.capitalize()}. Nothing is lost; go on with:  [bold]{escape(command)}[/]")
    elif outcome.status == "budget":
        console.print(f"Stopped: {escape(outcome.message)}. Nothing is lost; go on with:  [bold]{escape(command)}[/]")
    elif outcome.status == "failed":
        console.print(
            f"[red]Stopped:[/] {escape(outcome.message)}\nMend that, then go on with:  [bold]{escape(command)}[/]"
        )
    else:
        _next(console, outcome.version, found["samples"], call)


def leaf_table(rows: object) -> Table:
    """A table of leaves: wanted, made, kept, dropped, failed, and the main reason against."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("leaf", overflow="fold")
    for name in ("wanted", "made", "kept", "dropped", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("main reason against", overflow="ellipsis", no_wrap=True, max_width=46)
    assert isinstance(rows, list)  # store.rows made it
    for row in rows:
        numbers = [str(row[name]) for name in ("target", "made", "kept", "dropped", "failed")]
        style = "yellow" if row["shortfall"] else ""
        table.add_row(escape(str(row["leaf"])), *numbers, escape(str(row["main_reason"] or "")), style=style)
    return table


def _leaves(console: Console, rows: object, reasons: object, tried: str) -> None:
    console.print(leaf_table(rows))
    assert isinstance(rows, list) and isinstance(reasons, list)  # store.rows made them
    lacking = sum(row["shortfall"] for row in rows)
    if lacking:
        leaves = sum(row["shortfall"] > 0 for row in rows)
        why = f"; main reason: {reasons[0]['reason']}" if reasons else ""
        console.print(f"[yellow]short:[/] {leaves} leaves lack {lacking} rows in all{tried}{escape(why)}")


def _sums(console: Console, run: object, outcome: Outcome) -> None:
    assert isinstance(run, dict)  # store.rows made it
    tally, now = outcome.progress.tally, outcome.progress.seconds
    console.print(
        f"\nrun {run['run_id']}: {run['made']} made = {run['kept']} kept + {run['dropped']} dropped + "
        f"{run['failed']} failed + {run['pending']} pending"
    )
    console.print(
        f"this time: {tally.calls:,} model calls ({tally.replayed:,} answered from the ledger), "
        f"{tally.tokens_in:,} tokens in, {tally.tokens_out:,} out, {now:.1f} s; "
        f"in all {run['calls']:,} calls, {run['seconds']:.1f} s"
    )
    if outcome.same_judge:
        console.print("judge: the same model that wrote the samples; it favours its own words (recipe: `judge:`)")


def _dear(console: Console, revisions: object, debates: object) -> None:
    """What revisions and debates came to: breakages beside fixes, tokens beside verdicts."""
    assert isinstance(revisions, list) and isinstance(debates, list)  # store.rows made them
    for row in revisions:
        console.print(
            f"revisions at {row['step']}: {row['tried']} tried, {row['won']} won, {row['lost']} lost, {row['tied']} "
            f"tied; by the judge's scores {row['fixed']} fixed, {row['broken']} broken"
        )
    for row in debates:
        console.print(f"{row['step']}: {row['debated']} of {row['samples']} samples debated, {row['tokens']:,} tokens")


def _samples(console: Console, samples: object) -> None:
    assert isinstance(samples, list)  # store.rows made it
    for sample in samples:
        console.rule(f"{sample['leaf']}  {sample['sample_id']}", align="left", style="dim")
        for name in ("context", "question", "answer", "rejected"):
            if sample[name]:
                console.print(f"[dim]{name:8}[/] {escape(str(sample[name]))}")


def _next(console: Console, version: str, samples: object, call: Call) -> None:
    """What can be done with the run: the steps of the circle, each with its command."""
    assert isinstance(samples, list)  # store.rows made it
    commands = {'sql "SELECT step, reason, n FROM funnel"': "what was dropped, and why"}
    if samples:
        commands = {
            f"why {samples[0]['sample_id']}": "where a sample came from and why it was kept",
            **commands,
            "review": "look at samples in your browser; keep, drop and edit by keys",
            f"refilter {version}": "another version with your reviews, no model called",
            f"export {version} {version}.jsonl": "this version, ready for TRL",
            f"train {version}": "fine-tune on it, measured before and after (once: make train)",
            f"push {version}": "what the Hub would get: a dry run",
        }
    commands[f'schedule {call.recipe} --cron "0 3 * * *"'] = "every night, what is new"
    console.rule("next", align="left", style="dim")
    for command, what in commands.items():
        line = f"[bold]{escape(f'{call.program} {command}{call.home}')}[/]  {what}"
        console.print(line, soft_wrap=True)  # a command that is broken in two cannot be copied
    console.print("Run the same way: recipes/preferences.yaml (pairs), revision.yaml, debate.yaml, nightly.yaml.")
