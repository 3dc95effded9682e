"""Who looks at what: a reviewer leases a sample, so that another one gets another.

A lease ends by itself. The order in which a reviewer was shown the two answers of a pair is drawn once for each
reviewer and pair, and stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from duckdb import DuckDBPyConnection

from seedbed.conversation import Content, Rest
from seedbed.conversation_json import read_rest
from seedbed.kinds import EVERY_DECISION, KINDS, Kind
from seedbed.store.queue import Key
from seedbed.store.reviews import HASH, ORDERS, TEXTS, Event, Seen, named, record_all
from seedbed.store.store import Store

MINUTES = 10.0
_LOOK_AHEAD = 32
_NOW = "now() AT TIME ZONE 'UTC'"
_IN = f"({_NOW}) + to_microseconds(?)"
_MINE = (*EVERY_DECISION, "flag", "skip")

Texts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Item:
    """A sample as its reviewer sees it: its texts with the latest edit made, and those it was stored with.

    `rest` is what its conversation has beside them, which nobody edits. `mine` is what this reviewer did to it so far,
    a decision or a flag; `notes` are the reviewer's own.
    """

    key: Key
    kind: str
    method: str
    leaf: str
    stored: Texts
    texts: Texts
    rest: Rest | None
    edited_by: str
    shown_order: str
    mine: tuple[str, ...]
    notes: tuple[str, ...]
    seen: Seen

    @property
    def of_kind(self) -> Kind:
        """What its kind says of it."""
        return KINDS[self.kind]

    @property
    def pair(self) -> bool:
        """Whether two answers are to be compared."""
        return self.of_kind.pair

    @property
    def content(self) -> Content:
        """The whole conversation, with the latest edit made."""
        return Content(**self.texts, rest=self.rest)

    @property
    def decided(self) -> bool:
        """Whether this reviewer has decided it before."""
        return bool(set(self.mine) - {"flag", "skip"})

    @property
    def sides(self) -> tuple[str, str]:
        """Which text stands left and which right; of what is no pair, the first one left."""
        return ("rejected", "answer") if self.shown_order == ORDERS[1] else ("answer", "rejected")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A reviewer's queue as far as it is not walked through; `state` is the review state that its filter asks for."""

    reviewer: str
    state: str
    keys: tuple[Key, ...]


def take(
    store: Store,
    waiting: Waiting,
    held: Key | None = None,
    event: Event | None = None,
    minutes: float = MINUTES,
) -> Item | None:
    """Lease the first sample that is free, after storing an event, if there is one, in the same unit of work.

    The reviewer's other leases end, but for that of `held`, which begins anew. In the queue of second opinions others
    may look at the same sample; in that of unreviewed samples one that somebody has decided since the queue was made
    is not free any more. Raises InputError as `record` does.
    """
    reviewer = named(waiting.reviewer)
    with store.writing() as db:
        if event:
            record_all(db, reviewer, [event])
        key = _free(db, waiting)
        _release(db, reviewer, held)
        return _lease(db, reviewer, key, minutes) if key else None


def record_and_stay(store: Store, reviewer: str, event: Event, key: Key, held: Key | None = None) -> Item:
    """Store an event and go on looking at the same sample, the lease renewed. Raises InputError as `record` does."""
    with store.writing() as db:
        record_all(db, reviewer, [event])
        _release(db, reviewer, held)
        return _lease(db, named(reviewer), key, MINUTES)


def hold(store: Store, reviewer: str, key: Key, held: Key | None = None) -> Item:
    """Lease this very sample, whoever else looks at it: to look again at what was just done."""
    with store.writing() as db:
        _release(db, reviewer, held)
        return _lease(db, named(reviewer), key, MINUTES)


def release(store: Store, reviewer: str) -> None:
    """Give back what the reviewer leases."""
    with store.writing() as db:
        _release(db, reviewer.strip(), None)


def drawn_order(reviewer: str, key: Key) -> str:
    """Chance, but the same chance each time: which answer of a pair stands left for a reviewer."""
    lot = hashlib.blake2b(f"{reviewer}\n{key.run_id}\n{key.sample_id}".encode(), digest_size=1).digest()[0]
    return ORDERS[lot % 2]


def _free(db: DuckDBPyConnection, waiting: Waiting) -> Key | None:
    taken = set[tuple[str, str]]() if waiting.state == "second opinion" else _leased(db, waiting.reviewer)
    for start in range(0, len(waiting.keys), _LOOK_AHEAD):
        some = waiting.keys[start : start + _LOOK_AHEAD]
        gone = taken | _decided(db, some) if waiting.state == "unreviewed" else taken
        for key in some:
            if (key.run_id, key.sample_id) not in gone:
                return key
    return None


def _leased(db: DuckDBPyConnection, reviewer: str) -> set[tuple[str, str]]:
    found = db.execute(
        "SELECT run_id, sample_id FROM base.assignments "
        f"WHERE reviewer <> ? AND leased_until > {_NOW} AND leased_until <= {_IN}",  # a clock that was set back lies
        [reviewer, _microseconds(MINUTES)],
    ).fetchall()
    return set(found)


def _decided(db: DuckDBPyConnection, keys: Sequence[Key]) -> set[tuple[str, str]]:
    """Those with a decision. The view that knows what was undone is asked only about rows that have events at all."""
    ids = [key.sample_id for key in keys]
    said = db.execute("SELECT sample_id FROM base.reviews WHERE sample_id IN (SELECT unnest(?))", [ids]).fetchall()
    if not said:
        return set()
    found = db.execute(
        "SELECT run_id, sample_id FROM decisions WHERE sample_id IN (SELECT unnest(?))", [[id_ for (id_,) in said]]
    ).fetchall()
    return set(found)


def _lease(db: DuckDBPyConnection, reviewer: str, key: Key, minutes: float) -> Item:
    keys = [key.run_id, key.sample_id, reviewer]
    known = db.execute(
        f"UPDATE base.assignments SET leased_until = {_IN} "
        "WHERE run_id = ? AND sample_id = ? AND reviewer = ? RETURNING shown_order",
        [_microseconds(minutes), *keys],
    ).fetchall()
    order = str(known[0][0]) if known else drawn_order(reviewer, key)
    if not known:
        db.execute(f"INSERT INTO base.assignments VALUES (?, ?, ?, ?, {_IN})", [*keys, order, _microseconds(minutes)])
    return _item(db, reviewer, key, order)


def _release(db: DuckDBPyConnection, reviewer: str, held: Key | None) -> None:
    db.execute(
        f"UPDATE base.assignments SET leased_until = CASE WHEN run_id = ? AND sample_id = ? THEN {_IN} ELSE {_NOW} END "
        f"WHERE reviewer = ? AND leased_until > {_NOW}",
        [held.run_id if held else "", held.sample_id if held else "", _microseconds(MINUTES), reviewer],
    )


def _microseconds(minutes: float) -> int:
    return int(minutes * 60e6)


def _item(db: DuckDBPyConnection, reviewer: str, key: Key, order: str) -> Item:
    [row] = db.execute(
        f"SELECT kind, method, leaf, {HASH}, rest, question, context, answer, rejected FROM base.samples "
        "WHERE position = ? AND run_id = ? AND sample_id = ?",
        [key.position, key.run_id, key.sample_id],
    ).fetchall()
    kind, method, leaf, content_hash, rest, *texts = row
    stored = dict(zip(TEXTS, map(str, texts), strict=True))
    said = _said(db, key.sample_id, content_hash)
    edits = [(review_id, who, edit) for review_id, who, action, edit, _ in said if action == "edit"]
    edit_id, edited_by, edit = edits[-1] if edits else ("", "", "{}")
    mine = [(action, note) for _, who, action, _, note in said if who == reviewer]
    return Item(
        *(key, kind, method, leaf, stored, stored | orjson.loads(edit), read_rest(rest), edited_by),
        order if KINDS[kind].pair else "",
        tuple(dict.fromkeys(action for action, _ in mine if action in _MINE)),
        tuple(note for _, note in mine if note),
        Seen(kind, content_hash, edit_id),
    )


def _said(db: DuckDBPyConnection, sample_id: str, content_hash: str) -> list[tuple[str, str, str, str, str]]:
    """The events on a text that count, in order; most samples have none, which the table says sooner than the view."""
    keys = [sample_id, content_hash]
    if not db.execute("SELECT 1 FROM base.reviews WHERE sample_id = ? AND content_hash = ? LIMIT 1", keys).fetchall():
        return []
    return db.execute(
        "SELECT review_id, reviewer, action, edit, note FROM reviews "
        "WHERE sample_id = ? AND content_hash = ? AND NOT undone ORDER BY entry",
        keys,
    ).fetchall()
