"""Review: one sample at a time, by keys. A pair is blind: no model, no judge, and its two answers in a drawn order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from seedbed.conversation import Content, Response
from seedbed.store import Store
from seedbed.store.leases import MINUTES, Item
from seedbed.store.lineage import reviews, verdicts
from seedbed.store.reviews import TEXTS
from ui import desk, keys, panel, seat
from ui.dialogs import ask, side_names
from ui.diff import Span, compare
from ui.life import draw_reviews, draw_verdicts
from ui.safe import Html, compared, draw, known_as, legend, line, literal, said, stacked, titled
from ui.seat import Seat, View
from ui.turns import Show, asked, further, known, labelled, responded, showing

ORDERS = {
    "most disagreement first": "disagreement",
    "most uncertain first": "uncertainty",
    "least reviewed leaf first": "leaf",
    "random": "random",
}
FINISHED = {  # by the state of a queue that a decided sample leaves
    "unreviewed": "Everything here is reviewed, {n} samples in all.",
    "second opinion": "No sample of these {n} waits for a second opinion.",
    "skipped": "Of these {n} samples you have skipped none that is still open.",
}
CHANGE = "Change the filter, wait for the next batch of a run that is at work, or grow more samples:"
ONWARDS = (
    "Choose another review state, version or run in the filter; or make a version with the reviews so far, "
    "on the page Publish or by:"
)


def page() -> None:
    """Choose what to go through, then go through it."""
    store = desk.store()
    if store is None:
        st.title("Review")
        desk.no_store()
        return
    view = _view(store)
    if view is None:
        desk.no_run()
    elif not view.reviewer:
        st.info("Say who you are: write your name under Reviewer at the side. It is stored with every review.")
    else:
        _seated(store, view)
        _desk(store)


def _view(store: Store) -> View | None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Review", width="content")
        with st.popover("Filter and order", width="content"):
            within = panel.scope(store)
            if within is None:
                return None
            found = panel.chosen(store, within, "unreviewed")
            order = st.selectbox("Order", list(ORDERS), key="order", bind="query-params")
    panel.say_passed_over(store, within)
    return View(desk.reviewer(), replace(found, whole=True), ORDERS[order])  # without an answer nothing can be judged


def _seated(store: Store, view: View) -> None:
    """Take a seat in this view; the sample in hand in another one is given back."""
    before = st.session_state.get(keys.SEAT)
    if before is not None and before.view == view:
        return
    if before is not None:
        seat.leave(store, before)
    st.session_state[keys.SEAT] = seat.sit(store, view)


@st.fragment
def _desk(store: Store) -> None:
    """What a key press draws anew."""
    desk.guarded(lambda: _draw(store))


def _draw(store: Store) -> None:
    sitting: Seat = st.session_state[keys.SEAT]
    keys.buttons(store, sitting)
    news, drawn = st.container(), sitting.item
    try:
        if sitting.item is None:
            _nothing(store, sitting)
        else:
            _sample(store, sitting.item)
    finally:  # also where the next key press, or a page that is closed, cuts the drawing short
        keys.act(store, seat.settle)
    if sitting.item is not drawn:
        st.rerun()  # it was not stored, or more has come
    with news:
        draw(said(sitting.said, *_progress(sitting)))
        if trouble := st.session_state.pop(keys.TROUBLE, ""):
            st.error(literal(trouble))
    if sitting.last and keys.shown(keys.BEFORE):
        key, action = sitting.last
        draw(titled("The sample before", line(key.sample_id, f"you: {action}")))
        draw_verdicts(verdicts(store, key.run_id, key.sample_id))
        draw_reviews(reviews(store, key.sample_id), desk.reviewer())
    ask(store, sitting)


def _progress(sitting: Seat) -> list[str]:
    pace, (_, found, order) = seat.pace(sitting), sitting.view
    names = {name: label for label, name in ORDERS.items()}
    parts = [found.version or found.run or "every run", panel.told(found), names[order]]
    parts += [f"you: {sitting.mine:,}", f"left: {sitting.left:,} of {sitting.queue.matching:,}"]
    if pace and sitting.left:
        parts += [f"{pace:.0f} a minute", f"about {max(sitting.left / pace, 1):,.0f} min left"]
    return parts


def _sample(store: Store, item: Item) -> None:
    content, differs = item.content, keys.shown("difference")
    show = _showing(item, showing(content, keys.shown(keys.MARKDOWN), keys.shown(keys.WHOLE)))
    draw(known_as(item.key.sample_id, item.leaf, item.kind, *_done(item)), asked(content, show))
    if item.of_kind.second:
        _two_answers(item, show)
    else:
        draw(titled("Answer", responded(_responses(content)[0], "answer", show)), labelled(content))
    draw(further(content, show), stacked() if item.pair else known(content.facts))  # a pair's may tell who wrote what
    if differs and item.of_kind.second:
        draw(legend("left", "right") if item.pair else legend("before the correction", "after it"))
    elif differs and item.texts != item.stored:
        draw(legend("before the edit", "now"))
    if keys.shown("judges") and not item.pair:
        draw_verdicts(verdicts(store, item.key.run_id, item.key.sample_id))


def _two_answers(item: Item, show: Show) -> None:
    """Beside one another, and if it is asked for with what differs in their words."""
    responses = dict(zip(("answer", "rejected"), _responses(item.content), strict=False))
    both = [responses[name] for name in item.sides]
    shows = [show, show]
    if keys.shown("difference"):
        shows = [_marking(spans, show) for spans in compare(*(one.content for one in both))]
    for column, title, name, one, drawn in zip(st.columns(2), side_names(item), item.sides, both, shows, strict=True):
        with column:
            draw(titled(title, responded(one, name, drawn)))


def _responses(content: Content) -> tuple[Response, Response]:
    first, second = [*content.responses[:2], Response(), Response()][:2]
    return first, second


def _showing(item: Item, show: Show) -> Show:
    """Draws an edited text with what the edit changed, where that is asked for."""
    differs = keys.shown("difference")

    def draw_changes(name: str, said: str) -> Html:
        edited = differs and item.stored.get(name, said) != said
        return _changed(item.stored[name], said) if edited else show(name, said)

    return draw_changes


def _marking(spans: Sequence[Span], show: Show) -> Show:
    """Draws the words of an answer with their marks, and its reasoning as ever."""
    return lambda name, said: compared(spans) if name in TEXTS else show(name, said)


def _changed(stored: str, edited: str) -> Html:
    """The stored text with what the edit took out, and the edited one with what it put in."""
    before, after = compare(stored, edited)
    return stacked(compared([Span("same", "Before: "), *before]), compared([Span("same", "Now: "), *after]))


def _done(item: Item) -> list[str]:
    """What has been done to it: one's own doings, and that somebody edited it, without which the text would puzzle."""
    edited = f"edited by {item.edited_by}" if item.edited_by else ""
    mine = [f"you: {', '.join(seat.pressed(item, action) for action in item.mine)}"] if item.mine else []
    return [edited, *mine, *(f"your note: {note}" for note in item.notes)]


def _nothing(store: Store, sitting: Seat) -> None:
    """Why there is no sample, and what to do."""
    state, where, queue = sitting.view.found.state, desk.there(), sitting.queue
    if not queue.matching or not (queue.keys or state in seat.SHRINKING):
        desk.empty(f"No sample matches this filter. {CHANGE}", desk.BEGIN + where)
        st.button("Look again", key="again", on_click=keys.act, args=(store, seat.again))
    elif queue.keys and state in seat.SHRINKING:
        st.info(
            f"The {sitting.left:,} samples left are with other reviewers. What they leave is free again after "
            f"{MINUTES:g} minutes at most."
        )
        st.button("Look again", key="again", on_click=keys.act, args=(store, seat.again))
    elif state in seat.SHRINKING:
        done = FINISHED[state].format(n=f"{queue.matching:,}")
        name = sitting.view.found.version or "NAME"
        desk.empty(f"{done} {ONWARDS}", f"seedbed refilter {name}{where}")
    else:
        st.info(f"You have been through all {queue.left:,} samples of this queue.")
        st.button("Start again", key="again", on_click=keys.act, args=(store, seat.again))
