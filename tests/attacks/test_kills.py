"""Whatever a command is at when it is killed, half a write included: the same command again does all of its work.

A table of deeds. Each is done once in peace, then killed at one change of a file after another, over all that it makes,
and done again: what there is afterwards is what peace had made, and in between nothing half-made passes for whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.mock_server import running
from seedbed.store import Store
from seedbed.store.schema import MIGRATIONS
from seedbed.store.versions import freeze as freeze_run
from tests.attacks.mortal import Life, Nursery, command, library
from tests.fake_hub import FakeHub
from tests.grown import rows, stored
from tests.test_push import REPO, TOKEN, environment
from tests.test_run import recipe, stats

PLACES = 10  # at which a deed is killed
CONCURRENCY = 8  # calls in flight


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return library(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def nursery(shim, tmp_path_factory):
    with Nursery(shim, tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


class Deed(NamedTuple):
    """`prepare` fills a folder, once; `done` says what there is when it is done, `sound` asserts it of a killed one."""

    prepare: Callable[[Path], object]
    call: Callable[..., object]
    arguments: Callable[[Path], list[object]]
    done: Callable[[Path], object]
    sound: Callable[[Path, object], None] = lambda folder, peace: None


def of_store(statement: str) -> Callable[[Path], object]:
    def asked(folder: Path) -> object:
        store = Store(folder / "home")
        found = store.rows(statement)
        store.close()
        return found

    return asked


def frozen(home: str) -> None:
    """To be done by a child: what people decided since makes another version."""
    store = Store(Path(home))
    freeze_run(store, "run1", [("run1", "skills", leaf) for leaf in ("writing/letters", "writing/poems")])
    store.close()


def opened(home: str) -> None:
    """To be done by a child: an older store is brought up to date."""
    Store(Path(home)).close()


def grown(folder: Path) -> None:
    stored(folder / "home", rows(300)).close()


def ungrown(folder: Path) -> None:
    """A run that is done, and has no version."""
    grown(folder)
    store = Store(folder / "home")
    with store.writing() as db:
        db.execute("DELETE FROM base.version_rows; DELETE FROM base.versions")
    store.close()


def old(folder: Path) -> None:
    """A store that Seedbed 0.1.0 made."""
    store = Store(folder / "home", MIGRATIONS[:4])
    with store.writing() as db:
        db.execute("INSERT INTO base.runs (run_id, recipe, status) SELECT 'r' || n, 'desk', 'done' FROM range(3) t(n)")
        db.execute(
            "INSERT INTO base.calls (call_id, run_id, response, status) "
            "SELECT printf('%024x', n), 'r' || n % 3, repeat('words ', 50), 'ok' FROM range(9000) t(n)"
        )
        db.execute(
            "INSERT INTO base.samples (run_id, sample_id, position, status, answer) "
            "SELECT 'r' || n % 3, 's' || n, n, 'kept', repeat('words ', 50) FROM range(9000) t(n)"
        )
    store.close()


def never_half(name: str) -> Callable[[Path, object], None]:
    def sound(folder: Path, peace: object) -> None:
        path = folder / name
        assert not path.exists() or path.read_bytes() == peace

    return sound


def exporting(name: str) -> Deed:
    return Deed(
        grown,
        command,
        lambda folder: ["export", "desk", folder / name, "--home", folder / "home"],
        lambda folder: (folder / name).read_bytes(),
        never_half(name),
    )


VERSIONS = """
SELECT version, parent, thresholds, v.samples, v.left_out, list(r.content ORDER BY sample_id) AS rows
FROM versions v JOIN base.version_rows r USING (version) GROUP BY ALL ORDER BY version
"""
OLD = """
SELECT (SELECT count(*) FROM calls WHERE response = repeat('words ', 50) AND served IS NULL) AS calls,
       (SELECT count(*) FROM samples WHERE answer = repeat('words ', 50)) AS samples,
       (SELECT list(entry ORDER BY run_id) FROM base.runs) AS entries, (SELECT max(version) FROM applied) AS schema
"""
DEEDS = {
    "freeze": Deed(ungrown, frozen, lambda folder: [folder / "home"], of_store(VERSIONS)),
    "export to JSONL": exporting("out.jsonl"),
    "export to Parquet": exporting("out.parquet"),
    "refilter": Deed(
        grown,
        command,
        lambda folder: ["refilter", "desk-v1", "critique=4.3", "--home", folder / "home"],
        of_store(VERSIONS),
    ),
    "migration": Deed(old, opened, lambda folder: [folder / "home"], of_store(OLD)),
}


def places(changes: int, many: int = PLACES) -> list[int]:
    """Where to be killed: the first change, the last, and so many between."""
    return sorted({1, changes, *(1 + changes * n // many for n in range(many))})


@contextmanager
def copies(template: Path) -> Iterator[Callable[[], Path]]:
    """Hands out copies of a folder, each gone when the next comes: always at the same place."""
    copy = template.with_name("copy")

    def another() -> Path:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(template, copy)
        return copy

    yield another
    shutil.rmtree(copy, ignore_errors=True)


def ended_well(life: Life) -> None:
    assert life.code == 0, life.out
    assert "Traceback" not in life.out, life.out


@pytest.mark.parametrize("name", DEEDS)
def test_a_killed_command_is_done_by_the_same_command_again(nursery, tmp_path, name):
    deed, template = DEEDS[name], tmp_path / "template"
    template.mkdir()
    deed.prepare(template)
    with copies(template) as copy:
        folder = copy()
        calm = nursery.live(deed.call, deed.arguments(folder))
        ended_well(calm)
        peace = deed.done(folder)
        assert calm.changes > 3, "it changes files, or this tests nothing"
        for at in places(calm.changes):
            folder = copy()
            assert nursery.live(deed.call, deed.arguments(folder), at).killed, at
            deed.sound(folder, peace)
            ended_well(nursery.live(deed.call, deed.arguments(folder)))
            assert deed.done(folder) == peace, at


def test_a_killed_run_is_done_by_the_same_command_again_and_pays_for_what_was_in_flight_only(
    nursery: Nursery, tmp_path: Path
):
    """Killed twice, the second time amid what takes in what the first had left."""

    def run(home: Path, at: int = 0) -> Life:
        return nursery.live(command, ["run", tmp_path / "recipe.yaml", "--home", home], at)

    def exported(home: Path) -> bytes:
        out = home / "out.jsonl"
        ended_well(nursery.live(command, ["export", "scripted", out, "--home", home]))
        return out.read_bytes()

    with running() as base_url:
        recipe(tmp_path, base_url, per_leaf=3)
        calm = run(tmp_path / "calm")
        ended_well(calm)
        paid, peace, kills = stats(base_url)["requests"], exported(tmp_path / "calm"), 0
        for at in places(calm.changes):
            home, before = tmp_path / f"killed-{at}", stats(base_url)["requests"]
            deaths = sum(run(home, place).killed for place in (at, 1 + at // 2))
            ended_well(run(home))
            kills += deaths
            assert stats(base_url)["requests"] - before <= paid + CONCURRENCY * deaths, at
            assert exported(home) == peace, at
            assert len(list((home / "journal").glob("*.damaged"))) <= deaths, "the line that it died in, set aside"
    assert kills > PLACES, "what waits for others is no same number of writes, but most places are met"


@pytest.fixture
def hub():
    with FakeHub(TOKEN).running() as hub:
        yield hub


def test_a_killed_push_leaves_one_commit_or_none_and_is_done_by_the_same_command_again(hub, shim, tmp_path):
    options = tmp_path / "publish.yaml"
    options.write_text(json.dumps({"license": "cc-by-4.0", "model_licences": {}}))
    template = tmp_path / "template"
    template.mkdir()
    grown(template)

    def revisions() -> list[dict[str, bytes]]:
        return [files for _, files in hub.repos[REPO].revisions[1:]] if REPO in hub.repos else []

    def push(folder: Path, at: int = 0) -> Life:
        arguments = ["push", "desk", REPO, "--options", options, "--no-dry-run", "--home", folder / "home"]
        return life.live(command, arguments, at)

    with Nursery(shim, tmp_path, environment(hub, tmp_path)) as life, copies(template) as copy:
        calm = push(copy())
        ended_well(calm)
        [peace] = revisions()
        for at in places(calm.changes, 3):  # each is a load of datasets and of TRL's readers, twice
            hub.repos.clear()
            folder = copy()
            push(folder, at)
            assert revisions() in ([], [peace]), at
            ended_well(push(folder))
            assert revisions() == [peace], at
