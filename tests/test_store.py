"""The store: shared by processes, never torn, refuses what it cannot read, migrates what is old."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import pytest

from seedbed.records import Content, Sample, Verdict
from seedbed.store import Store, StoreError
from seedbed.store.rows import Judged, add_tables, judged_tables
from seedbed.store.schema import MIGRATIONS

VIEWS = {
    "samples": "sample_id run_id kind method leaf status content parents model text_hash created_at",
    "calls": "call_id run_id step model revision prompt response tokens_in tokens_out seconds usd status error",
    "verdicts": "sample_id step curator keep score threshold reason call_ids transcript",
    "runs": "run_id recipe status made kept dropped failed pending calls calls_replayed tokens_in tokens_out "
    "seconds usd started_at",
    "funnel": "run_id step rows_in rows_out dropped reason n",
    "coverage": "run_id leaf target made kept dropped shortfall main_reason",
    "costs": "run_id step model calls tokens_in tokens_out seconds usd rows dropped yield tokens_per_row",
}


def judged(number: int, text: str = "") -> Judged:
    content = Content(question=text or f"question {number}", answer="answer")
    sample = Sample(
        sample_id=f"{number:020x}",
        kind="instruction",
        method="skills",
        leaf="a/b",
        ordinal=number,
        attempt=0,
        content=content,
        status="kept",
    )
    return Judged(number, sample, (Verdict(step="rules", curator="rules", keep=True),))


@pytest.mark.parametrize("view", VIEWS)
def test_every_documented_view_has_its_columns(tmp_path, view):
    columns = Store(tmp_path).query(f"SELECT * FROM {view}").column_names
    assert set(VIEWS[view].split()) <= set(columns)


def test_a_user_can_open_the_file_with_plain_duckdb(tmp_path):
    store = Store(tmp_path)
    with store.writing() as db:
        add_tables(db, judged_tables("r", [judged(1)]))
    with duckdb.connect(str(store.path), read_only=True) as plain:
        row = plain.execute("SELECT content->>'question', status FROM samples").fetchone()
    assert row == ("question 1", "kept")


def test_a_unit_of_work_that_fails_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.writing() as db:
        add_tables(db, judged_tables("r", [judged(1)]))
        raise RuntimeError
    assert store.rows("SELECT * FROM samples") == []


def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path):
    known = len(MIGRATIONS)
    Store(tmp_path, [*MIGRATIONS, ("from the future", "CREATE TABLE base.future (x INTEGER)")]).close()
    before = (tmp_path / "seedbed.duckdb").read_bytes()
    with pytest.raises(StoreError, match=rf"schema version {known + 1}, this Seedbed knows up to {known}.*Update"):
        Store(tmp_path)
    assert (tmp_path / "seedbed.duckdb").read_bytes() == before


def test_an_older_file_is_migrated_with_its_rows_and_a_backup(tmp_path):
    old = Store(tmp_path, MIGRATIONS[:1])
    with old.writing() as db:
        db.execute("INSERT INTO base.samples (run_id, sample_id) VALUES ('r', ?)", [f"{1:020x}"])
    old.close()
    assert Store(tmp_path).rows("SELECT sample_id FROM samples") == [{"sample_id": f"{1:020x}"}]
    with duckdb.connect(str(tmp_path / "seedbed.duckdb.v1-backup")) as backup:
        assert backup.execute("SELECT max(version), (SELECT count(*) FROM base.samples) FROM applied").fetchone() == (
            1,
            1,
        )


def test_a_failed_migration_changes_nothing(tmp_path):
    Store(tmp_path).close()
    with pytest.raises(StoreError, match="Nothing was changed"):
        Store(tmp_path, [*MIGRATIONS, ("broken", "CREATE TABLE base.half (x INTEGER); SELECT nothing")])
    assert Store(tmp_path).version() == len(MIGRATIONS)


def test_a_foreign_database_is_refused(tmp_path):
    with duckdb.connect(str(tmp_path / "seedbed.duckdb")) as foreign:
        foreign.execute("CREATE TABLE t (x INTEGER)")
    with pytest.raises(StoreError, match="no Seedbed store"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_written_is_named_with_a_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write in the home folder .*file/home.*--home"):
        Store(tmp_path / "file" / "home")
    with pytest.raises(StoreError, match=r"question mark: .*why\?.*--home"):
        Store(tmp_path / "why?")


def test_a_program_that_holds_the_file_is_named(tmp_path):
    store = Store(tmp_path)
    code = f"import duckdb, time; c = duckdb.connect({str(store.path)!r}); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline()
    try:
        with pytest.raises(StoreError, match=rf"(?s)holds it.*{holder.pid}"):
            store.rows("SELECT 1 AS one FROM runs")
    finally:
        holder.kill()
        holder.wait()
    assert store.rows("SELECT count(*) AS n FROM runs") == [{"n": 0}]


WRITER = """
    import itertools
    import sys
    from pathlib import Path
    from seedbed.store import Store
    from seedbed.store.rows import add_tables, judged_tables
    from tests.test_store import judged
    store, enough = Store(Path(sys.argv[1])), Path(sys.argv[1], "enough")
    for batch in itertools.count():
        if enough.exists():
            break
        with store.writing() as db:
            add_tables(db, judged_tables(sys.argv[2], [judged(batch * 100 + i) for i in range(100)]))
        print(batch, flush=True)
"""


def test_two_writers_and_a_reader_every_50_ms_see_no_error_and_only_whole_batches(tmp_path):
    store = Store(tmp_path)
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("a", "b")]
    seen = [0]
    while len(set(seen)) <= 10:  # the writers go on until the reader was let in so often
        assert [writer.poll() for writer in writers] == [None, None]
        n = store.rows("SELECT count(*) AS n FROM samples")[0]["n"]
        assert isinstance(n, int) and n % 100 == 0 and n >= seen[-1]
        seen.append(n)
        time.sleep(0.05)
    (tmp_path / "enough").touch()
    batches = sum(len(writer.communicate()[0].split()) for writer in writers)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert store.rows("SELECT count(*) AS n FROM samples")[0]["n"] == 100 * batches


def test_a_killed_writer_loses_nothing_acknowledged_and_frees_its_lock(tmp_path):
    store = Store(tmp_path)
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path), "a"]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    acknowledged = [int(writer.stdout.readline()) for _ in range(7)][-1]
    writer.kill()
    writer.wait()
    n = store.rows("SELECT count(*) AS n FROM samples")[0]["n"]
    assert isinstance(n, int) and n >= (acknowledged + 1) * 100 and n % 100 == 0


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    from seedbed.store import Store, StoreError
    from seedbed.store.rows import add_tables, judged_tables
    from tests.test_store import judged
    store = Store(Path(sys.argv[1]))
    with store.writing() as db:
        add_tables(db, judged_tables("r", [judged(0)]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (store.path.stat().st_size + 4096, resource.RLIM_INFINITY))
    try:
        with store.writing() as db:
            add_tables(db, judged_tables("r", [judged(i, str(i) * 500) for i in range(1, 5000)]))
    except StoreError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with store.writing() as db:
        add_tables(db, judged_tables("r", [judged(1)]))
    print(store.rows("SELECT count(*) AS n FROM samples"))
"""


def test_a_full_disk_is_said_and_what_was_stored_survives(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "could not write in" in done.stdout and "make room" in done.stdout, done.stderr
    assert Store(tmp_path).rows("SELECT count(*) AS n FROM samples") == [{"n": 2}], done.stdout


def test_the_store_is_made_whole_or_not_at_all(tmp_path):
    (tmp_path / "seedbed.duckdb.new").write_bytes(b"half a file that a crash left")
    assert Store(tmp_path).rows("SELECT * FROM runs") == []
    assert not Path(tmp_path / "seedbed.duckdb.new").exists()


# Of the SQL of migrations that somebody's store has had: edited, it would never reach that store.
SHIPPED = {
    "tables": "1bbbc21a",
    "views": "5ed91c2e",
    "curation": "3ee2a910",
    "costs": "61f9d128",
    "order": "5bbe0037",
    "answers": "3f1e6138",
    "conversations": "61fbb660",
}


def test_migrations_that_shipped_are_as_they_were():
    hashes = {name: hashlib.md5(sql.encode()).hexdigest()[:8] for name, sql in MIGRATIONS}
    assert list(hashes.items())[: len(SHIPPED)] == list(SHIPPED.items())


def test_a_pair_that_was_taken_in_is_a_pair_also_in_a_store_of_before(tmp_path):
    pair = "INSERT INTO base.samples (run_id, sample_id, kind, method, answer, rejected, status) "
    with Store(tmp_path, MIGRATIONS[: len(SHIPPED)]).writing() as db:
        db.execute(pair + "VALUES ('r', 'p', 'preference', 'rows', 'better', 'worse', 'kept')")
        assert db.execute("SELECT count(*) FROM preferences").fetchall() == [(0,)]
    found = Store(tmp_path).rows("SELECT sample_id, outcome, chosen, rejected, reason, judge FROM preferences")
    assert [tuple(row.values()) for row in found] == [("p", "pair", "better", "worse", "taken in as it was", None)]
