"""Where each recorded call stands in the store, asked before every call that is made."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seedbed.store.store import Store


class CallIndex:
    """Where each recorded call stands: 16 bytes a call, so that a million cost 16 MB and no query."""

    def __init__(self, store: Store) -> None:
        with store.reading() as connection:
            found = connection.execute(
                "SELECT TRY_CAST('0x' || call_id[1:16] AS UBIGINT) AS key, rowid AS row FROM base.calls "
                "WHERE status <> 'error' AND key IS NOT NULL ORDER BY key"  # an id that is none is never asked for
            ).fetchnumpy()
        self._keys: npt.NDArray[np.uint64] = np.asarray(found["key"], dtype=np.uint64)
        self._rows: npt.NDArray[np.int64] = np.asarray(found["row"], dtype=np.int64)
        self._search = self._keys.data  # a quarter of the price of asking NumPy for one key
        self._tail: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys) + len(self._tail)

    def row(self, call_id: str) -> int | None:
        """The row number that the call most likely has (64 of its 96 bits are compared)."""
        key = int(call_id[:16], 16)
        found = self._tail.get(key)
        if found is None and len(self._keys):
            place = bisect_left(self._search, key)
            if place < len(self._search) and self._search[place] == key:
                return int(self._rows[place])
        return found

    def add(self, rows: Sequence[tuple[str, int]]) -> None:
        """Take newly committed calls in."""
        self._tail.update((int(call_id[:16], 16), row) for call_id, row in rows)
        if len(self._tail) > 65_536:
            keys = np.concatenate([self._keys, np.fromiter(self._tail.keys(), np.uint64)])
            rows_ = np.concatenate([self._rows, np.fromiter(self._tail.values(), np.int64)])
            order = np.argsort(keys, kind="stable")
            self._keys, self._rows, self._tail = keys[order], rows_[order], {}
            self._search = self._keys.data
