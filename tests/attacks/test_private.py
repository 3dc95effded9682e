"""A home is its owner's alone, whatever the umask; and one that may only be read can be read."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mock_server import running
from seedbed import private
from seedbed.engines.batch import Batches
from seedbed.store import Store
from seedbed.store.schema import MIGRATIONS
from tests.grown import rows, stored
from tests.test_run import SEEDBED, await_requests, recipe, start


def open_to_others(folder: Path) -> list[str]:
    """What others than its owner could read, write or enter."""
    return [str(path) for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077]


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_whatever_a_store_makes_is_for_its_owner_alone(tmp_path, umask):
    home = tmp_path / "new" / "home"
    Store(home, MIGRATIONS[:1]).close()
    store = Store(home)
    with store.writing() as db:
        db.execute("INSERT INTO base.targets VALUES ('run', 'skills', 'leaf', 1, '')")
    assert open_to_others(tmp_path / "new") == []
    assert list(home.glob("*-backup")), "the copy before the update among it"


def test_whatever_a_run_leaves_is_for_its_owner_alone_also_when_it_is_killed(tmp_path):
    def open_to_all() -> None:
        os.umask(0)

    with running(latency_ms=20) as base_url:
        run = start("run", recipe(tmp_path, base_url, per_leaf=40), home=tmp_path / "home", limit=open_to_all)
        await_requests(base_url, 40)
        run.kill()
        run.communicate()
    assert not (tmp_path / "home").stat().st_mode & 0o077, "what DuckDB makes by itself, its log, is behind this door"
    assert [path for path in open_to_others(tmp_path / "home") if not path.endswith(".wal")] == []
    assert list((tmp_path / "home" / "journal").iterdir()), "the journal among it"


def test_a_batch_that_waits_for_its_answers_is_for_its_owner_alone(tmp_path, umask):
    async def scene():
        async def never(*_):
            await asyncio.sleep(600)
            return b""

        batches = Batches(tmp_path / "batches" / "one", "a server", never, quiet=0.0)
        asked = asyncio.ensure_future(batches.answer(b"{}"))
        while not list((tmp_path / "batches" / "one").glob("*.calls")):
            await asyncio.sleep(0.01)
        found = open_to_others(tmp_path / "batches")
        asked.cancel()
        await batches.close()
        return found

    assert asyncio.run(scene()) == []


def test_an_adapter_is_shut_before_it_has_its_name(tmp_path, umask):
    made = tmp_path / "made"
    (made / "more").mkdir(parents=True)
    (made / "more" / "weights").touch()
    private.shut(made)
    assert open_to_others(made) == []


def test_a_home_that_others_can_read_stays_as_it_is_and_doctor_tells_how_to_shut_it(tmp_path):
    from flows.doctor import _home

    home = tmp_path / "our home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    Store(home).close()
    assert home.stat().st_mode & 0o777 == 0o755
    check = _home(home)
    assert not check.ok and "may read" in check.seen and check.remedy.endswith(f"chmod -R go-rwx '{home}'")
    subprocess.run(["sh", "-c", check.remedy.partition(": ")[2]], check=True)
    assert _home(home).ok and open_to_others(home) == []


READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && shift 0 && exec "$@"'


@pytest.fixture
def mounted(tmp_path):
    """Run the command line where this home is on a file system that may only be read."""
    enter = ["unshare", "--mount", "--map-root-user", "sh", "-c", READ_ONLY, str(tmp_path / "home")]
    (tmp_path / "home").mkdir()
    if not shutil.which("unshare") or subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a folder to be read only")

    def seedbed(*arguments, command=SEEDBED):
        environment = {**os.environ, "SEEDBED_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path.cwd())}
        command = [*enter, *command, *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    (tmp_path / "home").rmdir()
    return seedbed


@pytest.mark.parametrize("locks", [True, False])
def test_a_home_on_a_read_only_file_system_can_be_read(tmp_path, mounted, locks):
    stored(tmp_path / "home", rows(20)).close()
    (tmp_path / "home" / "journal").mkdir()
    (tmp_path / "home" / "journal" / "run1.lock").touch()
    if not locks:
        for lock in (tmp_path / "home").glob("*.lock"):
            lock.unlink()
    before = sorted(path.name for path in (tmp_path / "home").iterdir())
    for command in (
        ("status",),
        ("versions",),
        ("why", "00000000000000000007"),
        ("sql", "SELECT count(*) AS n FROM samples"),
        ("export", "desk", tmp_path / "rows.jsonl", "--split", "all"),
    ):
        done = mounted(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 20
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == before, "nothing was made"
    done = mounted("refilter", "desk", "critique=4.2")
    assert done.returncode == 1 and "may only be read" in done.stderr and "--home" in done.stderr


def test_a_run_in_a_home_on_a_read_only_file_system_is_refused_in_words(tmp_path, mounted):
    stored(tmp_path / "home", rows(2)).close()
    with running() as base_url:
        done = mounted("run", recipe(tmp_path, base_url))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot write in the home folder" in done.stderr and "--home" in done.stderr


def test_an_older_store_that_may_only_be_read_is_named_with_a_way_out(tmp_path, mounted):
    Store(tmp_path / "home", MIGRATIONS[:1]).close()
    done = mounted("status")
    assert done.returncode == 1 and "Copy the folder to where you may" in done.stderr


def test_a_reader_that_may_not_write_the_locks_waits_its_turn_all_the_same(tmp_path, mounted):
    code = (
        "import sys; from pathlib import Path; from seedbed.store.turnstile import Turnstile\n"
        "turnstile = Turnstile(Path(sys.argv[1])); turnstile.patience = 0.2\n"
        "with turnstile.shared(): print(turnstile.writable)"
    )
    look = [sys.executable, "-c", code, str(tmp_path / "home")]
    store = Store(tmp_path / "home")
    assert mounted(command=look).stdout == "False\n"
    with store.writing():
        kept_out = mounted(command=look)
    assert kept_out.returncode and f"in use by process {os.getpid()}" in kept_out.stderr
