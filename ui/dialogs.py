"""The dialogs of the review page: edit, note, bulk verdict and keys.

Each opens by its key, takes the focus, and gives it back when it closes.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from seedbed.errors import InputError
from seedbed.store import Store, StoreError, bulk
from seedbed.store.leases import Item
from seedbed.store.reviews import actions
from ui import desk, keys, seat
from ui.safe import draw, literal, table
from ui.seat import Seat

TEXT_NAMES = {"question": "Question", "context": "Context", "answer": "Answer", "rejected": "Other answer"}
SIDE_NAMES = ("Left answer", "Right answer")
CORRECTED = ("Answer", "Corrected answer")
BULK_NAMES = {
    "keep": "keep",
    "drop": "drop",
    "unsure": "unsure",
    "chosen": "the judge's choice is better",
    "rejected": "the judge's choice is worse",
    "tie": "a tie",
}


def ask(store: Store, sitting: Seat) -> None:
    """Open the dialog that was asked for, if any."""
    dialogs: dict[str, Callable[[Store, Seat], None]] = {
        "edit": _edit,
        "note": _note,
        "bulk": _bulk,
        "keys": _keys,
    }
    if name := st.session_state.get(keys.OPEN):
        dialogs[name](store, sitting)


@st.dialog("Edit the sample", width="large", on_dismiss=keys.close)
def _edit(store: Store, sitting: Seat) -> None:
    item = sitting.item
    if item is None:
        return
    with st.form("edit", border=False):
        typed = {
            name: st.text_area(label, item.texts[name], key=f"edit {name} {item.key.sample_id}", height="content") or ""
            for name, label in _labels(item).items()
        }
        sent = st.form_submit_button("Save the edit", shortcut="Ctrl+Enter")
    st.caption("The stored sample stays as it is: a version made after this has your text, and says so.")
    if not sent:
        return
    edit = seat.changed(item, typed)
    if not edit:
        st.warning("Nothing was changed.")
    elif not all(edit[name].strip() for name in ("answer", "rejected") if name in edit):
        st.warning("An answer must not be empty. To leave the sample out, close this and press 2.")
    else:
        _store(store, lambda s, one: seat.mark(s, one, "edit", edit=edit))


@st.dialog("Write a note", on_dismiss=keys.close)
def _note(store: Store, sitting: Seat) -> None:
    item = sitting.item
    if item is None:
        return
    with st.form("note", border=False):
        note = st.text_area("Note", key=f"note {item.key.sample_id}", max_chars=4000) or ""
        sent = st.form_submit_button("Save the note", shortcut="Ctrl+Enter")
    if not sent:
        return
    if not note.strip():
        st.warning("The note is empty.")
    else:
        _store(store, lambda s, one: seat.mark(s, one, "note", note.strip()))


@st.dialog("One verdict on everything the filter matches", on_dismiss=keys.close)
def _bulk(store: Store, sitting: Seat) -> None:
    desk.guarded(lambda: _count_and_ask(store, sitting))


def _count_and_ask(store: Store, sitting: Seat) -> None:
    view = sitting.view
    found: bulk.Meant | None = st.session_state.get(keys.MEANT)
    if found is None:
        found = st.session_state[keys.MEANT] = bulk.meant(store, view.reviewer, view.found)
    if not found.n:
        st.write("The filter matches no sample. Change it first.")
        return
    kinds = ", ".join(f"{n:,} of kind {kind}" for kind, n in found.kinds.items())
    st.write(f"The filter matches **{found.n:,} samples**: {kinds}. {found.reviewed:,} have been reviewed before.")
    fitting = [action for action in BULK_NAMES if all(action in actions(kind) for kind in found.kinds)]
    if not fitting or fitting == ["tie"]:
        st.warning("Single samples and pairs take different verdicts: choose one kind in the filter first.")
        return
    action = st.radio("Verdict", fitting, format_func=BULK_NAMES.__getitem__, key="bulk action", index=None)
    st.caption("Stored as one batch, and undone as one by U. Bulk verdicts do not count as agreement with anyone.")
    if st.button(f"Record {found.n:,} verdicts", disabled=action is None, key="bulk go") and action:
        _record_bulk(store, sitting, found, action)


def _record_bulk(store: Store, sitting: Seat, found: bulk.Meant, action: str) -> None:
    view = sitting.view
    try:
        bulk.decide(store, view.reviewer, view.found, action, found)
    except bulk.Changed as changed:
        st.session_state[keys.MEANT] = changed.now
        st.warning(
            f"Nothing was recorded: the filter matched {found.n:,} samples and matches {changed.now.n:,} by now. "
            "Look at the filter, then record again."
        )
        st.button(f"Go on with {changed.now.n:,}", key="bulk again")
        return
    except (StoreError, InputError) as error:
        st.error(literal(error))
        return
    seat.again(store, sitting)
    sitting.said = f"Recorded {found.n:,} verdicts: {BULK_NAMES[action]}. U takes them all back."
    _done()


@st.dialog("Keys", on_dismiss=keys.close)
def _keys(store: Store, sitting: Seat) -> None:
    draw(table("What each key does", ("key", "what it does"), keys.HELP.items()))
    on = st.toggle("Keys are on", st.session_state.get(keys.ON, True), key="keys switch")
    st.session_state[keys.ON] = on
    st.caption("Keys never count while the cursor is in a field. Every key has its button on the page.")


def _labels(item: Item) -> dict[str, str]:
    """The texts that the sample has, of two answers each by its own name."""
    present = [name for name in TEXT_NAMES if item.stored[name] or name in ("question", "answer")]
    sides = dict(zip(item.sides, side_names(item), strict=True)) if item.of_kind.second else {}
    ordered = sorted(present, key=lambda name: (name in sides, sides.get(name, "")))
    return {name: sides.get(name, TEXT_NAMES[name]) for name in ordered}


def side_names(item: Item) -> tuple[str, str]:
    """What its two answers are called; those of a pair by where they stand, since it is blind."""
    return SIDE_NAMES if item.pair else CORRECTED


def _store(store: Store, work: Callable[[Store, Seat], None]) -> None:
    """Close once it is stored; what was typed stays in the dialog where it could not be."""
    keys.act(store, work)
    if trouble := st.session_state.pop(keys.TROUBLE, ""):
        st.error(literal(trouble))
    else:
        _done()


def _done() -> None:
    """Close, and draw the page anew."""
    keys.close()
    st.rerun()
