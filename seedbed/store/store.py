"""One DuckDB file that nobody holds: every unit of work is ATTACH … DETACH behind the turnstile.

So a flow, a review page and a user's SQL share the file with no server. Keep units short, and never wait for a
model inside one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from seedbed.store.schema import MIGRATIONS
from seedbed.store.turnstile import Turnstile

FILE = "seedbed.duckdb"
Parameters = Sequence[object] | Mapping[str, object]

# 2,048: a checkpoint rewrites the last row group of a table, so small groups keep the cost of an append flat.
_ATTACH = "(STORAGE_VERSION 'v1.5.0', ROW_GROUP_SIZE 2048)"


class StoreError(Exception):
    """The store cannot be used as it is: the message says why and what to do."""


class Store:
    """The rows of one home folder.

    Raises:
        StoreError: the folder cannot be used, or the file is newer than this version or not a store.
    """

    def __init__(self, home: Path, migrations: Sequence[tuple[str, str]] = MIGRATIONS) -> None:
        self.home, self.path = home, home / FILE
        self._migrations = migrations
        if "?" in str(home.absolute()):
            raise StoreError(f"DuckDB cannot use a path with a question mark: {home}. Choose another home with --home.")
        try:
            home.mkdir(parents=True, exist_ok=True)
            self._turnstile = Turnstile(home)
        except OSError as error:
            raise StoreError(
                f"cannot write in the home folder {home}: {error.strerror}. Choose another with --home or SEEDBED_HOME."
            ) from error
        self._connection = duckdb.connect(":memory:")
        self._connection.execute(
            "SET enable_progress_bar = false; SET autoinstall_known_extensions = false; "
            "SET wal_autocheckpoint = '4GB'; "  # the checkpoint comes once, at DETACH
            # Prompts begin alike: half the CPU and a quarter of the size of what DuckDB tries by itself.
            "SET force_compression = 'zstd'"
        )
        self._ready()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection on which the views can be queried, shared with other readers."""
        with self._turnstile.shared(), self._attached("(READ_ONLY)") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction, committed at the end or rolled back whole."""
        with self._turnstile.exclusive(), self._one_thread(), self._attached(_ATTACH) as connection:
            connection.execute("BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except (duckdb.IOException, duckdb.TransactionException) as error:
                with suppress(duckdb.Error):  # a failed commit has rolled back already
                    connection.execute("ROLLBACK")
                raise StoreError(_full_disk(self.home, error)) from error
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def query(self, sql: str, parameters: Parameters = ()) -> pa.Table:
        """The answer to one read-only statement, as an Arrow table."""
        with self.reading() as connection:
            return connection.sql(sql, params=parameters).to_arrow_table()

    def rows(self, sql: str, parameters: Parameters = ()) -> list[dict[str, object]]:
        """The answer to one read-only statement, a dict a row."""
        rows: list[dict[str, object]] = self.query(sql, parameters).to_pylist()
        return rows

    def version(self) -> int:
        """How many migrations the file has had."""
        with self.reading() as connection:
            return _version(connection)

    def close(self) -> None:
        """Let go of the connection and the locks."""
        self._connection.close()
        self._turnstile.close()

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """Appends are too small to share out: with several threads they cost twice the CPU and take longer."""
        self._connection.execute("SET threads = 1")
        try:
            yield
        finally:
            self._connection.execute("RESET threads")

    @contextmanager
    def _attached(self, options: str) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._connection
        try:
            connection.execute(f"ATTACH '{_quoted(self.path)}' AS seedbed {options}")
        except duckdb.Error as error:
            raise StoreError(_unopenable(self.path, error)) from error
        try:
            connection.execute("USE seedbed")
            yield connection
        finally:
            connection.execute("USE memory")
            try:
                connection.execute("DETACH seedbed")
            except duckdb.Error as error:
                raise StoreError(_full_disk(self.home, error)) from error

    def _ready(self) -> None:
        if not self.path.exists():
            self._create()
        version, known = self.version(), len(self._migrations)
        if version > known:
            raise StoreError(
                f"{self.path} has schema version {version}, this Seedbed knows up to {known}. "
                "Update Seedbed, or name another home folder with --home."
            )
        if version < known:
            self._migrate()

    def _create(self) -> None:
        """Make the file under another name first: a crash must not leave an empty file that nothing opens."""
        with self._turnstile.exclusive():
            if self.path.exists():
                return
            new = self.path.with_name(f"{FILE}.new")
            _remove(new)
            try:
                with duckdb.connect(":memory:") as connection:
                    connection.execute(f"ATTACH '{_quoted(new)}' AS seedbed {_ATTACH}; USE seedbed; BEGIN")
                    connection.execute("CREATE TABLE applied (version INTEGER, name VARCHAR)")
                    _apply(connection, self._migrations, after=0)
                    connection.execute("COMMIT; USE memory; DETACH seedbed")
            except duckdb.Error as error:
                raise StoreError(_full_disk(self.home, error)) from error
            new.replace(self.path)

    def _migrate(self) -> None:
        with self._turnstile.exclusive(), self._attached(_ATTACH) as connection:
            version = _version(connection)  # another process may have been faster
            if version >= len(self._migrations):
                return
            _back_up(connection, self.path.with_name(f"{FILE}.v{version}-backup"))
            connection.execute("BEGIN")
            try:
                _apply(connection, self._migrations, after=version)
                connection.execute("COMMIT")
            except duckdb.Error as error:
                connection.execute("ROLLBACK")
                raise StoreError(
                    f"could not bring {self.path} from version {version} up to date: {error}. "
                    f"Nothing was changed; the backup is {FILE}.v{version}-backup."
                ) from error


def _apply(connection: duckdb.DuckDBPyConnection, migrations: Sequence[tuple[str, str]], after: int) -> None:
    for number, (name, sql) in enumerate(migrations[after:], start=after + 1):
        connection.execute(sql)
        connection.execute("INSERT INTO applied VALUES (?, ?)", [number, name])


def _version(connection: duckdb.DuckDBPyConnection) -> int:
    try:
        [(version,)] = connection.execute("SELECT coalesce(max(version), 0) FROM applied").fetchall()
    except duckdb.CatalogException as error:
        raise StoreError("the file is a DuckDB database, but no Seedbed store; choose another --home") from error
    return int(version)


def _back_up(connection: duckdb.DuckDBPyConnection, backup: Path) -> None:
    """Copy through DuckDB: opening an attached file by its path would drop the lock that this process holds."""
    new = backup.with_name(f"{backup.name}.new")
    _remove(new)
    connection.execute(f"ATTACH '{_quoted(new)}' AS backup {_ATTACH}")
    connection.execute("COPY FROM DATABASE seedbed TO backup")
    connection.execute("DETACH backup")
    new.replace(backup)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _unopenable(path: Path, error: duckdb.Error) -> str:
    if "lock" in str(error):
        return (
            f"{path} is open in a program that holds it (a DuckDB shell or notebook?): {error}. "
            "Close it and run the same command again; nothing is lost. `seedbed sql` never holds the file."
        )
    return f"cannot open {path}: {error}. If the disk is full, make room; nothing that was stored is lost."


def _full_disk(home: Path, error: duckdb.Error) -> str:
    return (
        f"could not write in {home}: {error}. If the disk is full, make room and run the same command again: "
        "what was stored before is intact, and calls already paid for are not made again."
    )
