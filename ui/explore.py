"""Explore: find samples, and read of each why it was kept or dropped, where it comes from, and what came of it."""

from __future__ import annotations

import orjson
import streamlit as st

from seedbed.store import Store
from seedbed.store.filters import Filter, count
from seedbed.store.filters import page as rows_after
from seedbed.store.lineage import Life, life
from ui import desk, panel
from ui.life import draw_calls, draw_conversation, draw_relatives, draw_reviews, draw_verdicts
from ui.safe import draw, line, snippet, titled

ROWS = 15
SNIPPET = 240
Place = tuple[int, str, str]


def page() -> None:
    """The list, or one sample of it."""
    store = desk.store()
    if store is None:
        st.title("Explore")
        desk.no_store()
    elif "sample" in st.query_params:
        _one(store, st.query_params.get("run", ""), st.query_params["sample"])
    else:
        _list(store)


def _list(store: Store) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Explore", width="content")
        with st.popover("Filter", width="content"):
            within = panel.scope(store)
            found = panel.chosen(store, within, "") if within else None
    if within is None or found is None:
        desk.no_run()
        return
    panel.say_passed_over(store, within)
    n = count(store, found, desk.reviewer())
    draw(line(f"{n:,} samples", within.label, panel.told(found)))
    if not n:
        desk.empty("No sample matches this filter: take something out of it, or grow more samples:", _begin())
        return
    _rows(store, found, n)


def _rows(store: Store, found: Filter, n: int) -> None:
    starts = _starts(found)
    rows = rows_after(store, found, desk.reviewer(), starts[-1], ROWS)
    for number, row in enumerate(rows, start=1 + ROWS * (len(starts) - 1)):
        _row(number, row)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Previous", key="previous", disabled=len(starts) == 1, on_click=_backwards, args=(starts,))
        last = rows[-1] if rows else None
        more = last is not None and ROWS * len(starts) < n
        place = (int(str(last["position"])), str(last["run_id"]), str(last["sample_id"])) if last else None
        st.button("Next", key="next", disabled=not more, on_click=starts.append, args=(place,))
        draw(line(f"{1 + ROWS * (len(starts) - 1):,} to {ROWS * (len(starts) - 1) + len(rows):,} of {n:,}"))


def _starts(found: Filter) -> list[Place | None]:
    """Where each page so far begins; another filter begins anew."""
    if "pages" not in st.session_state or st.session_state["pages"][0] != found:
        st.session_state["pages"] = (found, [None])
    starts: list[Place | None] = st.session_state["pages"][1]
    return starts


def _backwards(starts: list[Place | None]) -> None:
    starts.pop()


def _row(number: int, row: dict[str, object]) -> None:
    question = " ".join(str(row["question"]).split())
    why = f"{row['step']}: {row['reason']}" if row["reason"] else ""
    with st.container(border=True):
        left, right = st.columns([1, 7], vertical_alignment="center")  # one below the other where it is narrow
        left.button(f"Open {number}", key=f"open {number}", on_click=_open, args=(row,))
        with right:
            draw(
                line(str(row["status"]), str(row["leaf"]), str(row["kind"]), why),
                snippet(question[:SNIPPET] + ("…" if len(question) > SNIPPET else "")),
            )


def _open(row: dict[str, object]) -> None:
    st.query_params["run"], st.query_params["sample"] = str(row["run_id"]), str(row["sample_id"])


def _close() -> None:
    for name in ("run", "sample"):
        st.query_params.pop(name, None)


def _one(store: Store, run_id: str, sample_id: str) -> None:
    st.title("Explore")
    st.button("Back to the list", key="back", on_click=_close)
    found = life(store, run_id, sample_id)
    if found is None:
        desk.empty(f"There is no sample {sample_id} in run {run_id}. List some with:", _some())
        return
    _head(found)
    draw_conversation(found)
    draw_verdicts(found.verdicts)
    draw_relatives(found)
    draw_reviews(found.reviews, desk.reviewer())
    draw_calls(store, found)
    st.download_button(
        "Download its life as JSON",
        lambda: orjson.dumps(_plain(found), option=orjson.OPT_INDENT_2, default=str),
        file_name=f"{found.sample['sample_id']}.json",
        mime="application/json",
    )


def _head(found: Life) -> None:
    row = found.sample
    why = f"Why {row['status']}: {row['reason'] or 'every step kept it'}"
    draw(titled(why + (f" (at {row['step']})" if row["step"] and row["reason"] else ""), line(str(row["sample_id"]))))
    made = f"made by {row['model']}" if row["model"] else ""
    place = f"place {row['ordinal']}, try {row['attempt']}"
    source = f"brought in from {row['source']}" if row["source"] else ""
    draw(
        line(str(row["leaf"]), str(row["kind"]), f"method {row['method']}", made, source, place, f"run {row['run_id']}")
    )


def _plain(found: Life) -> dict[str, object]:
    names = ("sample", "verdicts", "parents", "children", "versions", "reviews")
    return {name: getattr(found, name) for name in names}


def _begin() -> str:
    return desk.BEGIN + desk.there()


def _some() -> str:
    return f'seedbed sql "SELECT sample_id, run_id, leaf, status FROM samples LIMIT 20"{desk.there()}'
