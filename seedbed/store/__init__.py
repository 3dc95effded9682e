"""The store: one DuckDB file, short units of work, documented views."""

from seedbed.store.store import Store, StoreError

__all__ = ["Store", "StoreError"]
