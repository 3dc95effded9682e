"""Answers from the store: the state of runs, a sample's whole life, and the user's own SQL."""

from __future__ import annotations

from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
from rich.padding import Padding

from flows.figures import beside, seconds
from flows.report import Call, Row, show_leaves
from flows.screen import Screen, line
from flows.tables import Column, show_table
from flows.transcripts import lines as transcript_lines
from flows.turns import parts
from seedbed.errors import InputError
from seedbed.standing import counted, tokens_of
from seedbed.store import Store
from seedbed.store.asking import ask
from seedbed.store.lineage import calls, selections, verdicts
from seedbed.store.runs import beginning

VIEWS = "SELECT view_name FROM duckdb_views() WHERE database_name = 'seedbed' AND NOT internal ORDER BY view_name"


RUNS_SHOWN = 30
BOOKS = ("made", "kept", "dropped", "failed", "pending", "calls", "replayed", "tokens", "seconds")


def show_runs(console: Screen, store: Store, found: list[Row], call: Call) -> None:
    """Print the runs, latest first, and the leaves of the first of them."""
    if not found:
        console.print(line(f"No run in {store.home} yet. Begin with:  ", ("seedbed run recipes/starter.yaml", "bold")))
        return
    shown = found[:RUNS_SHOWN]
    columns = [Column("run", "name"), Column("recipe", "name"), Column("status", "name")]
    show_table(console, columns + [Column(name, "number") for name in BOOKS], list(map(_books, shown)))
    if len(found) > len(shown):
        console.print(f"… and {len(found) - len(shown):,} earlier runs: --json has all", style="dim")
    for run in shown:
        if run["status"] in ("killed", "interrupted", "budget", "failed", "damaged"):
            why = f" ({run['message']})" if run["message"] else ""
            console.print(f"{run['run_id']} {run['status']}{why}: run the same command again, it goes on")
    latest = str(found[0]["run_id"])
    console.print(f"\nleaves of {latest}", style="dim")
    leaves = store.rows("SELECT * FROM coverage WHERE run_id = ? ORDER BY leaf", [latest])
    show_leaves(console, leaves, latest, call)


def _books(run: Row) -> list[str]:
    recipe = f"{run['recipe']}{' (preview)' if run['preview'] else ''}"
    counts = [run[name] for name in ("made", "kept", "dropped", "failed", "pending", "calls", "calls_replayed")]
    told = [*(f"{int(str(n)):,}" for n in counts), tokens_of(run)]
    return [str(run["run_id"]), recipe, str(run["status"]), *told, seconds(float(str(run["seconds"])))]


def life(store: Store, sample_id: str) -> list[Row]:
    """A sample in every run that has it: the row, its verdicts in order, and the calls behind them.

    Raises:
        InputError: no sample's id begins so, or several do.
    """
    begun = store.rows("SELECT DISTINCT sample_id FROM samples WHERE starts_with(sample_id, ?) ORDER BY 1", [sample_id])
    one = beginning(sample_id, [str(row["sample_id"]) for row in begun])
    if not one:
        raise InputError(
            f"no sample's id begins with {sample_id!r} in {store.home}. "
            'List some with: seedbed sql "SELECT sample_id, leaf, status FROM samples LIMIT 20"'
        )
    found = store.rows(
        "SELECT * FROM samples WHERE sample_id = ? "
        "ORDER BY (SELECT entry FROM base.runs r WHERE r.run_id = samples.run_id)",
        [one],
    )
    for row in found:
        said = verdicts(store, str(row["run_id"]), str(row["sample_id"]))
        row["verdicts"] = said
        row["selections"] = selections(store, str(row["run_id"]), str(row["sample_id"]))
        row["calls"] = calls(store, [*_ids(row), *(call for verdict in said for call in _ids(verdict))])
    return found


def show_life(console: Screen, lives: list[Row], full: bool) -> None:
    """Print a sample's life; `full` shows prompts whole."""
    for row in lives:
        console.heading(f"{row['sample_id']} in run {row['run_id']}")
        console.print(
            f"{row['kind']} by {row['method']} for {row['leaf']}, place {row['ordinal']}, try {row['attempt']}"
        )
        console.print(f"made by {row['model']} from {', '.join(map(str, _list(row, 'parents'))) or 'no parent'}")
        if row["source"]:
            console.print(f"brought in from {row['source']}")
        for name, text in parts(row):
            console.print(line((f"{name:8} ", "dim"), text))
        why = f" at {row['step']}: {row['reason']}" if row["step"] else ""
        console.print(line((str(row["status"]), "bold"), why))
        for verdict in _list(row, "verdicts"):
            _verdict(console, verdict)
        for selection in _list(row, "selections"):
            console.print(line((f"in {selection['version']}", "dim")))
            _verdict(console, {**selection, "transcript": None})
            console.print(line(f"    {selection['evidence'] or ''}"))
        for call in _list(row, "calls"):
            _call(console, call, full)


def sql(store: Store, statement: str, unsafe: bool = False) -> pa.Table:
    """The answer to one statement, which may only read unless it is `unsafe`. Raises InputError with what is wrong."""
    try:
        return ask(store, statement, unsafe)
    except pa.ArrowInvalid as error:
        raise InputError(f"the answer cannot be read ({error}). Flatten it, or cast it to JSON or VARCHAR") from error
    except duckdb.Error as error:
        views = ", ".join(str(view["view_name"]) for view in store.rows(VIEWS))
        raise InputError(f"{error}\nThe store is read-only here; its views are {views}.") from error


def as_json(value: object) -> str:
    """Plain JSON for programs."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()


def home_of(path: Path) -> Store:
    """The store of a home folder that must be there already. Raises InputError."""
    if not (path / "seedbed.duckdb").exists():
        raise InputError(
            f"no store in {path}: run a recipe first (seedbed run recipes/starter.yaml), or name another --home"
        )
    return Store(path)


def _verdict(console: Screen, verdict: Row) -> None:
    mark = ("keep", "green") if verdict["keep"] else ("drop", "red")
    cut = None if verdict["threshold"] is None else float(str(verdict["threshold"]))
    score = "" if verdict["score"] is None else f" {beside(float(str(verdict['score'])), cut)}"
    at_least = "" if cut is None else f" (at least {cut:g})"
    console.print(line("  ", mark, f" {verdict['step']}{score}{at_least} {verdict['reason']}"))
    for told in transcript_lines(str(verdict["transcript"])) if verdict["transcript"] else ():
        console.print(Padding(told, (0, 0, 0, 7)), style="dim")


def _call(console: Screen, call: Row, full: bool) -> None:
    tokens, took = (
        f"{counted(call['tokens_in'])} tokens in, {counted(call['tokens_out'])} out",
        float(str(call["seconds"])),
    )
    console.print(
        f"  call {call['call_id']} {call['step']}: {tokens}, {seconds(took)} s, {call['model']} {call['revision']}",
        style="dim",
    )
    if full:
        for turn in orjson.loads(str(call["prompt"])):
            console.print(f"    [{turn['role']}] {turn['content']}")
        console.print(f"    -> {call['response']}")


def _ids(row: Row) -> list[str]:
    return [str(call_id) for call_id in _list(row, "call_ids")]


def _list(row: Row, name: str) -> list[Row]:
    value = row[name]
    return value if isinstance(value, list) else []
