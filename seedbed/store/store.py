"""One DuckDB file that nobody holds: every unit of work is ATTACH … DETACH behind the turnstile.

So a flow, a review page and a user's SQL share the file with no server. Keep units short, and never wait for a
model inside one.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from seedbed import private
from seedbed.literal_path import quoted, unusable
from seedbed.store.damage import Damage, examine, first_line, ignored_log, looks_damaged
from seedbed.store.error import StoreError
from seedbed.store.neighbours import LONGEST_PAUSE, holder_in, named, wait
from seedbed.store.schema import MIGRATIONS
from seedbed.store.turnstile import Turnstile

FILE = "seedbed.duckdb"
Migrations = Sequence[tuple[str, str]]
Parameters = Sequence[object] | Mapping[str, object]
Turn = Callable[[], AbstractContextManager[None]]

# 2,048: a checkpoint rewrites the last row group of a table, so small groups keep the cost of an append flat.
ATTACH = "(STORAGE_VERSION 'v1.5.0', ROW_GROUP_SIZE 2048)"
READ_ONLY = "(READ_ONLY)"

_SETTINGS = (
    "SET enable_progress_bar = false; SET autoinstall_known_extensions = false; "
    "SET wal_autocheckpoint = '4GB'; "  # the checkpoint comes once, at DETACH
    "SET memory_limit = '512MB'; "  # what is more goes to the home's disk: rows may be many, and memory is the models'
    # Prompts begin alike: half the CPU and a quarter of the size of what DuckDB tries by itself.
    "SET force_compression = 'zstd'"
)


class Store:
    """The rows of one home folder. A home that may not be written is read all the same.

    Raises:
        StoreError: the folder cannot be used, or the file is damaged, newer than this version or not a store.
    """

    def __init__(self, home: Path, migrations: Migrations = MIGRATIONS) -> None:
        self.home, self.path = home, home / FILE
        self._migrations = migrations
        if what := unusable(home):
            raise StoreError(f"DuckDB cannot use a path with {what}: {home}. Choose another home with --home.")
        try:
            self._turnstile = Turnstile(private.folder(home))
        except OSError as error:
            raise StoreError(_not_writable(home, error.strerror or str(error))) from error
        self._connection = self.another()
        self._ready()

    @property
    def patience(self) -> float:
        """Seconds that a unit of work waits for other processes; may be set at any time."""
        return self._turnstile.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._turnstile.patience = seconds

    @contextmanager
    def reading(self, connection: duckdb.DuckDBPyConnection | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection on which the views can be queried, shared with other readers; the one given, or the store's."""
        connection = connection or self._connection
        with self._unit(self._turnstile.shared, READ_ONLY, connection):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction, committed at the end or rolled back whole."""
        connection = self._connection
        with self._unit(self._exclusive, ATTACH, connection):
            connection.execute("BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(duckdb.Error):  # a failed commit has rolled back already
                    connection.execute("ROLLBACK")
                raise

    def another(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB for `reading`, set as the store's own is. What is too much for memory goes into the home."""
        connection = duckdb.connect(":memory:")
        connection.execute(_SETTINGS)
        if self._turnstile.writable:
            connection.execute(f"SET temp_directory = '{quoted(self.home / 'spill')}'")
        return connection

    def still(self) -> AbstractContextManager[None]:
        """Nobody writes the file, for as long as this lasts."""
        return self._turnstile.shared()

    def wanted(self) -> bool:
        """Whether somebody waits to write, asked by another thread while this process reads."""
        return self._turnstile.wanted()

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

    def check(self) -> None:
        """Read the whole file, every block of which has a checksum. Raises StoreError where it is damaged."""
        with self._turnstile.shared():
            if damage := examine(self.path):
                raise StoreError(self._damaged(damage))

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
    def _exclusive(self) -> Iterator[None]:
        if not self._turnstile.writable:
            raise StoreError(_not_writable(self.home, "it may only be read"))
        with self._turnstile.exclusive(), self._one_thread():
            yield

    @contextmanager
    def _unit(self, turn: Turn, options: str, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """The file attached to a connection, while the turn is ours."""
        with self._entered(turn, options, connection):
            try:
                try:
                    connection.execute("USE seedbed")
                    yield
                finally:
                    connection.execute("USE memory")
                    connection.execute("DETACH seedbed")
            except duckdb.Error as error:
                if told := self._told(error, writes=options != READ_ONLY):
                    raise StoreError(told) from error
                raise

    def _entered(self, turn: Turn, options: str, connection: duckdb.DuckDBPyConnection) -> ExitStack:
        """Attach the file; where a program that knows no turnstile has it, leave the turn to others and try again."""
        entered, refused = ExitStack(), ""

        def attempt() -> bool:
            nonlocal refused
            with ExitStack() as stack:
                stack.enter_context(turn())
                refused = self._attach(options, connection)
                if not refused:
                    entered.push(stack.pop_all())
            return not refused

        if not attempt():  # a quarter of the time: such a program may keep the file for hours
            wait(attempt, lambda: self.patience / 4, lambda: self._held_by(refused), LONGEST_PAUSE)
        return entered

    def _held_by(self, refused: str) -> str:
        who = named(holder_in(refused))
        return f"{self.path} is open in a program that holds it (`seedbed sql` never does): {who}"

    def _attach(self, options: str, connection: duckdb.DuckDBPyConnection) -> str:
        """Attach the file; what DuckDB says where another program holds it, else ""."""
        if ignored_log(self.path):
            raise StoreError(self._damaged(examine(self.path)))
        try:
            connection.execute(f"ATTACH '{quoted(self.path)}' AS seedbed {options}")
        except duckdb.Error as error:
            if "Could not set lock" in str(error):
                return str(error)
            damage = examine(self.path)
            told = self._damaged(damage) if damage else f"cannot open {self.path}: {first_line(error)}"
            raise StoreError(told) from error
        return ""

    def _told(self, error: duckdb.Error, writes: bool) -> str:
        """What is to be said of an error that is no fault of the statement; "" where it is one."""
        if looks_damaged(error) and (damage := examine(self.path)):
            return self._damaged(damage)
        if writes and isinstance(error, duckdb.IOException | duckdb.TransactionException):
            return _full_disk(self.home, error)
        return ""

    def _damaged(self, damage: Damage | None) -> str:
        return f"{damage}\nSave what can be read:  seedbed doctor --rescue --home {shlex.quote(str(self.home))}"

    def _ready(self) -> None:
        if self.path.is_symlink() and not self.path.exists():
            raise StoreError(f"{self.path} leads to {self.path.readlink()}, which is not there: is its disk mounted?")
        if not self.path.exists():
            self._create()
        version, known = self.version(), len(self._migrations)
        if version > known:
            raise StoreError(
                f"{self.path} has schema version {version}, this Seedbed knows up to {known}. "
                "Update Seedbed, or name another home folder with --home."
            )
        if version < known:
            self._migrate(version)

    def _create(self) -> None:
        """Make the file under another name first: a crash must not leave an empty file that nothing opens."""
        with self._exclusive():
            if self.path.exists():
                return
            new = self.path.with_name(f"{FILE}.new")
            try:
                create(new, self._migrations)
            except duckdb.Error as error:
                raise StoreError(_full_disk(self.home, error)) from error
            new.replace(self.path)

    def _migrate(self, version: int) -> None:
        if not self._turnstile.writable:
            raise StoreError(
                f"{self.path} has schema version {version} and this Seedbed reads {len(self._migrations)}, but may not "
                "write there to bring it up to date. Copy the folder to where you may, and name that with --home."
            )
        with self._unit(self._exclusive, ATTACH, self._connection):
            connection = self._connection
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


def create(path: Path, migrations: Migrations) -> None:
    """Make an empty store in a file for its owner alone, in place of what a crash left there. Raises duckdb.Error."""
    _remove(path)
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH '{quoted(path)}' AS seedbed {ATTACH}; USE seedbed; BEGIN")
        connection.execute("CREATE TABLE applied (version INTEGER, name VARCHAR)")
        _apply(connection, migrations, after=0)
        connection.execute("COMMIT; USE memory; DETACH seedbed")
    private.shut(path)


def _apply(connection: duckdb.DuckDBPyConnection, migrations: Migrations, after: int) -> None:
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
    connection.execute(f"ATTACH '{quoted(new)}' AS backup {ATTACH}")
    try:
        connection.execute("COPY FROM DATABASE seedbed TO backup; DETACH backup")
    except duckdb.Error:
        _remove(new)
        raise
    private.shut(new)
    new.replace(backup)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


def _not_writable(home: Path, why: str) -> str:
    return f"cannot write in the home folder {home}: {why}. Choose another with --home or SEEDBED_HOME."


def _full_disk(home: Path, error: duckdb.Error) -> str:
    return (
        f"could not write in {home}: {error}. If the disk is full, make room and run the same command again: "
        "what was stored before is intact, and calls already paid for are not made again."
    )
