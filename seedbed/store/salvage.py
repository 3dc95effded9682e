"""What can still be read of a damaged file goes into a new store, row group by row group.

Each block of a file has its own checksum, so a broken one costs what lies in it and nothing else. A file that cannot be
opened at all has a fault in its head, its catalog or its log. The head is in three parts: what kind of file it is, the
same in all stores, and the last two checkpoints in turns, each of which knows where its own catalog lies. So one of
these, or doing without the log, opens many such files. Copies are patched, never the file itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from seedbed.literal_path import quoted
from seedbed.store.damage import TABLES, ignored_log, log_begins, log_of
from seedbed.store.schema import MIGRATIONS
from seedbed.store.store import ATTACH, create

_HEAD, _USED = 4096, 64  # bytes of each part of the head, and how many of a checkpoint's are more than filling
_GROUP = 2048  # rows
# A call without these is still an answer that need not be paid for again.
SPARED = {
    "calls": frozenset({"run_id", "step", "model", "revision", "prompt", "request", "seconds", "usd", "created_at"})
}


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of a table: rows copied, rows lost (None: nobody knows how many), and columns lost, by rows."""

    table: str
    kept: int
    lost: int | None
    without: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Salvage:
    """All tables, and by what means the file was opened: "" as it is, None where nothing opened it."""

    means: str | None
    tables: Sequence[Copied]


def salvage(path: Path, new: Path, folder: Path) -> Salvage:
    """Make a store in `new` of what can be read in `path`; patched copies go into `folder`. Raises duckdb.Error."""
    create(folder / "fresh.duckdb", MIGRATIONS)
    for openable, means in _openings(path, folder):
        with duckdb.connect(":memory:") as old:
            if _opens(old, openable):
                create(new, MIGRATIONS[: _version(old)])
                return Salvage(means, _copy_all(old, new))
    create(new, MIGRATIONS)
    return Salvage(None, ())


def _openings(path: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """Ways to open the file, the least loss first."""
    if not ignored_log(path):
        yield path, ""
    copy = folder / "patched.duckdb"
    shutil.copyfile(path, copy)
    kind, one, other = _head(path)
    earlier = "at the one of its two last states that is whole"
    for kind_now in (kind, _head(folder / "fresh.duckdb")[0]):
        for checkpoints, when in (((one, other), ""), ((one, one), earlier), ((other, other), earlier)):
            with copy.open("r+b") as file:
                file.write(b"".join((kind_now, *checkpoints)))
            for log, means in _logs(path):
                log_of(copy).write_bytes(log)
                yield copy, ", ".join(filter(None, (when, means))) or "with its head mended"


def _head(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        kind, *checkpoints = (file.read(_HEAD) for _ in range(3))
    return [kind, *(checkpoint[:_USED].ljust(_HEAD, b"\0") for checkpoint in checkpoints)]


def _logs(path: Path) -> list[tuple[bytes, str]]:
    if not log_of(path).exists():
        return [(b"", "")]
    log = log_of(path).read_bytes()
    begins = log_begins(path)
    mended = begins + log[len(begins) :]
    whole = [] if ignored_log(path) else [(log, "")]
    return [*whole, (mended, "with its log mended"), (b"", f"without its log of {len(log):,} bytes")]


def _opens(old: duckdb.DuckDBPyConnection, path: Path) -> bool:
    try:
        old.execute(f"ATTACH '{quoted(path)}' AS seedbed (READ_ONLY); USE seedbed")
    except duckdb.Error:
        return False
    return bool(old.execute(TABLES).fetchall())


def _version(old: duckdb.DuckDBPyConnection) -> int:
    """How many migrations the file has had; where that cannot be read, as many as its columns show."""
    try:
        [(version,)] = old.execute("SELECT max(version) FROM applied").fetchall()
        return int(version)
    except duckdb.Error:
        there = _columns(old)
    shown = [0]
    with duckdb.connect(":memory:") as made:
        for number, (_, sql) in enumerate(MIGRATIONS, start=1):
            made.execute(sql)
            if _columns(made) <= there:
                shown.append(number)
    return shown[-1]


def _columns(db: duckdb.DuckDBPyConnection) -> set[tuple[str, str, str]]:
    found = db.execute(
        "SELECT schema_name, table_name, column_name FROM duckdb_columns() JOIN duckdb_tables() "
        "USING (database_name, schema_name, table_name) WHERE database_name = current_database()"
    ).fetchall()
    return set(found)


def _copy_all(old: duckdb.DuckDBPyConnection, new: Path) -> list[Copied]:
    with duckdb.connect(":memory:") as db:
        db.execute(f"ATTACH '{quoted(new)}' AS seedbed {ATTACH}; USE seedbed; BEGIN")
        copied = [_copy(old, db, *name) for name in old.execute(TABLES).fetchall() if name[1] != "applied"]
        db.execute("COMMIT; USE memory; DETACH seedbed")
    return copied


def _copy(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection, schema: str, table: str) -> Copied:
    columns = _shared(old, new, schema, table)
    name = f'"{schema}"."{table}"'
    try:
        [(rows,)] = old.execute(f"SELECT coalesce(max(rowid) + 1, 0) FROM {name}").fetchall()
    except duckdb.Error:
        return Copied(table, 0, None)
    kept = lost = 0
    without = dict[str, int]()
    for first in range(0, rows, _GROUP):
        group, spared = _group(old, name, columns, first, SPARED.get(table, frozenset()))
        if group is None:
            lost += min(_GROUP, rows - first)
            continue
        new.register("rescued", group)
        new.execute(f"INSERT INTO {name} BY NAME SELECT * FROM rescued")
        new.unregister("rescued")
        kept += group.num_rows
        for column in spared:
            without[column] = without.get(column, 0) + group.num_rows
    return Copied(table, kept, lost, without)


def _shared(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection, schema: str, table: str) -> list[str]:
    """The columns of a table; one that is not ours (somebody added it) is made first."""
    ours = _columns(new)
    theirs = [column for s, t, column in sorted(_columns(old)) if (s, t) == (schema, table)]
    if not any((s, t) == (schema, table) for s, t, _ in ours):
        [(sql,)] = old.execute(
            "SELECT sql FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?", [schema, table]
        ).fetchall()
        new.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"; {sql}')
        return theirs
    return [column for column in theirs if (schema, table, column) in ours]


def _group(
    old: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str], first: int, spared: frozenset[str]
) -> tuple[pa.Table | None, Sequence[str]]:
    """A row group, and which of its columns are NULL because they cannot be read; None where too many are."""
    found = _read(old, name, columns, first)
    if found is not None:
        return found, ()
    readable = [column for column in columns if _read(old, name, [column], first) is not None]
    broken = [column for column in columns if column not in readable]
    return (_read(old, name, readable, first), broken) if spared.issuperset(broken) else (None, ())


def _read(old: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str], first: int) -> pa.Table | None:
    names = ", ".join(f'"{column}"' for column in columns)
    try:
        return old.sql(
            f"SELECT {names} FROM {name} WHERE rowid >= ? AND rowid < ?", params=[first, first + _GROUP]
        ).to_arrow_table()
    except duckdb.Error:
        return None
