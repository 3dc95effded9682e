"""Other processes at one store: whoever waits says for whom, nobody waits for ever, and a reader keeps no run back."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import pytest

from benchmarks.mock_server import running
from seedbed import ledger
from seedbed.store import Store, StoreError, asking, neighbours
from tests.test_ledger import Counting, asks, talk
from tests.test_run import await_requests, facts, recipe, sql, start, stats

READER = """
    import sys, time
    from pathlib import Path
    from seedbed.store import Store
    with Store(Path(sys.argv[1])).reading():
        print("in", flush=True)
        time.sleep(600)
"""
NOTEBOOK = """
    import duckdb, sys, time
    entered = 0
    while entered < 4:
        try:
            with duckdb.connect(sys.argv[1] + "/seedbed.duckdb") as db:
                db.execute("FROM runs").fetchall()
                time.sleep(0.05)
        except duckdb.IOException:
            continue
        entered += 1
        print("in", flush=True)
        time.sleep(0.4)
"""


@contextmanager
def beside(code, *arguments):
    """Another process at work, once it has said so; ended at the end."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    try:
        assert process.stdout.readline(), process.stderr.read()
        yield process
    finally:
        process.kill()
        process.communicate()


def until(true, seconds=60.0):
    ends = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.02)
    return found


def write(store):
    with store.writing() as db:
        db.execute("INSERT INTO base.targets VALUES ('run', 'skills', 'leaf', 1, '')")


def state(pid):
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0]


def test_whoever_waits_too_long_is_told_by_whom_it_is_kept_and_that_it_is_stopped(tmp_path):
    store = Store(tmp_path)
    with beside(READER, tmp_path) as reader:
        reader.send_signal(signal.SIGSTOP)
        until(lambda: state(reader.pid) == "T")
        store.patience = 0.3
        with pytest.raises(StoreError) as told:
            write(store)
        assert re.search(rf"in use by process {reader.pid} \(.*python.*\), which is stopped", str(told.value))
        assert f"kill -CONT {reader.pid}" in str(told.value) and "nothing is lost" in str(told.value)
        assert store.rows("SELECT count(*) AS n FROM runs") == [{"n": 0}], "readers are not in each other's way"
    store.patience = 60
    write(store)


def test_a_reader_behind_a_writer_that_waits_is_told_who_keeps_both(tmp_path):
    store = Store(tmp_path)
    writer = """
        import sys
        from pathlib import Path
        from seedbed.store import Store
        store = Store(Path(sys.argv[1]))
        print("ready", flush=True)
        with store.writing():
            pass
    """
    with beside(READER, tmp_path) as reader, beside(writer, tmp_path) as waiting:
        until(store.wanted)
        store.patience = 0.3
        with pytest.raises(StoreError, match=rf"in use by process {reader.pid} \("):
            store.rows("SELECT 1 AS one")
        reader.kill()
        assert waiting.wait(60) == 0


def test_a_wait_is_told_once_and_ends_when_the_other_does(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(neighbours, "SILENCE", 0.1)
    store = Store(tmp_path)
    with beside(READER, tmp_path) as reader, caplog.at_level(logging.WARNING, "seedbed.store"):
        ends = subprocess.Popen(["sh", "-c", f"sleep 1; kill {reader.pid}"])
        write(store)
        ends.wait()
    [record] = caplog.records
    assert f"process {reader.pid}" in record.getMessage() and "stopped" not in record.getMessage()


def test_patience_that_is_cut_short_ends_a_wait_under_way(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    store = Store(tmp_path)
    store.patience = 600
    with beside(READER, tmp_path) as reader, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(write, store)
        until(lambda: not waiting.done())
        store.patience = 0
        with pytest.raises(StoreError, match=str(reader.pid)):
            waiting.result(timeout=60)


IN_A_LOOP = """
    import asyncio, signal, sys
    from pathlib import Path
    from seedbed.store import Store, neighbours
    neighbours.SILENCE = 0.1
    async def main():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, print)
        store = Store(Path(sys.argv[1]))
        print("ready", flush=True)
        with store.writing():
            pass
    asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_a_wait_also_where_a_loop_has_taken_them(tmp_path, number):
    Store(tmp_path).close()
    with beside(READER, tmp_path), beside(IN_A_LOOP, tmp_path) as waiting:
        assert "waiting: the store in" in waiting.stderr.readline()
        waiting.send_signal(number)
        assert waiting.wait(30) != 0


def test_a_notebook_that_opens_the_file_again_and_again_keeps_nobody_out(tmp_path):
    store = Store(tmp_path)
    written = 0
    with beside(NOTEBOOK, tmp_path) as notebook:
        while notebook.poll() is None:
            write(store)
            store.rows("SELECT count(*) AS n FROM runs")
            written += 1
    assert store.rows("SELECT count(*) AS n FROM base.targets") == [{"n": written}]


STEPS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {}) SELECT max(n) AS n FROM t"
ENDLESS = f"""
    import sys
    from pathlib import Path
    from seedbed.store import Store, asking
    print("ready", flush=True)
    asking.ask(Store(Path(sys.argv[1])), "{STEPS.format(10**12)}")
"""
WRITER = """
    import sys
    from pathlib import Path
    from seedbed.store import Store
    from tests.attacks.test_neighbours import write
    while True:
        write(Store(Path(sys.argv[1])))
        print("wrote", flush=True)
"""


def test_a_statement_that_never_ends_lets_a_writer_in(tmp_path):
    store = Store(tmp_path)
    store.patience = 50
    with beside(ENDLESS, tmp_path), (tmp_path / "room.lock").open("rb") as room:
        until(lambda: neighbours.holders(room))
        write(store)
    assert store.rows("SELECT count(*) AS n FROM base.targets") == [{"n": 1}]


def test_a_slow_statement_is_answered_from_a_copy_which_is_gone_afterwards(tmp_path, monkeypatch):
    copied, copy = [], asking._copied

    def noted(store):
        copied.append(store)
        return copy(store)

    for name, value in (("WAITED", 0.01), ("_LOOK", 0.01), ("_copied", noted)):
        monkeypatch.setattr(asking, name, value)
    store = Store(tmp_path)
    with beside(WRITER, tmp_path):
        found = asking.ask(store, f"SELECT n, (SELECT count(*) FROM base.targets) AS rows FROM ({STEPS.format(30000)})")
    [row] = found.to_pylist()
    assert row["n"] == 30000 and row["rows"] > 0 and copied == [store]
    left = {path.name for path in tmp_path.iterdir()} - {"seedbed.duckdb.wal"}  # of the writer that was killed
    assert left == {"gate.lock", "room.lock", "seedbed.duckdb"}


def test_a_run_behind_a_stopped_reader_says_so_ends_at_ctrl_c_and_goes_on_later(tmp_path):
    home = tmp_path / "home"
    with running(latency_ms=20) as base_url:
        path = recipe(tmp_path, base_url, per_leaf=12)
        Store(home).close()
        run = start("run", path, home=home)
        await_requests(base_url, 20)
        with beside(READER, home) as reader:
            reader.send_signal(signal.SIGSTOP)
            assert run.stderr
            line = until(lambda: next((line for line in run.stderr if "waiting: " in line), ""))
            assert f"process {reader.pid}" in line and "stopped" in line
            run.send_signal(signal.SIGINT)
            _, err = run.communicate(timeout=60)
        assert run.returncode != 0 and "Traceback" not in err, err
        before = stats(base_url)["requests"]
        assert before > 0 and list((home / "journal").glob("*.jsonl")), "what is paid for is there"
        assert facts("run", path, home=home)["status"] == "done"
        assert stats(base_url)["repeated"] == 0
    assert sql("SELECT count(*) AS n FROM runs WHERE made <> kept + dropped + failed + pending", home) == [{"n": 0}]


def test_a_run_that_is_kept_from_its_store_makes_no_more_calls_than_it_can_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(ledger, "MOST_ROWS", 10)
    engine = Counting()

    async def kept(recorded):
        async def row(first):
            for n in range(first, 60, 6):
                await recorded.chat(asks(n), step="q")

        with beside(READER, tmp_path) as reader:
            rows = [asyncio.ensure_future(row(first)) for first in range(6)]
            while len(recorded._ledger._written) < 10:
                await asyncio.sleep(0.01)
            await asyncio.wait(rows, timeout=0.5)
            made = engine.calls
            reader.kill()
            await asyncio.gather(*rows)
        return made

    made, _ = talk(tmp_path, engine, kept)
    assert made < 30 and engine.calls == 60
    assert Store(tmp_path).rows("SELECT count(*) AS n FROM calls") == [{"n": 60}]
