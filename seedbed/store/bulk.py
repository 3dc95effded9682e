"""One verdict over everything that a filter means: counted first, stored as one batch, undone as one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from duckdb import DuckDBPyConnection

from seedbed.errors import InputError
from seedbed.store.filters import Filter, matching
from seedbed.store.order_schema import NEXT_REVIEW
from seedbed.store.reviews import HASH, actions, named
from seedbed.store.store import Store


@dataclass(frozen=True, slots=True)
class Meant:
    """What a bulk verdict would decide: how many rows of each kind, and how many of all have been reviewed already.

    `which` is a hash of the rows' ids: as many others are not what was counted.
    """

    kinds: Mapping[str, int]
    reviewed: int
    which: str

    @property
    def n(self) -> int:
        """Rows in all."""
        return sum(self.kinds.values())


class Changed(Exception):
    """The filter means other rows than were counted; nothing was stored. `now` is what it means by now."""

    def __init__(self, now: Meant) -> None:
        super().__init__(f"the filter matches {now.n} samples by now")
        self.now = now


def meant(store: Store, reviewer: str, found: Filter) -> Meant:
    """Count what a filter means, over all pages."""
    with store.reading() as db:
        return _meant(db, reviewer, found)


def decide(store: Store, reviewer: str, found: Filter, action: str, expected: Meant) -> str:
    """Store the same decision on every row that the filter means; the batch's id.

    Raises:
        Changed: it means other rows than `expected`.
        InputError: the decision does not fit some of them, or there are none.
    """
    batch = uuid.uuid4().hex[:16]
    rows = matching(found, named(reviewer))
    with store.writing() as db:
        now = _meant(db, reviewer, found)
        if now != expected:
            raise Changed(now)
        for kind in now.kinds:
            if action not in actions(kind):
                raise InputError(f"{action!r} does not fit samples of kind {kind}: filter by kind first")
        if not now.n:
            raise InputError("the filter matches nothing: there is nothing to decide")
        db.execute(
            "INSERT INTO base.reviews "
            f"SELECT left(md5(concat($batch, run_id, sample_id)), 16), run_id, sample_id, {HASH}, $who, "
            "$action, NULL, '', '', NULL, $batch, '', now() AT TIME ZONE 'UTC', "
            f"{NEXT_REVIEW} + row_number() OVER () - 1, '' "
            f"FROM base.samples SEMI JOIN ({rows.sql}) USING (run_id, sample_id)",
            rows.values | {"batch": batch, "who": named(reviewer), "action": action},
        )
    return batch


def _meant(db: DuckDBPyConnection, reviewer: str, found: Filter) -> Meant:
    rows = matching(found, reviewer)
    counts = db.execute(
        "SELECT kind, count(*), count(v.run_id), bit_xor(md5_number(concat_ws(chr(31), run_id, sample_id))) "
        f"FROM ({rows.sql}) LEFT JOIN (SELECT DISTINCT run_id, sample_id FROM voices) v USING (run_id, sample_id) "
        "GROUP BY kind ORDER BY kind",
        rows.values,
    ).fetchall()
    which = " ".join(str(ids) for *_, ids in counts)
    return Meant({str(kind): int(n) for kind, n, *_ in counts}, sum(int(n) for _, _, n, _ in counts), which)
