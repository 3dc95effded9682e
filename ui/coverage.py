"""Coverage: what each leaf got of what it should get, where rows were lost, and how far people and judges agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from seedbed.store import Store
from seedbed.store.agreement import Kappa, between_reviewers
from seedbed.store.filters import scopes
from seedbed.store.tallies import Row, funnel, judges, leaves, reasons
from ui import desk
from ui.safe import draw, line, table

if TYPE_CHECKING:
    import altair

SHOWN = 300
JUDGES = {  # what the table says, and the column of the view
    "judge": "curator",
    "model": "model",
    "judged": "judged",
    "with people": "agreement_n",
    "agree": "agreement",
    "kappa": "kappa",
    "drawn": "drawn_n",
    "agree, of the drawn": "drawn_agreement",
    "changes with the order": "flip_rate",
    "lean to length": "length_bias",
}
FEW = 30  # below that many samples a kappa says little


def page() -> None:
    """A run's leaves and funnel, then agreement over the whole store."""
    st.title("Coverage")
    store = desk.store()
    if store is None:
        desk.no_store()
        return
    runs = {scope.label: scope.run for scope in scopes(store) if scope.run}
    if not runs:
        desk.no_run()
        return
    run_id = runs[st.selectbox("Run", list(runs), key="of", bind="query-params")]
    _leaves(leaves(store, run_id))
    _funnel(funnel(store, run_id), reasons(store, run_id))
    _reviewers(store)
    _judges(store)


def _leaves(rows: Sequence[Row]) -> None:
    st.header("Leaves")
    lacking = [int(str(row["shortfall"])) for row in rows]
    short = sum(n > 0 for n in lacking)
    draw(line(f"{len(rows):,} leaves", f"{short:,} short of their target, by {sum(lacking):,} samples in all"))
    names = ("leaf", "target", "made", "kept", "dropped", "failed", "shortfall", "main_reason")
    columns = ("leaf", "target", "made", "kept", "dropped", "failed", "short by", "main reason against")
    cells = [[row[name] for name in names] for row in rows[:SHOWN]]
    draw(table("Target, made, kept and dropped by leaf", columns, cells))
    if len(rows) > SHOWN:
        draw(line(f"The {SHOWN} leaves that lack most are shown, of {len(rows):,}; all of them by:"))
        st.code(f'seedbed sql "SELECT * FROM coverage"{desk.there()}', language=None, wrap_lines=True)


def _funnel(steps: Sequence[Row], lost: Sequence[Row]) -> None:
    st.header("Funnel")
    if not steps:
        draw(line("No row has been judged yet: the run has only begun."))
        return
    told = "; ".join(f"{row['step']}: {row['rows_in']} in, {row['rows_out']} out" for row in steps)
    st.altair_chart(_bars(steps), alt=f"Rows into and out of each step. {told}", width="stretch")
    cells = [[row[name] for name in ("step", "rows_in", "rows_out", "dropped")] for row in steps]
    draw(table("Rows into and out of each step", ("step", "in", "out", "dropped"), cells))
    reasons_ = [[row[name] for name in ("status", "step", "reason", "n")] for row in lost[:SHOWN]]
    if reasons_:
        draw(table("Why rows were lost", ("status", "step", "reason", "rows"), reasons_))


def _bars(steps: Sequence[Row]) -> altair.Chart:
    """Bars that start together and are told apart by their names, not only by their shades."""
    import altair

    rows = [
        {"step": str(row["step"]), "rows": row[name], "what": what}
        for row in steps
        for what, name in (("in", "rows_in"), ("out", "rows_out"))
    ]
    order = [str(row["step"]) for row in steps]
    shades = altair.Scale(domain=["in", "out"], range=["#8ab4d8", "#1f5f99"])
    chart: altair.Chart = (
        altair.Chart(altair.InlineData(values=rows))
        .mark_bar()
        .encode(
            x=altair.X("rows:Q", title="rows"),
            y=altair.Y("step:N", sort=order, title=None, axis=altair.Axis(labelLimit=200)),
            yOffset=altair.YOffset("what:N", sort=["in", "out"]),
            color=altair.Color("what:N", scale=shades, title=None, legend=altair.Legend(orient="top")),
            tooltip=["step:N", "what:N", "rows:Q"],
        )
    )
    return chart


def _reviewers(store: Store) -> None:
    st.header("Agreement between reviewers")
    found = between_reviewers(store)
    if not found:
        desk.empty(
            "No two reviewers have decided the same sample yet. On the page Review, choose the review state "
            "“needs a second opinion” in the filter. A second reviewer on this machine may begin with:",
            f"seedbed review --reviewer NAME --port 8502{desk.there()}",
        )
        return
    cells = [(row.one, row.other, row.agreement.n, *_told(row.agreement)) for row in found]
    columns = ("reviewer", "reviewer", "samples", "agree", "kappa", "95 % interval")
    draw(table("Cohen's kappa of each two reviewers", columns, cells))
    if any(row.agreement.n < FEW for row in found):
        draw(line(f"With fewer than {FEW} samples kappa says little, whatever its interval."))


def _told(found: Kappa) -> tuple[str, str, str]:
    share = f"{found.share:.0%}"
    if found.kappa is None:
        return share, "none: both always said the same", ""
    return share, f"{found.kappa:.2f}", f"{found.low:.2f} to {found.high:.2f}"


def _judges(store: Store) -> None:
    st.header("Judges")
    found = judges(store)
    if not found:
        draw(line("No model has judged anything in this store."))
        return
    draw(table("Judges against people's decisions", JUDGES, [[row[name] for name in JUDGES.values()] for row in found]))
    draw(
        line(
            "Drawn: decided in a random order or leaf by leaf. Agreement on samples that came first because they are "
            "doubtful is not the judge's agreement in general: for that, read what was drawn."
        ),
        line(
            "Changes with the order: share of comparisons that turn when the answers change places. "
            "Lean to length: correlation of score or preference with length. Bulk verdicts are left out."
        ),
    )
