"""A user's own SQL: it may read the store and nothing else, and it keeps no run waiting for long.

The statement has a DuckDB of its own, shut as DuckDB itself can shut it: no file, no network, no extension, no secret,
and no setting may be changed. While it reads, nobody can write; so where a writer waits, what takes long goes on in a
copy of the file.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from seedbed.errors import InputError
from seedbed.literal_path import quoted
from seedbed.store.damage import log_of
from seedbed.store.store import Store

READING = frozenset({"SELECT", "EXPLAIN", "PRAGMA", "MULTI"})  # as DuckDB calls them; PIVOT is of the last kind
SAFE = (
    "SET allow_persistent_secrets = false; "
    "SET autoload_known_extensions = false; SET allow_community_extensions = false; "
    "SET enable_external_access = false; SET lock_configuration = true"
)
WAITED = 2.0  # seconds for which a writer waits before a statement is moved
_LOOK = 0.1
_SHUT = "`seedbed sql` only reads the store. With --unsafe it may do what DuckDB can: read and write files, say"


def ask(store: Store, statement: str, unsafe: bool = False) -> pa.Table:
    """The answer to one statement; `unsafe` lets it do whatever DuckDB can do beside a store that it may only read.

    Raises:
        InputError: it is not one statement, or does more than read.
        duckdb.Error: DuckDB's own complaint about it.
    """
    _check(statement, unsafe)
    moved = threading.Event()
    with store.another() as own:
        try:
            with store.reading(own), _watched(store, own, moved):
                return _answer(own, statement, unsafe)
        except duckdb.InterruptException:
            if not moved.is_set():
                raise
    with store.another() as own:
        with _copied(store) as copy:
            own.execute(f"ATTACH '{quoted(copy)}' AS seedbed (READ_ONLY); USE seedbed")
        return _answer(own, statement, unsafe)


def _check(statement: str, unsafe: bool) -> None:
    statements = duckdb.extract_statements(statement)
    if len(statements) != 1:
        raise InputError(f"write one statement, not {len(statements)}")
    try:
        kind = statements[0].type.name
    except ValueError:  # newer than its Python names
        kind = "this"
    if kind not in READING and not unsafe:
        raise InputError(f"{kind} does more than read. {_SHUT}")


def _answer(db: duckdb.DuckDBPyConnection, statement: str, unsafe: bool) -> pa.Table:
    if not unsafe:
        db.execute(SAFE)
    try:
        found = db.sql(statement)
        return pa.table({}) if found is None else found.to_arrow_table()  # one such as SET has no answer
    except duckdb.Error as error:
        if isinstance(error, duckdb.PermissionException) or "configuration has been locked" in str(error):
            raise InputError(f"{error}\n{_SHUT}") from error
        raise


@contextmanager
def _watched(store: Store, own: duckdb.DuckDBPyConnection, moved: threading.Event) -> Iterator[None]:
    """Interrupt a statement for which a writer has waited, if there is room for a copy to go on in."""
    over = threading.Event()

    def look() -> None:
        waited = 0.0
        while waited < WAITED:
            if over.wait(_LOOK):
                return
            waited = waited + _LOOK if store.wanted() else 0.0
        if shutil.disk_usage(store.home).free > 2 * store.path.stat().st_size:
            moved.set()
            own.interrupt()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


@contextmanager
def _copied(store: Store) -> Iterator[Path]:
    """The file as it is now, in another place, which is gone by name at the end."""
    with tempfile.TemporaryDirectory(prefix=".asked-", dir=store.home, ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / store.path.name
        with store.still():
            shutil.copyfile(store.path, copy)
            if log_of(store.path).exists():
                shutil.copyfile(log_of(store.path), log_of(copy))
        yield copy
