"""Publish: versions and what chose them, a new one with the reviews so far, what differs, and the way out."""

from __future__ import annotations

import shlex
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import orjson
import streamlit as st

from exporters.formats import WRITERS, forms_of
from flows.export import Asked, export
from flows.selections import refiltered
from seedbed.errors import InputError
from seedbed.store import Store, StoreError
from seedbed.store.difference import count_difference, page_of_difference
from seedbed.store.tallies import Row, contents, steps_with_threshold, versions
from seedbed.store.versions import least_share
from ui import desk, hub
from ui.safe import draw, line, literal, table

Side = Literal["all", "train", "test"]
SHOWN = 50
ROWS: dict[Side, str] = {"all": "all", "train": "to train on", "test": "held out"}
MADE = "made version"  # in the session


def page() -> None:
    """All versions; then, of the one that was chosen, what it holds, a new one from it, and how it leaves."""
    st.title("Publish")
    store = desk.store()
    if store is None:
        desk.no_store()
        return
    found = versions(store)
    if not found:
        desk.empty(
            "There is no version yet: a run that ends makes one. Begin, or go on, with:", desk.BEGIN + desk.there()
        )
        return
    _told(st.session_state.pop(MADE, ""))
    _all(found)
    names = [str(row["version"]) for row in found]
    first = next((n for n, row in enumerate(found) if row["samples"]), 0)
    version = st.selectbox("Version", names, index=first, key="version", bind="query-params")
    if first and version == names[first]:
        draw(line(f"{names[0]} is later and holds no sample; this is {version}"))
    _holds(store, version)
    _download(store, version)
    hub.section(store, version)
    _anew(store, next(row for row in found if row["version"] == version))
    _compare(store, names)


def _holds(store: Store, version: str) -> None:
    """What the version holds."""
    st.header("What it holds")
    rows = contents(store, version)
    kinds = Counter[str]()
    for row in rows:
        kinds[str(row["kind"])] += int(str(row["samples"]))
    changed = sum(int(str(row["changed_by_people"])) for row in rows)
    draw(line(*(f"{n:,} of kind {kind}" for kind, n in kinds.items()), f"{changed:,} edited or turned by people"))
    cells = [[row[name] for name in ("kind", "leaf", "samples", "changed_by_people")] for row in rows]
    draw(table(f"Samples of {version}", ("kind", "leaf", "samples", "changed by people"), cells))


def _all(found: Sequence[Row]) -> None:
    cells = [
        (row["version"], row["samples"], row["left_out"], row["parent"] or "", _cuts(row), row["reviews"], _when(row))
        for row in found
    ]
    columns = ("version", "samples", "left out", "made from", "thresholds", "reviews", "made (UTC)")
    draw(table("All versions", columns, cells))


def _cuts(row: Row) -> str:
    cuts = orjson.loads(str(row["thresholds"]))
    return ", ".join(f"{step} {cut:g}" for step, cut in cuts.items()) or "the recipe's"


def _when(row: Row) -> str:
    return f"{row['created_at']:%Y-%m-%d %H:%M}"


def _download(store: Store, version: str) -> None:
    st.header("Take it away")
    kinds = dict.fromkeys(str(row["kind"]) for row in contents(store, version))
    if not kinds:
        draw(line("The version holds no sample, so there is nothing to take away."))
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        form = st.selectbox("Format", forms_of(kinds, ".jsonl"), key="form", width=260)
        fitting = [suffix for suffix in WRITERS if form in forms_of(kinds, suffix)]
        suffix = st.selectbox("File", fitting, key="suffix", width=160)
        sides = tuple(ROWS) if least_share(store, version) <= Asked().held_out else ("all",)  # none is empty
        side = st.selectbox("Rows", sides, key="side", width=160, format_func=lambda name: ROWS[name])
        st.download_button(
            "Download",
            lambda: _file(store, version, form, suffix, side),
            f"{version}{suffix}",
            on_click="ignore",
            key="file",
        )
    draw(line("The same version always gives the same bytes. On the command line:"))
    words = ["seedbed", "export", version, f"{version}{suffix}", "--form", form, "--split", side]
    st.code(shlex.join(words) + desk.there(), language=None, wrap_lines=True)


def _file(store: Store, version: str, form: str, suffix: str, side: Side) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"version{suffix}"
        export(store, version, path, Asked(form=form, sides=side))
        return path.read_bytes()


def _anew(store: Store, row: Row) -> None:
    """Another version under other thresholds and with the reviews so far."""
    version, moved = str(row["version"]), orjson.loads(str(row["thresholds"]))
    st.header("Make a new version")
    draw(line("With the reviews so far, and these thresholds. No model is called, and the old version stays."))
    cuts = dict[str, float]()
    with st.form("anew", border=False):
        for step in steps_with_threshold(store, version):
            name, scores = str(step["step"]), f"(scores {step['low']:.2f} to {step['high']:.2f})"
            before = float(moved.get(name, step["threshold"]))
            label = literal(f"{name}: keep from {scores}")
            cut = st.number_input(label, value=before, step=0.1, key=f"cut {version} {name}")
            cuts |= {} if cut == before else {name: cut}
        sent = st.form_submit_button("Make a version")
    if sent:
        _make(store, version, cuts)


def _make(store: Store, version: str, cuts: dict[str, float]) -> None:
    try:
        made = refiltered(store, version, cuts)
    except (InputError, StoreError) as error:
        st.error(literal(error))
        return
    if not made.new:
        st.info(literal(f"Nothing changed: {made.version} is what these thresholds and the reviews so far choose."))
        return
    st.session_state[MADE] = f"{made.version} was made: {made.samples:,} samples, {made.left_out:,} left out."
    st.rerun()


def _told(made: str) -> None:
    if made:
        st.success(literal(made))


def _compare(store: Store, names: Sequence[str]) -> None:
    st.header("Compare two versions")
    if len(names) < 2:
        draw(line("There is only one version. Review samples or move a threshold, and make another above."))
        return
    with st.container(horizontal=True):
        old = st.selectbox("From", names, index=1, key="old", bind="query-params", width=300)
        new = st.selectbox("To", names, index=0, key="new", bind="query-params", width=300)
    sums = _counted(str(store.home), old, new, store)
    if not sums:
        draw(line(f"{old} and {new} hold the same samples."))
        return
    cells = [[row[name] for name in ("what", "why", "n")] for row in sums]
    draw(table("What came, went and changed", ("what", "why", "samples"), cells))
    _differing(store, old, new, sum(int(str(row["n"])) for row in sums))


def _differing(store: Store, old: str, new: str, n: int) -> None:
    """The rows that differ, a page at a time."""
    page = st.pagination(-(-n // SHOWN), key=f"page of {old} {new}") if n > SHOWN else 1
    first = (page - 1) * SHOWN
    rows = _page(str(store.home), old, new, first, store)
    cells = [[row[name] for name in ("what", "sample_id", "leaf", "why", "question")] for row in rows]
    caption = f"{first + 1:,} to {first + len(rows):,} of {n:,}"
    draw(table(caption, ("what", "sample", "leaf", "why", "question"), cells))


# A version never changes, so that each pair of them is compared once.
@st.cache_data(max_entries=64, show_spinner="Comparing")
def _counted(home: str, old: str, new: str, _store: Store) -> list[Row]:
    return count_difference(_store, old, new)


@st.cache_data(max_entries=64, show_spinner="Comparing")
def _page(home: str, old: str, new: str, first: int, _store: Store) -> list[Row]:
    return page_of_difference(_store, old, new, first, SHOWN)
