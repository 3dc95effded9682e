"""A damaged store: told alike by every command, and saved as far as it can be read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from benchmarks.mock_server import running
from seedbed.errors import InputError
from seedbed.journal import lease
from seedbed.literal_path import quoted
from seedbed.rescue import rescue
from seedbed.store import Store, StoreError
from seedbed.store.damage import examine, log_begins
from seedbed.store.salvage import salvage
from seedbed.store.schema import MIGRATIONS
from seedbed.store.store import ATTACH, FILE
from tests.grown import rows, stored
from tests.test_run import BALANCE, exported, facts, recipe, seedbed, sql, stats

HEAD, BLOCK = 3 * 4096, 262_144
CALLS = """
INSERT INTO base.calls (call_id, run_id, step, prompt, response, finish, tokens_in, tokens_out, status, error)
SELECT md5(n::VARCHAR)[1:24], 'run1', 'answer', (SELECT string_agg(hash(n * 100 + k)::VARCHAR) FROM range(12) t(k)),
       'answer ' || n, 'stop', 1, 1, 'ok', '' FROM range(9000) r(n)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store of several blocks and row groups."""
    home = tmp_path_factory.mktemp("whole")
    store = stored(home, rows(300))
    with store.writing() as db:
        db.execute(CALLS)
    with store.writing() as db:  # so that the two last checkpoints hold the same
        db.execute("UPDATE base.runs SET seconds = 2")
    store.close()
    return (home / FILE).read_bytes()


@pytest.fixture
def home(tmp_path, whole):
    (tmp_path / FILE).write_bytes(whole)
    return tmp_path


def turn(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x20
    path.write_bytes(data)


def counts(home: Path) -> dict[str, int]:
    store = Store(home)
    found = {name: store.rows(f"SELECT count(*) AS n FROM base.{name}")[0]["n"] for name in ("calls", "samples")}
    store.close()
    return {name: int(str(n)) for name, n in found.items()}


def block_of(whole: bytes, column: str) -> int:
    """Where the first block lies that holds nothing but a column of `calls`."""
    with duckdb.connect() as db:
        path = Path(os.environ["PYTEST_TMP"]) / "block.duckdb"
        path.write_bytes(whole)
        db.execute(f"ATTACH '{quoted(path)}' AS s (READ_ONLY); USE s")
        found = db.execute(
            "SELECT block_id, list(DISTINCT column_name) AS names FROM pragma_storage_info('base.calls') "
            "WHERE block_id >= 0 GROUP BY block_id HAVING names = [?] ORDER BY block_id",
            [column],
        ).fetchall()
        return HEAD + BLOCK * int(found[0][0])


@pytest.fixture(autouse=True)
def _workshop(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path_factory.mktemp("blocks")))


def test_a_turned_byte_in_any_block_is_noticed_and_what_is_not_in_that_block_is_saved(tmp_path, whole):
    everything = {"calls": 9000, "samples": 300}
    lost_all = 0
    for at in [*range(5, HEAD, 3000), *range(HEAD + 777, len(whole), 2 * BLOCK)]:
        home = tmp_path / str(at)
        home.mkdir()
        (home / FILE).write_bytes(whole)
        turn(home / FILE, at)
        if examine(home / FILE) is None:
            continue  # nothing lies there
        saved = rescue(home)
        assert (home / f"{FILE}.damaged").stat().st_size == len(whole) and saved.old.exists()
        found = counts(home)
        lost = {copied.table: copied.lost or 0 for copied in saved.tables}
        assert all(found[name] + lost.get(name, everything[name]) == everything[name] for name in everything), at
        lost_all += saved.means is None
        assert at >= HEAD or found == everything, "a broken head costs nothing"
        shutil.rmtree(home)
    assert lost_all <= 1, "only where the catalog lies"


def test_every_command_tells_of_the_damage_alike_and_leaves_the_file_as_it_is(home, whole):
    turn(home / FILE, block_of(whole, "prompt") + 999)
    before = (home / FILE).read_bytes()
    store = Store(home)
    told = set()
    for unit in (
        lambda: store.rows("SELECT max(prompt) FROM calls"),
        lambda: store.query("FROM calls"),
        lambda: store.check(),
    ):
        with pytest.raises(StoreError) as refused:
            unit()
        told.add(str(refused.value))
    done = seedbed("sql", "SELECT max(prompt) FROM calls", home=home)
    assert done.returncode == 1
    told.add(done.stderr.strip())
    told |= {check["seen"] for check in facts("doctor", home=home) if check["name"] == "store" and not check["ok"]}
    [said] = told
    assert "damaged: what is at byte" in said and "calls can be read in part" in said and "samples (300)" in said
    assert f"seedbed doctor --rescue --home {home}" in said
    assert (home / FILE).read_bytes() == before
    assert store.rows("SELECT count(*) AS n FROM samples WHERE question <> ''") == [{"n": 300}], "the rest is there"


def test_a_unit_that_writes_into_what_is_damaged_says_so_and_not_that_the_disk_is_full(home, whole):
    for at in range(HEAD + BLOCK + 777, len(whole), BLOCK):
        turn(home / FILE, at)
    store = Store(home)
    with pytest.raises(StoreError) as refused, store.writing() as db:
        db.execute("INSERT INTO base.calls (call_id) VALUES ('x')")
    assert "is damaged" in str(refused.value) and "disk is full" not in str(refused.value)


@pytest.mark.parametrize("spoil", [b"", b"hello\n" * 9, b"\0" * 50_000, "half", "a block less", "the head only"])
def test_a_file_that_is_none_or_not_all_there_is_told_and_a_new_store_takes_its_place(home, whole, spoil):
    cut = {"half": whole[: len(whole) // 2], "a block less": whole[:-BLOCK], "the head only": whole[:HEAD]}
    (home / FILE).write_bytes(spoil if isinstance(spoil, bytes) else cut[spoil])
    told = set()
    for _ in range(2):
        with pytest.raises(StoreError) as refused:
            Store(home).check()
        told.add(str(refused.value))
    [said] = told
    assert "is damaged: it " in said and "--rescue" in said
    saved = rescue(home)
    assert saved.means is None or spoil in ("half", "a block less")
    Store(home).check()
    with pytest.raises(InputError, match="nothing is wrong"):
        rescue(home)


def test_what_was_saved_and_lost_is_told_with_what_to_do(home):
    (home / FILE).write_text("no database")
    done = seedbed("doctor", "--rescue", home=home)
    assert done.returncode == 0 and "Nothing could open it" in done.stdout
    assert f"The old file is {home / FILE}.damaged, as it was." in done.stdout
    assert seedbed("status", home=home).returncode == 0


KILLED = f"""
import os, sys
from pathlib import Path
from seedbed.store import Store
store = Store(Path(sys.argv[1]))
db = store._connection
db.execute(f"ATTACH '{{store.path}}' AS seedbed {ATTACH}; USE seedbed; BEGIN")
db.execute("INSERT INTO base.calls (call_id, response) SELECT 'c' || n, 'r' FROM range(500) r(n)")
db.execute("COMMIT")
os._exit(0)
"""


@pytest.mark.parametrize(
    ("spoil", "kept"),
    [
        (lambda log: log, 9500),
        (lambda log: log[:3] + b"\x07" + log[4:], 9500),
        (lambda log: b"\xff" * 9 + log[9:], 9500),
        (lambda log: log[:200] + bytes([log[200] ^ 0xFF]) + log[201:], 9000),
        (lambda log: b"no log of ours", 9000),
        (lambda log: log[:12] + bytes([log[12] ^ 0x80]) + log[13:], 9500),
        (lambda log: log[:12] + bytes([log[12] ^ 1]) + log[13:], 9500),
    ],
    ids=[
        "whole",
        "its fourth byte",
        "its first bytes",
        "in the middle",
        "another file",
        "whose it is",
        "whose it is, a bit of it",
    ],
)
def test_a_damaged_log_is_never_passed_over_in_silence(home, spoil, kept):
    subprocess.run([sys.executable, "-c", KILLED, str(home)], check=True)
    log = home / f"{FILE}.wal"
    written = log.read_bytes()
    assert written.startswith(log_begins(home / FILE))
    log.write_bytes(spoil(written))
    if spoil(written) != written:
        for _ in range(2):
            with pytest.raises(StoreError, match=r"is damaged: .*seedbed.duckdb.wal"):
                Store(home)
        saved = rescue(home)
        assert saved.means and (home / f"{FILE}.damaged.wal").read_bytes() == spoil(written)
    assert counts(home)["calls"] == kept


def test_a_log_torn_by_a_kill_is_no_damage(home):
    subprocess.run([sys.executable, "-c", KILLED, str(home)], check=True)
    log = home / f"{FILE}.wal"
    log.write_bytes(log.read_bytes()[:-7])
    assert counts(home)["calls"] == 9000


def test_a_call_whose_prompt_is_lost_keeps_its_answer(home, whole):
    turn(home / FILE, block_of(whole, "prompt") + 999)
    saved = rescue(home)
    [calls] = [copied for copied in saved.tables if copied.table == "calls"]
    assert (calls.kept, calls.lost, dict(calls.without)) == (9000, 0, {"prompt": 2048})
    assert Store(home).rows("SELECT count(*) AS n FROM calls WHERE response <> '' AND prompt IS NULL") == [{"n": 2048}]


def test_an_older_store_is_saved_as_what_it_is_and_then_brought_up_to_date(tmp_path):
    store = Store(tmp_path, MIGRATIONS[:3])
    with store.writing() as db:
        db.execute("INSERT INTO base.runs (run_id, recipe, status) SELECT 'r' || n, 'desk', 'done' FROM range(3) t(n)")
    store.close()
    turn(tmp_path / FILE, 100)
    saved = rescue(tmp_path)
    assert saved.means and Store(tmp_path).version() == len(MIGRATIONS)
    assert Store(tmp_path).rows("SELECT run_id, entry FROM base.runs ORDER BY entry")[-1] == {
        "run_id": "r2",
        "entry": 3,
    }


def test_tables_that_somebody_put_into_the_file_are_saved_too(home):
    with duckdb.connect(str(home / FILE)) as db:
        db.execute("CREATE SCHEMA mine; CREATE TABLE mine.notes AS SELECT 'note ' || n AS text FROM range(5) t(n)")
    turn(home / FILE, 100)
    rescue(home)
    assert Store(home).rows("SELECT count(*) AS n FROM mine.notes") == [{"n": 5}]


def test_a_rescue_waits_for_no_run_and_changes_nothing_while_one_is_at_work(home):
    turn(home / FILE, 100)
    before = (home / FILE).read_bytes()
    with lease(home, "run1"), pytest.raises(StoreError, match="run run1 is at work"):
        rescue(home)
    assert (home / FILE).read_bytes() == before
    with pytest.raises(InputError, match="no store in"):
        rescue(home / "nowhere")


def test_after_a_rescue_the_same_command_makes_the_lost_rows_again_and_exports_the_same_bytes(tmp_path):
    home = tmp_path / "home"
    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=12)
        facts("run", path, home=home)
        before, calls = exported(home), stats(base_url)["requests"]
        lose(home, ["samples", "verdicts", "runs"])
        [run] = facts("status", home=home)
        assert (
            run["status"] == "damaged"
            and seedbed("export", "scripted", tmp_path / "x.jsonl", home=home).returncode == 2
        )
        assert facts("run", path, home=home)["status"] == "done"
        assert stats(base_url)["requests"] == calls, "nothing was paid for again"
    assert exported(home) == before
    assert sql(BALANCE, home) == [{"n": 0}]


def lose(home: Path, tables: list[str]) -> None:
    """Put a store in the place of this one as a rescue makes it when all rows of these tables are lost."""
    from seedbed.store.aftermath import put_right

    store = Store(home)
    with store.writing() as db:
        for table in tables:
            db.execute(f"DELETE FROM base.{table}")
    put_right(store, tables)
    store.close()


def test_a_salvage_never_touches_the_file_it_is_made_of(home, tmp_path):
    turn(home / FILE, 5000)
    before = (home / FILE).read_bytes()
    (tmp_path / "folder").mkdir()
    salvage(home / FILE, tmp_path / "new.duckdb", tmp_path / "folder")
    assert (home / FILE).read_bytes() == before
