"""Runs: how far each is, live, at what pace and cost; and with which command a stopped one goes on."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from seedbed.standing import Row, cost_of, pace, runs, tokens_of
from seedbed.store import Store
from seedbed.store.tallies import costs, wanted
from ui import desk
from ui.safe import bar, draw, figures, line, literal, table, titled

SECONDS = 2
RESUMABLE = {
    "killed": "No process is at work on it any more: it was killed.",
    "interrupted": "It was interrupted.",
    "budget": "It stopped at its budget.",
    "failed": "It failed.",
}


def page() -> None:
    """All runs, and the one that was chosen, drawn anew every two seconds while the page is open."""
    st.title("Runs")
    store = desk.store()
    if store is None:
        desk.no_store()
        return
    found = runs(store)
    if not found:
        desk.no_run()
        return
    labels = {f"{run['recipe']} {run['run_id']}": str(run["run_id"]) for run in found}
    chosen = st.selectbox("Run", list(labels), key="run-of", bind="query-params")
    _live(store, labels[chosen])


@st.fragment(run_every=SECONDS)
def _live(store: Store, run_id: str) -> None:
    desk.guarded(lambda: _draw(store, run_id))


def _draw(store: Store, run_id: str) -> None:
    found = runs(store)
    run = next((one for one in found if one["run_id"] == run_id), None)
    if run is None:
        desk.no_run()
        return
    _state(run)
    _progress(store, run)
    _costs(costs(store, run_id))
    _all(found)


def _state(run: Row) -> None:
    status = str(run["status"])
    message = f": {run['message']}" if run["message"] else ""
    name = f"{run['recipe']}{' (preview)' if run['preview'] else ''}"
    draw(line(name, f"{status}{message}", f"begun {run['started_at']:%Y-%m-%d %H:%M} UTC"))
    if status in RESUMABLE:
        told = f"{RESUMABLE[status]} Nothing is lost and no call is made twice: run the same recipe file again."
        st.warning(literal(told))
        verb = "preview" if run["preview"] else "run"
        st.code(f"seedbed {verb} RECIPE{desk.there()}  # the file of {run['recipe']}", language=None, wrap_lines=True)


def _progress(store: Store, run: Row) -> None:
    made, kept, pending = (int(str(run[name])) for name in ("made", "kept", "pending"))
    target = wanted(store, str(run["run_id"]))
    draw(bar("Kept", kept, target))
    facts = [(name, f"{int(str(run[name])):,}") for name in ("made", "kept", "dropped", "failed", "pending")]
    facts.append(("kept rate", f"{kept / (made - pending):.0%}" if made > pending else "none yet"))
    draw(figures(facts))
    facts = [
        ("calls", f"{int(str(run['calls'])):,}"),
        ("of these from the ledger", f"{int(str(run['calls_replayed'])):,}"),
        ("tokens", tokens_of(run)),
        ("seconds at work", f"{run['seconds']:,.0f}"),
        ("cost", cost_of(run)),
    ]
    draw(figures(facts))
    if run["status"] == "running":
        _pace(store, run, target - kept, kept / max(made - pending, 1))


def _pace(store: Store, run: Row, lacking: int, kept_rate: float) -> None:
    now = pace(store, str(run["run_id"]))
    kept_a_minute = now.rows * kept_rate
    left = f"{lacking / kept_a_minute:,.0f} min" if kept_a_minute else "not known yet"
    figures_ = [("rows", f"{now.rows:,}"), ("calls", f"{now.calls:,}"), ("tokens", f"{now.tokens:,}"), ("left", left)]
    draw(titled("In the last minute", figures(figures_)))


def _costs(rows: Sequence[Row]) -> None:
    st.header("Cost by step")
    if not rows:
        draw(line("No model has been called yet."))
        return
    names = ("step", "model", "calls", "errors", "tokens_in", "tokens_out", "seconds", "usd", "rows", "dropped")
    columns = ("step", "model", "calls", "errors", "tokens in", "tokens out", "seconds", "$", "rows", "dropped")
    draw(table("Calls, tokens, seconds and dollars by step", columns, [[row[name] for name in names] for row in rows]))


def _all(found: Sequence[Row]) -> None:
    st.header("All runs")
    names = ("run_id", "recipe", "status", "made", "kept", "dropped", "failed", "pending", "calls")
    draw(table("Rows by state", ("run", *names[1:]), [[run[name] for name in names] for run in found]))
