"""`seedbed sql` reads the store and does nothing else, whatever the statement says."""

from __future__ import annotations

import pytest

from flows.show import sql
from seedbed.errors import InputError
from seedbed.store import Store
from tests.grown import rows, stored
from tests.test_run import seedbed

SECRET = "a secret of this machine"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    stored(home, rows(3)).close()
    return home


@pytest.fixture
def store(home, tmp_path, monkeypatch):
    """A store, and beside it what a statement might read or write; nothing of it may change."""
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "secret.csv").write_text(f"text\n{SECRET}\n")
    monkeypatch.chdir(tmp_path / "place")
    store, before = Store(home), sorted(home.iterdir())
    yield store
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["secret.csv"]
    assert sorted(home.iterdir()) == before
    assert store.rows("SELECT count(*) AS n FROM samples") == [{"n": 3}]
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT status, count(*) AS n FROM samples GROUP BY ALL",
        "FROM runs",
        "WITH s AS (FROM samples) SELECT max(score) FROM verdicts",
        "VALUES (1), (2)",
        "SHOW TABLES",
        "DESCRIBE samples",
        "SUMMARIZE samples",
        "EXPLAIN SELECT * FROM samples",
        "PRAGMA table_info('samples')",
        "PIVOT verdicts ON step USING count(*) GROUP BY run_id",
        "SELECT count(*) FROM base.samples a, base.samples b",
        "SELECT leaf FROM samples ORDER BY hash(question), question",
        "SELECT regexp_extract(content->>'question', '[0-9]+') FROM samples -- ; a comment",
    ],
)
def test_what_reads_the_store_is_answered(store, statement):
    assert sql(store, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "COPY samples TO 'out.csv'",
        "COPY (SELECT 1) TO 'out.parquet'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'out.csv'",
        "EXPORT DATABASE 'out'",
        "IMPORT DATABASE 'out'",
        "ATTACH 'other.duckdb'",
        "ATTACH ':memory:' AS other",
        "DETACH seedbed",
        "USE memory",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD 'extension.duckdb_extension'",
        "UPDATE EXTENSIONS",
        "FROM 'secret.csv'",
        "FROM read_csv('secret.csv')",
        "FROM read_text('/etc/passwd')",
        "FROM read_blob('secret.csv')",
        "FROM read_json('secret.csv')",
        "FROM parquet_scan('secret.csv')",
        "FROM glob('/etc/*')",
        "FROM sniff_csv('secret.csv')",
        "FROM read_duckdb('other.duckdb', table_name = 'samples')",
        "FROM query('FROM read_text(''secret.csv'')')",
        "FROM 'http://127.0.0.1:1/x.csv'",
        "CREATE SECRET s (TYPE http, BEARER_TOKEN 'x')",
        "CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET lock_configuration",
        "SET threads = 1",
        "PRAGMA enable_profiling",
        "PRAGMA profiling_output = 'out.json'",
        "CALL enable_logging(storage = 'file', storage_path = 'out')",
        "CREATE TABLE memory.t AS SELECT 1",
        "CREATE TEMP TABLE t AS SELECT 1",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN",
        "PREPARE p AS SELECT 1",
    ],
)
def test_what_does_more_is_refused_and_the_refusal_names_the_way_round(store, statement):
    with pytest.raises(InputError) as refused:
        sql(store, statement)
    assert "--unsafe" in str(refused.value) and SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM base.samples",
        "UPDATE base.samples SET answer = ''",
        "INSERT INTO base.runs DEFAULT VALUES",
        "DROP TABLE base.samples",
        "CREATE TABLE t (x INTEGER)",
        "WITH gone AS (DELETE FROM base.samples RETURNING *) FROM gone",
        "SELECT 1; DROP TABLE base.samples",
        "",
        "no SQL",
        "SELECT nothing",
        "FROM statement",
        "FROM pa",
    ],
)
@pytest.mark.parametrize("unsafe", [False, True])
def test_nothing_changes_the_store_and_a_mistake_is_told_with_the_views(store, statement, unsafe):
    with pytest.raises(InputError) as told:
        sql(store, statement, unsafe)
    said = str(told.value)
    assert "one statement" in said or "--unsafe" in said or "samples" in said
    assert unsafe or "Python" not in said, "our own variables are no tables"


def test_who_asks_for_more_gets_it(store, tmp_path):
    assert sql(store, "FROM read_csv('secret.csv')", unsafe=True).to_pylist() == [{"text": SECRET}]
    assert sql(store, "SET threads = 1", unsafe=True).to_pylist() == []
    out = tmp_path / "out.csv"
    assert sql(store, f"COPY (SELECT count(*) AS n FROM samples) TO '{out}'", unsafe=True).num_rows == 1
    assert out.read_text() == "n\n3\n"


def test_a_setting_of_one_statement_is_none_of_the_next(store):
    with pytest.raises(InputError):
        sql(store, "FROM read_csv('secret.csv')")
    sql(store, "SET threads = 1", unsafe=True)
    with store.writing() as db:
        assert db.execute("SELECT current_setting('enable_external_access')").fetchall() == [(True,)]
    assert sql(store, "FROM read_csv('secret.csv')", unsafe=True).to_pylist() == [{"text": SECRET}]


def test_the_command_refuses_and_does_as_it_is_told(home, tmp_path):
    out = tmp_path / "out.csv"
    copy = f"COPY (SELECT count(*) AS n FROM samples) TO '{out}'"
    refused = seedbed("sql", copy, home=home)
    assert refused.returncode == 2 and "--unsafe" in refused.stderr and not out.exists()
    done = seedbed("sql", "--unsafe", copy, home=home)
    assert done.returncode == 0 and out.read_text() == "n\n3\n"


def test_what_is_too_much_for_memory_is_put_by_in_the_home_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "home")
    with store.reading() as db:
        [(place,)] = db.execute("SELECT current_setting('temp_directory')").fetchall()
    assert place == str(tmp_path / "home" / "spill")
