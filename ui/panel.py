"""The filter that Review and Explore share. It lives in the address, so that a view can be kept and shared."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from seedbed.store import Store
from seedbed.store.filters import Facets, Filter, Scope, facets, holds, scopes
from ui.safe import draw, line

ANY = "any"
EVERYTHING = Scope("every run")
STATE_NAMES = {
    "unreviewed": "nobody has reviewed",
    "second opinion": "needs a second opinion",
    "reviewed": "somebody has reviewed",
    "mine": "I have reviewed",
    "conflicts": "reviewers disagree",
    "flagged": "flagged",
    "skipped": "I skipped",
}
_SECONDS = 10  # what there is to choose from may be that old


def scope(store: Store) -> Scope | None:
    """Choose what to look at: a version, a run, or everything; None where there is no run yet.

    To begin with the latest that holds a sample, and everything where none does.
    """
    found = [*scopes(store), EVERYTHING]
    if len(found) == 1:
        return None
    first = _first_with_samples(str(store.home), found, store)
    labels = [one.label for one in found]
    label = st.selectbox("Version or run", labels, index=first, key="in", bind="query-params")
    return found[labels.index(label)]


def say_passed_over(store: Store, within: Scope) -> None:
    """Say so where the page opened on something although a later run or version is there, which holds no sample."""
    found = [*scopes(store), EVERYTHING]
    first = _first_with_samples(str(store.home), found, store)
    if first and found[first] == within:
        draw(line(f"{found[0].label} is later and holds no sample; this is {within.label}"))


@st.cache_data(ttl=_SECONDS, show_spinner=False)
def _first_with_samples(home: str, found: list[Scope], _store: Store) -> int:
    return next((n for n, one in enumerate(found[:-1]) if holds(_store, one)), len(found) - 1)


def chosen(store: Store, within: Scope, state: str) -> Filter:
    """Choose samples in a scope; `state` is the review state to begin with, "" for any."""
    what = _facets(str(store.home), within.run, within.version, store)
    left, middle, right = st.columns(3)
    with left:
        wanted = _state(state)
        leaf = _one("Leaf or branch", what.leaves, "leaf")
        kind = _one("Kind", what.kinds, "kind")
    with middle:
        status = _one("Status", what.statuses, "status")
        step = _one("Dropped at step", what.steps, "step")
        reason = _one("Dropped because", what.reasons, "reason")
    with right:
        text = st.text_input("Words, or the beginning of an id", key="text", bind="query-params", max_chars=200)
        judge, low, high = _scores(what)
    return Filter(
        *(within.run, within.version, leaf, kind, status, step, reason, wanted),
        *(judge, low, high, text or ""),
    )


def told(found: Filter) -> str:
    """The filter in a few words."""
    parts = [found.leaf, found.kind, found.status, found.step, found.reason, STATE_NAMES.get(found.state, "")]
    if found.low is not None or found.high is not None or found.judge:
        low = "" if found.low is None else f"{found.low:g} ≤ "
        high = "" if found.high is None else f" ≤ {found.high:g}"
        parts.append(f"{low}score{f' of {found.judge}' if found.judge else ''}{high}")
    if found.text:
        parts.append(f"with “{found.text}”")
    return " · ".join(part for part in parts if part) or "all samples"


@st.cache_data(ttl=_SECONDS, show_spinner=False)
def _facets(home: str, run: str, version: str, _store: Store) -> Facets:
    return facets(_store, Scope("", run, version))


def _state(begin: str) -> str:
    labels = {ANY: "", **{label: state for state, label in STATE_NAMES.items()}}
    options = list(labels)
    first = options.index(STATE_NAMES.get(begin, ANY))
    return labels[st.selectbox("Review state", options, index=first, key="state", bind="query-params")]


def _one(label: str, options: Sequence[str], key: str) -> str:
    value = st.selectbox(label, [ANY, *options], key=key, bind="query-params")
    return "" if value == ANY else value


def _scores(what: Facets) -> tuple[str, float | None, float | None]:
    judge = _one("Score of step", what.judges, "judge")
    from_, to = st.columns(2)
    low = from_.number_input("Score from", value=None, step=0.5, key="low", bind="query-params")
    high = to.number_input("Score to", value=None, step=0.5, key="high", bind="query-params")
    return judge, low, high
