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
from seedbed.store.store import Store

HASH = "md5(concat_ws(chr(31), question, context, answer, rejected))"
ORDERS = ("chosen-first", "rejected-first")
DECISIONS = {"preference": ("chosen", "rejected", "tie")}  # by kind; of all other kinds:
KEEP_OR_DROP = ("keep", "drop", "unsure")
EVENTS = ("skip", "edit", "flag", "note")
TEXTS = ("question", "context", "answer", "rejected")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a reviewer did to one sample. `edit` holds the texts that changed; `seconds` it was looked at."""

    run_id: str
    sample_id: str
    action: str
    edit: Mapping[str, str] | None = None
    note: str = ""
    shown_order: str = ""
    seconds: float | None = None


def record(store: Store, reviewer: str, event: Event) -> str:
    """Store an event; its id.

    Raises:
        InputError: the reviewer has no name, there is no such sample, or the action does not fit it.
    """
    with store.writing() as db:
        return record_all(db, reviewer, [event])[0]


def record_all(db: DuckDBPyConnection, reviewer: str, events: Sequence[Event], batch: str = "") -> list[str]:
    """Store events inside the caller's transaction; `batch` ties those together that are undone together."""
    if not reviewer.strip():
        raise InputError("a review needs a reviewer: say who you are")
    ids = [uuid.uuid4().hex[:16] for _ in events]
    for review_id, event in zip(ids, events, strict=True):
        _check(db, event)
        db.execute(
            f"INSERT INTO base.reviews SELECT ?, run_id, sample_id, {HASH}, ?, ?, ?, ?, ?, ?, ?, '', "
            "now() AT TIME ZONE 'UTC' FROM base.samples WHERE run_id = ? AND sample_id = ?",
            [
                *(review_id, reviewer.strip(), event.action),
                orjson.dumps(dict(event.edit)).decode() if event.edit else None,
                *(event.note, event.shown_order, event.seconds, batch, event.run_id, event.sample_id),
            ],
        )
    return ids


def undo(store: Store, reviewer: str) -> dict[str, object] | None:
    """Take the reviewer's latest event back, a bulk verdict as a whole; what it was, or None if nothing is left.

    The event stays where it is: undoing is an event too.
    """
    with store.writing() as db:
        found = db.execute(
            "SELECT review_id, batch, run_id, sample_id, action FROM reviews "
            "WHERE reviewer = ? AND action <> 'undo' AND NOT undone ORDER BY created_at DESC, review_id LIMIT 1",
            [reviewer.strip()],
        ).fetchall()
        if not found:
            return None
        [(review_id, batch, run_id, sample_id, action)] = found
        db.execute(
            "INSERT INTO base.reviews SELECT ?, ?, ?, '', ?, 'undo', NULL, '', '', NULL, '', ?, "
            "now() AT TIME ZONE 'UTC'",
            [uuid.uuid4().hex[:16], run_id, sample_id, reviewer.strip(), batch or review_id],
        )
    return {"run_id": run_id, "sample_id": sample_id, "action": action, "batch": batch}


def _check(db: DuckDBPyConnection, event: Event) -> None:
    found = db.execute(
        "SELECT kind FROM base.samples WHERE run_id = ? AND sample_id = ?", [event.run_id, event.sample_id]
    ).fetchall()
    if not found:
        raise InputError(f"there is no sample {event.sample_id} in run {event.run_id}")
    known = (*DECISIONS.get(found[0][0], KEEP_OR_DROP), *EVENTS)
    if event.action not in known:
        raise InputError(f"{event.action!r} does not fit a sample of kind {found[0][0]}: use {', '.join(known)}")
    if event.shown_order and event.shown_order not in ORDERS:
        raise InputError(f"the order {event.shown_order!r} is none of {', '.join(ORDERS)}")
    if event.action == "edit":
        texts = event.edit or {}
        if not texts or not set(texts) <= set(TEXTS) or not texts.get("answer", "x").strip():
            raise InputError("an edit names the texts it changes, and leaves an answer: " + ", ".join(TEXTS))
