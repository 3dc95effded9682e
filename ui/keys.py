"""The keys of the review page: a button each, so that all can be clicked too, and the help that lists them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from seedbed.errors import InputError
from seedbed.store import Store, StoreError
from ui import seat
from ui.seat import Seat
from ui.turns import share

HELP = {
    "1": "keep the sample; of a pair, the left answer is better",
    "2": "drop the sample; of a pair, the right answer is better",
    "3": "unsure; of a pair, a tie",
    "S": "skip: leave it to others",
    "U": "undo the latest thing you did, step by step",
    "E": "edit the texts",
    "F": "flag it for a closer look",
    "N": "write a note",
    "D": "show what differs, word by word",
    "M": "show the texts as they were written; again: as Markdown, without images and links",
    "A": "show all of a sample that is too long to be drawn at once",
    "W": "show what the judges said; not of a pair, which is blind",
    "B": "give one verdict to everything that the filter matches",
    "L": "look back at the sample before: the judges, the others",
    "H": "show these keys",
}
DECISIONS = {
    "keep": "Keep",
    "drop": "Drop",
    "unsure": "Unsure",
    "left": "Left is better",
    "right": "Right is better",
    "tie": "Tie",
}
SEAT, OPEN, ON = "seat", "open dialog", "keys on"  # in the session
TROUBLE, MEANT = "trouble", "meant"
BEFORE, MARKDOWN, WHOLE = "sample before", "Markdown", "all of it"


def buttons(store: Store, sitting: Seat) -> None:
    """All buttons, in the same place whatever the sample is, so that no hand has to look for them."""
    item = sitting.item
    none, pair = item is None, item is not None and item.pair
    compared = item is not None and bool(item.of_kind.second or item.texts != item.stored)
    with _row("doing"):
        for key, pressed in enumerate(seat.presses(item), start=1):
            _button(DECISIONS[pressed], str(key), _doing(store, _deciding(pressed)), none)
        _button("Skip", "S", _doing(store, seat.skip), none)
        _button("Undo", "U", _doing(store, seat.take_back))
        _button("Edit", "E", _opening("edit"), none)
        _button("Flag", "F", _doing(store, _flag), none)
        _button("Note", "N", _opening("note"), none)
    with _row("views"):
        _switch("difference", "D", not compared)
        _switch(MARKDOWN, "M", none)
        _switch(WHOLE, "A", item is None or share(item.content) is None)
        _switch("judges", "W", none or pair)
        _switch(BEFORE, "L", sitting.last is None)
        _button("Bulk verdict", "B", _opening("bulk"), kind="tertiary")
        _button("Keys", "H", _opening("keys"), kind="tertiary")


def shown(name: str) -> bool:
    """Whether it is switched on; Markdown is, until the reviewer switches it off."""
    return bool(st.session_state.get(f"show {name}", name == MARKDOWN))


def close() -> None:
    """No dialog is open any more, and what a bulk verdict would mean is counted anew."""
    st.session_state[OPEN] = ""
    st.session_state.pop(MEANT, None)


def act(store: Store, work: Callable[[Store, Seat], None]) -> None:
    """Do what a key asks for; what the store says against it is kept for the page to tell."""
    try:
        work(store, st.session_state[SEAT])
    except (StoreError, InputError) as error:
        st.session_state[TROUBLE] = str(error)


def _row(name: str) -> st.delta_generator.DeltaGenerator:
    return st.container(horizontal=True, gap="xsmall", key=name)


def _button(
    label: str,
    shortcut: str,
    on_click: Callable[[], None],
    disabled: bool = False,
    kind: Literal["secondary", "tertiary"] = "secondary",
) -> None:
    """While a dialog is open the page's keys are off; the buttons stay, for the focus to return to."""
    keys = None if st.session_state.get(OPEN) or not st.session_state.get(ON, True) else shortcut
    st.button(label, key=f"key-{shortcut}", shortcut=keys, on_click=on_click, disabled=disabled, type=kind)


def _switch(name: str, shortcut: str, off: bool) -> None:
    def turn() -> None:
        st.session_state[f"show {name}"] = not shown(name)

    verb = "Hide" if shown(name) and not off else "Show"
    _button(f"{verb} {name}", shortcut, turn, off, "tertiary")


def _doing(store: Store, work: Callable[[Store, Seat], None]) -> Callable[[], None]:
    def do() -> None:
        st.session_state[f"show {BEFORE}"] = st.session_state[f"show {WHOLE}"] = False
        act(store, work)

    return do


def _opening(name: str) -> Callable[[], None]:
    def open_() -> None:
        st.session_state[OPEN] = name

    return open_


def _deciding(pressed: str) -> Callable[[Store, Seat], None]:
    return lambda store, sitting: seat.decide(store, sitting, pressed)


def _flag(store: Store, sitting: Seat) -> None:
    seat.mark(store, sitting, "flag")
