"""Schedules: only what is new is grown, once, whoever comes first; shown on a real Prefect server on loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.mock_server import running
from benchmarks.prefect_server import Served, serving
from tests.test_run import BALANCE, ROOT, await_requests, facts, recipe, seedbed, sql, start, stats

NOTHING_GROWN = "nothing is new; some leaf is gone or back as it was"
DOCUMENT = "The {0} harbour was built in 18{1}. It has two cranes, a lighthouse and a small museum of ships.\n"


def documents(folder: Path, *names: str) -> None:
    (folder / "docs").mkdir(exist_ok=True)
    for name in names:
        (folder / "docs" / f"{name}.md").write_text(DOCUMENT.format(name, 10 + len(name)))


def growing(folder: Path, base_url: str, **changes) -> Path:
    """A recipe on the documents of a folder."""
    wanted = [{"knowledge": {"per_leaf": 3, "documents": "docs/*.md"}}]
    changes = {
        "generate": wanted,
        "taxonomy": None,
        "curate": ["exact_duplicates", {"coverage": {"attempts": 9}}],
        **changes,
    }
    return recipe(folder, base_url, **changes)


def new_rows(path: Path, home: Path):
    return facts("run", path, "--only-new", home=home)


def leaves_of(home: Path, version: str) -> dict[str, int]:
    rows = sql(
        f"SELECT leaf, count(*) AS n FROM version_samples WHERE version = '{version}' AND kept GROUP BY leaf", home
    )
    return {row["leaf"].rsplit("/", 1)[-1]: row["n"] for row in rows}


def test_only_new_grows_new_documents_and_changed_ones_and_nothing_twice(tmp_path):
    home = tmp_path / "home"
    documents(tmp_path, "north", "south")
    with running() as base_url:
        path = growing(tmp_path, base_url)
        assert [leaf["kept"] for leaf in new_rows(path, home)["leaves"]] == [3, 3]
        paid = stats(base_url)["requests"]
        again = new_rows(path, home)
        assert again == {"status": "unchanged", "message": "nothing is new", "version": "scripted-v1"}
        assert stats(base_url)["requests"] == paid

        documents(tmp_path, "west")
        found = new_rows(path, home)
        assert [leaf["leaf"] for leaf in found["leaves"]] == ["documents/docs/west.md"], "and looks at nothing else"
        assert leaves_of(home, "scripted-v2") == {"north.md": 3, "south.md": 3, "west.md": 3}

        (tmp_path / "docs" / "south.md").write_text(DOCUMENT.format("southern", 77))
        found = new_rows(path, home)
        assert [leaf["leaf"] for leaf in found["leaves"]] == ["documents/docs/south.md"]
        assert leaves_of(home, "scripted-v3") == {"north.md": 3, "south.md": 3, "west.md": 3}
        changes = facts("diff", "scripted-v2", "scripted-v3", home=home)["rows"]
        assert {row["leaf"] for row in changes} == {"documents/docs/south.md"}

        (tmp_path / "docs" / "north.md").unlink()
        gone = new_rows(path, home)
        assert gone["status"] == "unchanged" and gone["message"] == NOTHING_GROWN
        assert leaves_of(home, gone["version"]) == {"south.md": 3, "west.md": 3}
        assert new_rows(path, home)["version"] == gone["version"]
    assert sql(BALANCE, home) == [{"n": 0}]


def test_a_document_that_is_changed_and_changed_back_is_in_the_next_version_as_it_is_now(tmp_path):
    home = tmp_path / "home"
    documents(tmp_path, "north")
    with running() as base_url:
        path = growing(tmp_path, base_url)
        new_rows(path, home)
        (tmp_path / "docs" / "north.md").write_text(DOCUMENT.format("northern", 77))
        new_rows(path, home)
        documents(tmp_path, "north")
        paid = stats(base_url)["requests"]
        back = new_rows(path, home)
        assert stats(base_url)["requests"] == paid, "it grew before"
        assert back == {"status": "unchanged", "message": NOTHING_GROWN, "version": "scripted-v3"}
        again = new_rows(path, home)
        assert again["message"] == "nothing is new" and again["version"] == "scripted-v3"
    assert facts("diff", "scripted-v1", "scripted-v3", home=home)["rows"] == []
    assert facts("diff", "scripted-v2", "scripted-v3", home=home)["rows"] != []


def test_the_version_that_is_named_is_always_the_one_that_the_recipes_name_stands_for(tmp_path):
    home = tmp_path / "home"
    documents(tmp_path, "north", "south")
    docs = tmp_path / "docs"
    with running() as base_url:
        path = growing(tmp_path, base_url)
        for gone, back in ((), ()), (("north",), ()), (("south",), ("north",)), ((), ("south",)):
            for name in gone:
                (docs / f"{name}.md").unlink()
            documents(tmp_path, *back)
            found = new_rows(path, home)
            latest = facts("versions", home=home)[0]["version"]
            assert found.get("version", latest) == latest
            assert leaves_of(home, latest) == {path.name: 3 for path in docs.iterdir()}


def test_what_earlier_runs_kept_of_unchanged_leaves_is_a_duplicate_for_the_new_ones(tmp_path):
    home = tmp_path / "home"
    documents(tmp_path, "north")
    with running() as base_url:
        path = growing(tmp_path, base_url)
        new_rows(path, home)
        documents(tmp_path, "south")
        new_rows(path, home)
    twice = (
        "SELECT count(*) AS n FROM (SELECT text_hash FROM samples WHERE status = 'kept' GROUP BY 1 HAVING count(*) > 1)"
    )
    assert sql(twice, home) == [{"n": 0}]


def test_another_threshold_is_all_new_and_costs_no_call(tmp_path):
    home = tmp_path / "home"
    documents(tmp_path, "north")
    with running() as base_url:
        new_rows(growing(tmp_path, base_url, curate=[{"critique": {"keep_at": 3.5}}]), home)
        paid = stats(base_url)["requests"]
        found = new_rows(growing(tmp_path, base_url, curate=[{"critique": {"keep_at": 1.5}}]), home)
        assert found["status"] in ("done", "short") and stats(base_url)["requests"] == paid


def test_a_killed_run_of_what_is_new_goes_on_where_it_was(tmp_path):
    home = tmp_path / "home"
    documents(tmp_path, "north", "south", "east")
    with running(latency_ms=40) as base_url:
        path = growing(tmp_path, base_url)
        first = start("run", path, "--only-new", home=home)
        await_requests(base_url, 10)
        first.kill()
        first.communicate()
        assert new_rows(path, home)["status"] == "done"
        assert stats(base_url)["repeated"] <= 8, "at most what was in flight"
    assert len(sql("SELECT DISTINCT run_id FROM runs", home)) == 1


def test_of_two_that_start_together_one_does_the_work(tmp_path):
    home = tmp_path / "home"
    documents(tmp_path, "north", "south")
    with running(latency_ms=40) as base_url:
        path = growing(tmp_path, base_url)
        both = [start("run", path, "--only-new", home=home) for _ in range(2)]
        ended = sorted(
            (process.wait(timeout=120), (process.stderr and process.stderr.read()) or "") for process in both
        )
        assert [code for code, _ in ended] == [0, 1] and "another process is at work on recipe scripted" in ended[1][1]
        assert stats(base_url)["repeated"] == 0
    assert len(sql("SELECT run_id FROM runs", home)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say when, in one way"),
        (["--cron", "0 3 * * *", "--every", "5"], "say when, in one way"),
        (["--cron", "at three"], "'at three' is no cron line"),
        (["--cron", "0 3 * * *", "--timezone", "Mars/Base"], "no time zone 'Mars/Base'"),
        (["--cron", "0 3 * * *"], "prefect server start"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_the_way_out(tmp_path, arguments, said):
    path = growing(tmp_path, "http://127.0.0.1:9/v1")
    documents(tmp_path, "north")
    done = seedbed("schedule", path, *arguments, home=tmp_path / "home", PREFECT_HOME=str(tmp_path / "prefect"))
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def prefect():
    with serving() as served:
        yield served


def ended(prefect: Served) -> list[dict[str, object]]:
    states = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}, "sort": "START_TIME_ASC"}
    return [run for run in prefect.ask("flow_runs/filter", states) if str(run["name"]).startswith("new in")]


def test_two_schedules_fire_and_the_second_finds_nothing_to_do(tmp_path, prefect):
    home = tmp_path / "home"
    documents(tmp_path, "north", "south")
    with running() as base_url:
        path = growing(tmp_path, base_url)
        serving = start("schedule", path, "--every", 0.1, home=home, **prefect.environment)
        try:
            until = time.monotonic() + 150
            while len(ended(prefect)) < 2:
                assert time.monotonic() < until and serving.poll() is None, "the schedule does not fire"
                time.sleep(1)
        finally:
            serving.send_signal(signal.SIGINT)
            serving.communicate(timeout=60)
        first, second = ended(prefect)[:2]
        assert {str(first["state_name"]), str(second["state_name"])} == {"Completed"}
        assert first["auto_scheduled"] and second["auto_scheduled"], "the clock started both"
        assert stats(base_url)["repeated"] == 0
    said = [entry["message"] for entry in prefect.ask("logs/filter", {"sort": "TIMESTAMP_ASC", "limit": 200})]
    came = [line for line in said if re.match(r"(done|short|unchanged|nothing to do)", line)]
    assert came[0].startswith("done: 6 rows kept, version scripted-v1")
    assert came[1].startswith("unchanged: version scripted-v1 nothing is new")
    assert len(sql("SELECT run_id FROM runs", home)) == 1


def test_what_cron_says_is_the_schedule_that_is_served(tmp_path, prefect):
    documents(tmp_path, "north")
    path = growing(tmp_path, "http://127.0.0.1:9/v1", name="nightly")
    when = ("--cron", "0 3 * * 1", "--timezone", "Europe/Oslo")
    serving = start("schedule", path, *when, home=tmp_path / "home", **prefect.environment)
    named: dict[str, object] = {"deployments": {"name": {"any_": ["nightly"]}}}
    try:
        until = time.monotonic() + 150
        while not (found := prefect.ask("deployments/filter", named)):
            assert time.monotonic() < until and serving.poll() is None, "nothing is served"
            time.sleep(1)
    finally:
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=60)
    [one] = found[0]["schedules"]
    assert one["active"] and (one["schedule"]["cron"], one["schedule"]["timezone"]) == ("0 3 * * 1", "Europe/Oslo")


def test_a_stampede_of_late_runs_does_the_work_once(tmp_path, prefect):
    """Three firings at once, as after downtime, each in a process of its own and none waiting for another."""
    home = tmp_path / "home"
    documents(tmp_path, "north", "south")
    code = (
        "import asyncio, sys; from flows.scheduled import grow_what_is_new; "
        "print(asyncio.run(grow_what_is_new(*sys.argv[1:])))"
    )
    with running(latency_ms=150) as base_url:
        path = growing(tmp_path, base_url)
        command = [sys.executable, "-c", code, str(path), str(home)]
        late = [
            subprocess.Popen(
                command,
                env={**os.environ, **prefect.environment},
                stdout=subprocess.PIPE,
                text=True,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(3)
        ]
        said = [process.communicate(timeout=180)[0].strip().splitlines()[-1] for process in late]
        assert stats(base_url)["repeated"] == 0
    assert sum(line.startswith("done: 6 rows kept") for line in said) == 1, said
    assert all(re.match("done|nothing to do: another process is at work|unchanged", line) for line in said), said


def test_a_schedule_can_be_left_to_a_work_pool(tmp_path, prefect):
    documents(tmp_path, "north")
    path, home = growing(tmp_path, "http://127.0.0.1:9/v1"), tmp_path / "home"
    missing = seedbed("schedule", path, "--cron", "0 3 * * *", "--pool", "garden", home=home, **prefect.environment)
    assert missing.returncode == 2 and "prefect work-pool create --type process garden" in missing.stderr
    prefect.ask("work_pools/", {"name": "garden", "type": "process", "base_job_template": {}})
    done = seedbed("schedule", path, "--cron", "0 3 * * *", "--pool", "garden", home=home, **prefect.environment)
    assert done.returncode == 0, done.stderr
    [deployment] = prefect.ask("deployments/filter", {"work_pools": {"name": {"any_": ["garden"]}}})
    assert deployment["name"] == "scripted" and deployment["entrypoint"] == "flows.scheduled.grow_what_is_new"
    assert deployment["schedules"][0]["schedule"]["cron"] == "0 3 * * *"
    job = deployment["job_variables"]
    assert job["command"].endswith("-P -m prefect.engine") and Path(job["working_dir"]).is_relative_to(ROOT)
    assert job["env"]["DO_NOT_TRACK"] == "1"
    assert deployment["parameters"] == {"recipe": str(path.absolute()), "home": str(home.absolute())}
