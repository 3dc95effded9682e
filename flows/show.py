"""Answers from the store: the state of runs, a sample's whole life, and the user's own SQL."""

from __future__ import annotations

from pathlib import Path

import duckdb
import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.report import Row, leaf_table
from flows.transcripts import lines as transcript_lines
from seedbed.errors import InputError
from seedbed.store import Store
from seedbed.store.asking import ask
from seedbed.store.lineage import calls, verdicts

VIEWS = "SELECT view_name FROM duckdb_views() WHERE database_name = 'seedbed' AND NOT internal ORDER BY view_name"


def show_runs(console: Console, store: Store, found: list[Row]) -> None:
    """Print the runs, and the leaves of the latest."""
    if not found:
        console.print(f"No run in {store.home} yet. Begin with:  [bold]seedbed run recipes/starter.yaml[/]")
        return
    names = ("recipe", "status", "made", "kept", "dropped", "failed", "pending", "calls", "calls_replayed")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", *(name.replace("calls_replayed", "replayed") for name in names), "tokens", "seconds"):
        table.add_column(name, justify="left" if name in ("run", "recipe", "status") else "right")
    for run in found:
        recipe = f"{run['recipe']}{' (preview)' if run['preview'] else ''}"
        cells = [escape(recipe), *(str(run[name]) for name in names[1:])]
        tokens = int(str(run["tokens_in"])) + int(str(run["tokens_out"]))
        table.add_row(str(run["run_id"]), *cells, f"{tokens:,}", f"{run['seconds']:.1f}")
    console.print(table)
    for run in found:
        if run["status"] in ("killed", "interrupted", "budget", "failed", "damaged"):
            why = f" ({run['message']})" if run["message"] else ""
            console.print(f"{run['run_id']} {run['status']}{escape(why)}: run the same command again, it goes on")
    latest = found[0]["run_id"]
    console.print(f"\nleaves of {latest}", style="dim")
    console.print(leaf_table(store.rows("SELECT * FROM coverage WHERE run_id = ? ORDER BY leaf", [latest])))


def life(store: Store, sample_id: str) -> list[Row]:
    """A sample in every run that has it: the row, its verdicts in order, and the calls behind them.

    Raises:
        InputError: no sample's id begins so, or several do.
    """
    found = store.rows(
        "SELECT * FROM samples WHERE starts_with(sample_id, ?) "
        "ORDER BY (SELECT entry FROM base.runs r WHERE r.run_id = samples.run_id), sample_id",
        [sample_id],
    )
    ids = sorted({str(row["sample_id"]) for row in found})
    if not ids:
        raise InputError(
            f"no sample's id begins with {sample_id!r} in {store.home}. "
            'List some with: seedbed sql "SELECT sample_id, leaf, status FROM samples LIMIT 20"'
        )
    if len(ids) > 1:
        raise InputError(f"{sample_id!r} is the beginning of {len(ids)} ids: {', '.join(ids[:5])}. Write more of it.")
    for row in found:
        said = verdicts(store, str(row["run_id"]), str(row["sample_id"]))
        row["verdicts"] = said
        row["calls"] = calls(store, [*_ids(row), *(call for verdict in said for call in _ids(verdict))])
    return found


def show_life(console: Console, lives: list[Row], full: bool) -> None:
    """Print a sample's life; `full` shows prompts whole."""
    for row in lives:
        console.rule(f"{row['sample_id']} in run {row['run_id']}", align="left", style="dim")
        console.print(
            f"{row['kind']} by {row['method']} for {row['leaf']}, place {row['ordinal']}, try {row['attempt']}"
        )
        console.print(
            f"made by {row['model']} from {escape(', '.join(map(str, _list(row, 'parents'))) or 'no parent')}"
        )
        for name in ("context", "question", "answer", "rejected"):
            if row[name]:
                console.print(f"[dim]{name:9}[/]{escape(str(row[name]))}")
        why = f" at {row['step']}: {row['reason']}" if row["step"] else ""
        console.print(f"[bold]{row['status']}[/]{escape(why)}")
        for verdict in _list(row, "verdicts"):
            _verdict(console, verdict)
        for call in _list(row, "calls"):
            _call(console, call, full)


def sql(store: Store, statement: str, unsafe: bool = False) -> list[Row]:
    """The rows of one statement, which may only read unless it is `unsafe`. Raises InputError with what is wrong."""
    try:
        rows: list[Row] = ask(store, statement, unsafe).to_pylist()
        return rows
    except duckdb.Error as error:
        views = ", ".join(str(view["view_name"]) for view in store.rows(VIEWS))
        raise InputError(f"{error}\nThe store is read-only here; its views are {views}.") from error


def show_rows(console: Console, rows: list[Row]) -> None:
    """Print rows as a table."""
    if not rows:
        console.print("no rows", style="dim")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row.values()))
    console.print(table)


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


def _verdict(console: Console, verdict: Row) -> None:
    mark = "[green]keep[/]" if verdict["keep"] else "[red]drop[/]"
    score = "" if verdict["score"] is None else f" {verdict['score']:.2f}"
    cut = "" if verdict["threshold"] is None else f" (at least {verdict['threshold']:g})"
    console.print(f"  {mark} {verdict['step']}{score}{cut} {escape(str(verdict['reason']))}")
    for line in transcript_lines(str(verdict["transcript"])) if verdict["transcript"] else ():
        console.print(f"       [dim]{escape(line)}[/]")


def _call(console: Console, call: Row, full: bool) -> None:
    console.print(
        f"  call {call['call_id']} {call['step']}: {call['tokens_in']} tokens in, {call['tokens_out']} out, "
        f"{call['seconds']:.2f} s, {escape(str(call['model']))} {escape(str(call['revision']))}",
        style="dim",
    )
    if full:
        for turn in orjson.loads(str(call["prompt"])):
            console.print(f"    [{turn['role']}] {turn['content']}", markup=False)
        console.print(f"    -> {call['response']}", markup=False)


def _ids(row: Row) -> list[str]:
    return [str(call_id) for call_id in _list(row, "call_ids")]


def _list(row: Row, name: str) -> list[Row]:
    value = row[name]
    return value if isinstance(value, list) else []
