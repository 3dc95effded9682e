"""What a person wants to know when a run has ended, read from the store's own views."""

from __future__ import annotations

from typing import NamedTuple

from flows.estimate import against_actual
from flows.figures import seconds
from flows.plan import Plan
from flows.run import INTERRUPTED, Outcome
from flows.screen import Screen, line
from flows.tables import Column, show_table
from seedbed.store import Store

SAMPLES_SHOWN, LEAVES_SHOWN = 3, 40
COUNTS = ("made", "kept", "dropped", "failed")

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
    """How we were called: by which name, what finds the same store again, what was typed, and the recipe's path."""

    program: str
    home: str
    typed: str = ""
    recipe: str = ""

    def line(self, command: str) -> str:
        """A further command on the same store."""
        return f"{self.program} {command}{self.home}"


def show(console: Screen, store: Store, outcome: Outcome, call: Call) -> None:
    """Print the report of a run that has just ended."""
    found, again = facts(store, outcome.plan), (f"{call.program} {call.typed}", "bold")
    _leaves(console, found, call, ", their tries are spent" if outcome.status == "short" else "")
    _sums(console, found["run"], outcome)
    if weighed := against_actual(store, outcome.plan):
        console.print(weighed[0])
    _dear(console, found["revisions"], found["debates"])
    _samples(console, found["samples"])
    if outcome.status == "interrupted":
        console.print(line(f"{INTERRUPTED.capitalize()}. Nothing is lost; go on with:  ", again))
    elif outcome.status == "budget":
        console.print(line(f"Stopped: {outcome.message}. Nothing is lost; go on with:  ", again))
    elif outcome.status == "failed":
        console.print(line(("Stopped:", "red"), f" {outcome.message}\nMend that, then go on with:  ", again))
    else:
        _selected(console, store, outcome.version)
        _next(console, outcome.version, found["samples"], call)


def show_leaves(console: Screen, leaves: list[Row], run_id: str, call: Call) -> None:
    """Print the leaves: wanted, made, kept, dropped, failed, and the main reason against; of very many the worst."""
    worst = leaves
    if len(leaves) > LEAVES_SHOWN:
        worst = sorted(leaves, key=lambda row: (-_count(row, "shortfall"), _count(row, "kept") - _count(row, "made")))
    shown = worst[:LEAVES_SHOWN]
    numbers = [Column("wanted", "number"), *(Column(name, "number") for name in COUNTS)]
    columns = [Column("leaf", "name"), *numbers, Column("main reason against")]
    rows = [
        [str(row["leaf"]), *(f"{_count(row, name):,}" for name in ("target", *COUNTS)), str(row["main_reason"] or "")]
        for row in shown
    ]
    show_table(console, columns, rows, ["yellow" if row["shortfall"] else "" for row in shown])
    if len(leaves) > len(shown):
        every = f"sql \"SELECT * FROM coverage WHERE run_id = '{run_id}' ORDER BY shortfall DESC\" --csv"
        console.print(f"… the {len(shown)} that lack most of {len(leaves):,} leaves. All:")
        console.print(line((call.line(every), "bold")), soft_wrap=True)


def _count(row: Row, name: str) -> int:
    return int(str(row[name]))


def _leaves(console: Screen, found: Row, call: Call, tried: str) -> None:
    leaves, reasons, run = found["leaves"], found["short"], found["run"]
    assert isinstance(leaves, list) and isinstance(reasons, list) and isinstance(run, dict)  # facts() made them
    show_leaves(console, leaves, str(run["run_id"]), call)
    lacking = sum(row["shortfall"] for row in leaves)
    if lacking:
        short = sum(row["shortfall"] > 0 for row in leaves)
        why = f"; main reason: {reasons[0]['reason']}" if reasons else ""
        console.print(line(("short:", "yellow"), f" {short:,} leaves lack {lacking:,} rows in all{tried}{why}"))


def _sums(console: Screen, run: object, outcome: Outcome) -> None:
    assert isinstance(run, dict)  # store.rows made it
    tally, now = outcome.progress.tally, outcome.progress.seconds
    console.print(
        f"\nrun {run['run_id']}: {run['made']:,} made = {run['kept']:,} kept + {run['dropped']:,} dropped + "
        f"{run['failed']:,} failed + {run['pending']:,} pending"
    )
    console.print(
        f"this time: {tally.calls:,} model calls ({tally.replayed:,} answered from the ledger), "
        f"{tally.tokens_in:,} tokens in, {tally.tokens_out:,} out, {seconds(now)} s; "
        f"in all {run['calls']:,} calls, {seconds(run['seconds'])} s"
    )
    if outcome.same_judge:
        console.print("judge: the same model that wrote the samples; it favours its own words (recipe: `judge:`)")


def _dear(console: Screen, revisions: object, debates: object) -> None:
    """What revisions and debates came to: breakages beside fixes, tokens beside verdicts."""
    assert isinstance(revisions, list) and isinstance(debates, list)  # store.rows made them
    for row in revisions:
        console.print(
            f"revisions at {row['step']}: {row['tried']} tried, {row['won']} won, {row['lost']} lost, {row['tied']} "
            f"tied; by the judge's scores {row['fixed']} fixed, {row['broken']} broken"
        )
    for row in debates:
        console.print(f"{row['step']}: {row['debated']} of {row['samples']} samples debated, {row['tokens']:,} tokens")


def _samples(console: Screen, samples: object) -> None:
    assert isinstance(samples, list)  # store.rows made it
    for sample in samples:
        console.heading(f"{sample['leaf']}  {sample['sample_id']}")
        for name in ("context", "question", "answer", "rejected"):
            if sample[name]:
                console.print(line((f"{name:8}", "dim"), f" {sample[name]}"))


def _selected(console: Screen, store: Store, version: str) -> None:
    """What selectors left out of the version, of the rows that the run kept."""
    left_out = store.rows(
        "SELECT step, reason, count(*) AS n FROM version_samples SEMI JOIN selections USING (version, step) "
        "WHERE version = ? AND NOT kept GROUP BY ALL ORDER BY n DESC",
        [version],
    )
    for row in left_out:
        console.print(
            line((f"{version} leaves out ", "bold"), f"{row['n']:,} of them: {row['reason']} ({row['step']})")
        )


def _next(console: Screen, version: str, samples: object, call: Call) -> None:
    """What can be done with the run: the steps of the circle, each with its command."""
    assert isinstance(samples, list)  # store.rows made it
    commands = {'sql "SELECT step, reason, n FROM funnel"': "what was dropped, and why"}
    if samples:
        commands = {
            f"why {samples[0]['sample_id']}": "where a sample came from and why it was kept",
            **commands,
            "review": "pages to look at samples in your browser; keep, drop and edit by keys",
            f"refilter {version}": "another version with your reviews, no model called",
            f"export {version} {version}.jsonl": "this version, ready for TRL",
            f"train {version}": "fine-tune on it, measured before and after (once: make train)",
            f"push {version}": "what the Hub would get: a dry run",
        }
    commands[f'schedule {call.recipe} --cron "0 3 * * *"'] = "every night, what is new"
    console.heading("next")
    for command, what in commands.items():
        told = line((call.line(command), "bold"), f"  {what}")
        console.print(told, soft_wrap=True)  # a command that is broken in two cannot be copied
    console.print("Run the same way: recipes/preferences.yaml (pairs), revision.yaml, debate.yaml, nightly.yaml.")
