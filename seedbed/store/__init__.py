"""The store: one DuckDB file, short units of work, documented views."""

from seedbed.store.error import StoreError
from seedbed.store.store import Store

__all__ = ["Store", "StoreError"]
