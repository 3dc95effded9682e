"""Where a reviewer is: the queue, the sample in hand, and what each key does to them.

Nothing here draws. A key press is one unit of work in the store: it records what was done and leases one more sample.
Since one more is leased and read already, the page draws that first, and does not wait for whoever else is writing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from seedbed.errors import InputError
from seedbed.kinds import KEEP_OR_DROP
from seedbed.store import Store, StoreError
from seedbed.store.filters import Filter
from seedbed.store.leases import Item, Waiting, hold, record_and_stay, release, take
from seedbed.store.queue import LENGTH, Key, Queue, plan
from seedbed.store.reviews import TEXTS, Event, undo

SIDES = ("left", "right", "tie")  # what is pressed of a pair, whose decisions would tell the judge's choice
MARKS = {"flag": "Flagged.", "note": "Note stored.", "edit": "Edit stored."}
SHRINKING = ("unreviewed", "second opinion", "skipped")  # queues that a decided sample leaves by itself
WHOLE = 50_000
PACE_OF = 20  # decisions that the pace is taken from


class View(NamedTuple):
    """What a reviewer chose to go through."""

    reviewer: str
    found: Filter
    order: str


@dataclass
class Seat:
    """One reviewer's place in one view.

    `item` is in hand and `coming` is leased too, so that a key press has what to draw at once; `ahead` are the keys not
    looked at yet. `pending` is what was decided and is stored as soon as the next sample is drawn. `last` is the latest
    decision, and `said` is told on the page.
    """

    view: View
    queue: Queue
    ahead: tuple[Key, ...]
    item: Item | None = None
    coming: Item | None = None
    pending: tuple[Item, Event] | None = None
    since: float = 0.0
    mine: int = 0
    left: int = 0
    times: deque[float] = field(default_factory=lambda: deque(maxlen=PACE_OF))
    last: tuple[Key, str] | None = None
    said: str = ""


def sit(store: Store, view: View) -> Seat:
    """Make the queue of a view and take its first sample."""
    queue = plan(store, view.reviewer, view.found, view.order, LENGTH if view.found.state in SHRINKING else WHOLE)
    seat = Seat(view, queue, queue.keys, mine=queue.mine, left=queue.left)
    _in_hand(seat, _taken(store, seat, None))
    return seat


def decide(store: Store, seat: Seat, pressed: str) -> None:
    """Decide on the sample in hand, and go on. `pressed` is left, right, tie, keep, drop or unsure."""
    settle(store, seat)
    if seat.item is None:
        return
    item, action = seat.item, meant(seat.item, pressed)
    seat.mine += not item.decided
    _go_on(store, seat, action)
    seat.times.append(time.monotonic())
    seat.last, seat.said = (item.key, action), f"Recorded: {pressed}."


def skip(store: Store, seat: Seat) -> None:
    """Leave the sample in hand to others, and go on."""
    settle(store, seat)
    if seat.item is None:
        return
    _go_on(store, seat, "skip")
    seat.last, seat.said = None, "Skipped."


def settle(store: Store, seat: Seat) -> None:
    """Store what is pending and lease one more sample, in one unit of work; where the queue ends, make it anew.

    Raises:
        InputError, StoreError: it was not stored; the sample that it was about is in hand again.
    """
    if seat.coming is None and (seat.pending or seat.ahead):
        try:
            seat.coming = _taken(store, seat, seat.item)
        except (InputError, StoreError):
            _restore(seat)
            raise
        seat.pending = None
    if seat.item is None and seat.coming:
        _in_hand(seat, seat.coming)
        seat.coming = None
    if seat.item is None and seat.view.found.state in SHRINKING and seat.queue.keys:
        again(store, seat)


def mark(store: Store, seat: Seat, action: str, note: str = "", edit: Mapping[str, str] | None = None) -> None:
    """Flag, note or edit the sample in hand, and stay with it."""
    settle(store, seat)
    if seat.item is None:
        return
    item = seat.item
    event = _event(seat, item, action, None, edit, note)
    seat.item = record_and_stay(store, seat.view.reviewer, event, item.key, _key(seat.coming))
    seat.said = MARKS[action]


def take_back(store: Store, seat: Seat) -> None:
    """Undo the reviewer's latest event, and look at its sample again."""
    settle(store, seat)
    back = undo(store, seat.view.reviewer)
    if back is None:
        seat.said = "There is nothing left to undo."
        return
    if back.batch:
        again(store, seat)
        seat.said = f"Took back {back.n:,} verdicts that were given at once."
        return
    key = Key(back.run_id, back.sample_id, back.position)
    if seat.item is not None and seat.item.key != key:
        later = (seat.coming.key,) if seat.coming else ()
        seat.coming, seat.ahead = seat.item, (*later, *seat.ahead)
    item = hold(store, seat.view.reviewer, key, _key(seat.coming))
    _in_hand(seat, item)
    if back.action not in MARKS:
        seat.left += 1
        seat.mine -= back.action != "skip"
    seat.last, seat.said = None, f"Took back: {pressed(item, back.action)}."


def again(store: Store, seat: Seat) -> None:
    """Make the queue anew, for what has come since."""
    fresh = sit(store, seat.view)
    seat.queue, seat.ahead, seat.mine, seat.left = fresh.queue, fresh.ahead, fresh.mine, fresh.left
    seat.coming = seat.pending = None
    _in_hand(seat, fresh.item)


def leave(store: Store, seat: Seat) -> None:
    """Give the samples in hand back."""
    if seat.item is not None:
        release(store, seat.view.reviewer)
        seat.item = seat.coming = None


def pace(seat: Seat) -> float | None:
    """Decisions a minute, over the latest ones."""
    if len(seat.times) < 3:
        return None
    return 60 * (len(seat.times) - 1) / max(seat.times[-1] - seat.times[0], 1e-3)


def changed(item: Item, typed: Mapping[str, str]) -> dict[str, str]:
    """The texts that an edit must name: those that differ from what is stored, or that an edit before it changed."""
    edited = {name for name in TEXTS if item.texts[name] != item.stored[name]}
    return {name: text for name, text in typed.items() if name in edited or text != item.stored[name]}


def meant(item: Item, pressed: str) -> str:
    """What left and right stand for, under the order in which this reviewer sees the pair."""
    if pressed in ("left", "right"):
        return "chosen" if item.sides[pressed == "right"] == "answer" else "rejected"
    return pressed


def pressed(item: Item, action: str) -> str:
    """The other way round: which side a decision on a pair was for, since its name would tell the judge's choice."""
    if action in ("chosen", "rejected"):
        return "left" if item.sides[0] == ("answer" if action == "chosen" else "rejected") else "right"
    return action


def presses(item: Item | None) -> tuple[str, ...]:
    """What the first keys mean, by the kind of the sample in hand."""
    if item is None:
        return KEEP_OR_DROP
    return SIDES if item.pair else item.of_kind.decisions


def _event(
    seat: Seat, item: Item, action: str, seconds: float | None, edit: Mapping[str, str] | None = None, note: str = ""
) -> Event:
    key, order = item.key, seat.view.order
    return Event(key.run_id, key.sample_id, action, edit, note, item.shown_order, seconds, item.seen, order)


def _go_on(store: Store, seat: Seat, action: str) -> None:
    """Draw the next sample first and store the event then; where none is leased yet, the other way round."""
    item = seat.item
    assert item is not None  # whoever calls has looked
    seconds = round(time.monotonic() - seat.since, 2)
    event = _event(seat, item, action, seconds)
    seat.pending = (item, event)
    seat.left = max(seat.left - 1, 0)
    _in_hand(seat, seat.coming)
    seat.coming = None
    if seat.item is None:
        settle(store, seat)


def _taken(store: Store, seat: Seat, held: Item | None) -> Item | None:
    """The next free sample. Keys before it are with other reviewers, and come again when the queue is made anew."""
    waiting = Waiting(seat.view.reviewer, seat.view.found.state, seat.ahead)
    found = take(store, waiting, _key(held), seat.pending[1] if seat.pending else None)
    seat.ahead = seat.ahead[seat.ahead.index(found.key) + 1 :] if found else ()
    return found


def _in_hand(seat: Seat, item: Item | None) -> None:
    seat.item, seat.since = item, time.monotonic()


def _restore(seat: Seat) -> None:
    """Nothing was stored, so nothing counts, and the sample is in hand again."""
    if seat.pending is None:
        return
    before, event = seat.pending
    if seat.item is not None:
        seat.coming = seat.item
    _in_hand(seat, before)
    seat.left += 1
    seat.mine -= event.action != "skip" and not before.decided
    seat.pending, seat.last, seat.said = None, None, ""


def _key(item: Item | None) -> Key | None:
    return item.key if item else None
