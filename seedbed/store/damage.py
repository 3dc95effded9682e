"""What is broken in a store's file, told the same to whoever meets it.

DuckDB keeps a checksum of every block of the file and of every entry of its write-ahead log, so a turned bit in the
file is always found, if only when the block is read. A log that breaks off is nothing but a killed process's; but
DuckDB also takes one that begins wrongly for empty, and removes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from seedbed.literal_path import quoted

_LOG = bytes.fromhex("640062650002660010")  # how a log begins: its version (02) is the sixth byte
_IDENTITY = slice(124, 140)  # of a database, in its head; the log repeats it
_SIGNS = (
    "Corrupt database file",
    "Corrupt WAL file",
    "Failure while replaying WAL",
    "not a valid DuckDB database file",
    "Could not read enough bytes",
    "database has been invalidated",
    "Serialization Error",
    "INTERNAL Error",
    "Input/output error",
)
_NO_DAMAGE = ("Could not set lock", "Cannot open file", "version number")  # of those at `ATTACH`

TABLES = """
SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'seedbed' ORDER BY schema_name, table_oid
"""


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a file cannot be read whole: the rows of its whole tables, and its broken tables; neither if it is shut."""

    path: Path
    why: str
    whole: Mapping[str, int]
    broken: tuple[str, ...]

    def __str__(self) -> str:
        """What a user is told of it."""
        if not self.broken:
            return f"cannot open {self.path}, which is damaged: {self.why}.\nNothing of it can be read as it is."
        told = f"{self.path} is damaged: {self.why}."
        whole = ", ".join(f"{name} ({rows:,})" for name, rows in self.whole.items() if rows)
        return f"{told}\nOf its tables {', '.join(self.broken)} can be read in part, and whole: {whole or 'none'}."


def log_of(path: Path) -> Path:
    """The write-ahead log of a database; it is there only where a process was killed."""
    return path.with_name(f"{path.name}.wal")


def log_begins(path: Path) -> bytes:
    """How the log of this database begins, "" of what is none. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_IDENTITY.stop)
    if head[8:12] != b"DUCK":
        return b""
    numbers = (bytes([n]) if n < 0x80 else bytes([n | 0x80, n >> 7]) for n in head[_IDENTITY])  # LEB128
    return _LOG + b"".join(numbers) + b"\x67\x00"


def ignored_log(path: Path) -> bool:
    """Whether there is a log that DuckDB would take for empty though it is not."""
    try:
        with log_of(path).open("rb") as file:
            begins = file.read(64)
        expected = log_begins(path) if begins else b""
    except OSError:
        return False
    found = begins[: len(expected)]
    return not (expected[:5] + expected[6:]).startswith(found[:5] + found[6:])


def looks_damaged(error: duckdb.Error) -> bool:
    """Whether the file may be at fault; `examine` knows."""
    return any(sign in str(error) for sign in _SIGNS)


def first_line(error: duckdb.Error) -> str:
    """What DuckDB says, without the statement that it repeats."""
    return str(error).partition("\n")[0].rstrip(" .!")


def _why(path: Path, error: duckdb.Error) -> str:
    told = str(error)
    if "WAL" in told:
        return f"its write-ahead log {log_of(path).name} does not fit it, or a checksum in it does not match"
    if block := re.search(r"in block at location (\d+)", told):
        return f"what is at byte {int(block[1]):,} does not match its checksum"
    if "not a valid DuckDB" in told:
        return "it does not begin as a DuckDB file does"
    if "Could not read enough" in told:
        return f"it ends too early, at byte {path.stat().st_size:,}"
    return first_line(error)


def examine(path: Path) -> Damage | None:
    """Read the whole file, which nobody writes meanwhile; None where nothing is wrong with it."""
    if ignored_log(path):
        return Damage(path, f"{log_of(path).name} does not begin as its log does", {}, ())
    with duckdb.connect(":memory:") as db:
        try:
            db.execute(f"ATTACH '{quoted(path)}' AS seedbed (READ_ONLY)")
        except duckdb.Error as error:
            if any(sign in str(error) for sign in _NO_DAMAGE):
                return None
            return Damage(path, _why(path, error), {}, ())
        whole, broken, why = dict[str, int](), list[str](), ""
        for schema, table in db.execute(TABLES).fetchall():
            try:
                [(rows, _)] = db.execute(
                    f'SELECT count(*), bit_xor(hash(t)) FROM seedbed."{schema}"."{table}" t'
                ).fetchall()
            except duckdb.Error as error:
                broken.append(table)
                why = why or _why(path, error)
            else:
                whole[table] = rows
    return Damage(path, why, whole, tuple(broken)) if broken else None
