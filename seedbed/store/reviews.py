"""What people say of samples: events that are only ever added; an undo is one of them.

A decision counts for what the reviewer saw: `content_hash` ties it to the sample's text, so that it holds in every
run in which the sample of this id says the same, and in no other.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from duckdb import DuckDBPyConnection

from seedbed.errors import InputError
from seedbed.kinds import KINDS
from seedbed.store.order_schema import NEXT_REVIEW
from seedbed.store.store import Store

HASH = "md5(concat_ws(chr(31), question, context, answer, rejected, rest))"
ORDERS = ("chosen-first", "rejected-first")
EVENTS = ("skip", "edit", "flag", "note")
TEXTS = ("question", "context", "answer", "rejected")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reviewer was shown: the sample's kind and text, and the latest edit of it, "" if there was none."""

    kind: str
    content_hash: str
    edit_id: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a reviewer did to one sample. `edit` holds the texts that changed; `seconds` it was looked at.

    `seen` is what was on the screen; left out, it is looked up. `queue_order` is the order of the queue.
    """

    run_id: str
    sample_id: str
    action: str
    edit: Mapping[str, str] | None = None
    note: str = ""
    shown_order: str = ""
    seconds: float | None = None
    seen: Seen | None = None
    queue_order: str = ""


@dataclass(frozen=True, slots=True)
class Undone:
    """What was taken back: one event, or the `n` of a bulk verdict. `position` is the sample's place in the plan."""

    run_id: str
    sample_id: str
    position: int
    action: str
    n: int
    batch: str = ""


def record(store: Store, reviewer: str, event: Event) -> str:
    """Store an event; its id.

    Raises:
        InputError: the reviewer has no name, there is no such sample, the action does not fit it, or somebody else
            edited it since it was seen.
    """
    with store.writing() as db:
        return record_all(db, reviewer, [event])[0]


def record_all(db: DuckDBPyConnection, reviewer: str, events: Sequence[Event]) -> list[str]:
    """Store events inside the caller's transaction; their ids."""
    ids = [uuid.uuid4().hex[:16] for _ in events]
    for review_id, event in zip(ids, events, strict=True):
        seen = event.seen or _look(db, event)
        _check(event, seen.kind)
        if event.action == "edit" and event.seen:
            _check_edit(db, event, seen)
        db.execute(
            "INSERT INTO base.reviews VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', now() AT TIME ZONE 'UTC', "
            f"{NEXT_REVIEW}, ?)",
            [
                *(review_id, event.run_id, event.sample_id, seen.content_hash, named(reviewer), event.action),
                orjson.dumps(dict(event.edit)).decode() if event.edit else None,
                *(event.note, event.shown_order, event.seconds, event.queue_order),
            ],
        )
    return ids


def undo(store: Store, reviewer: str) -> Undone | None:
    """Take the reviewer's latest event back, a bulk verdict as a whole; what it was, or None if nothing is left.

    The event stays where it is: undoing is an event too.
    """
    with store.writing() as db:
        found = db.execute(
            "SELECT review_id, batch, run_id, sample_id, action FROM reviews "
            "WHERE reviewer = ? AND action <> 'undo' AND NOT undone ORDER BY entry DESC LIMIT 1",
            [reviewer.strip()],
        ).fetchall()
        if not found:
            return None
        [(review_id, batch, run_id, sample_id, action)] = found
        db.execute(
            "INSERT INTO base.reviews SELECT ?, ?, ?, '', ?, 'undo', NULL, '', '', NULL, '', ?, "
            f"now() AT TIME ZONE 'UTC', {NEXT_REVIEW}, ''",
            [uuid.uuid4().hex[:16], run_id, sample_id, reviewer.strip(), batch or review_id],
        )
        [(n,)] = db.execute("SELECT count(*) FROM base.reviews WHERE batch = ? AND batch <> ''", [batch]).fetchall()
        [(position,)] = db.execute(
            "SELECT position FROM base.samples WHERE run_id = ? AND sample_id = ?", [run_id, sample_id]
        ).fetchall()
    return Undone(run_id, sample_id, position, action, n or 1, batch)


def named(reviewer: str) -> str:
    """The reviewer's name without white space around it. Raises InputError where there is none."""
    if not reviewer.strip():
        raise InputError("a review needs a reviewer: say who you are")
    return reviewer.strip()


def actions(kind: str) -> tuple[str, ...]:
    """The decisions that fit a sample of this kind."""
    return KINDS[kind].decisions


def _look(db: DuckDBPyConnection, event: Event) -> Seen:
    found = db.execute(
        f"SELECT kind, {HASH} FROM base.samples WHERE run_id = ? AND sample_id = ?", [event.run_id, event.sample_id]
    ).fetchall()
    if not found:
        raise InputError(f"there is no sample {event.sample_id} in run {event.run_id}")
    return Seen(*found[0])


def _check(event: Event, kind: str) -> None:
    known = (*actions(kind), *EVENTS)
    if event.action not in known:
        raise InputError(f"{event.action!r} does not fit a sample of kind {kind}: use {', '.join(known)}")
    if event.shown_order and event.shown_order not in ORDERS:
        raise InputError(f"the order {event.shown_order!r} is none of {', '.join(ORDERS)}")
    if event.action == "edit":
        texts = event.edit or {}
        blank = any(name != "context" and not text.strip() for name, text in texts.items())
        if not texts or not set(texts) <= set(TEXTS) or blank:
            told = (
                f"an edit names the texts it changes ({', '.join(TEXTS)}), and leaves an answer: none but the context"
            )
            raise InputError(f"{told} may be empty. To leave a sample out, drop it")


def _check_edit(db: DuckDBPyConnection, event: Event, seen: Seen) -> None:
    """Of two edits only the later counts: who did not see the other one must not replace it unawares."""
    found = db.execute(
        "SELECT review_id, reviewer FROM reviews WHERE sample_id = ? AND content_hash = ? AND action = 'edit' "
        "AND NOT undone ORDER BY entry DESC LIMIT 1",
        [event.sample_id, seen.content_hash],
    ).fetchall()
    if found and found[0][0] != seen.edit_id:
        raise InputError(f"{found[0][1]} edited this sample while you did, so yours was not saved: look at it again")
