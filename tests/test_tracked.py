"""A run shown at a real Prefect server: the same run, a page that people can read, and nothing that hangs on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from benchmarks.mock_server import running
from benchmarks.prefect_server import Served, serving
from seedbed.store import Store
from tests.odd_prefect import before
from tests.test_run import ROOT, await_requests, exported, facts, recipe, seedbed, sql, start, stats


@pytest.fixture(scope="module")
def prefect():
    with serving() as served:
        yield served


def shown(prefect: Served) -> dict[str, object]:
    """The flow run that began last."""
    [run] = prefect.ask("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    found: dict[str, object] = run
    return found


def said(run: dict[str, object]) -> str:
    state = run["state"]
    assert isinstance(state, dict)
    return str(state["message"])


def of(run: dict[str, object]) -> dict[str, object]:
    return {"flow_runs": {"id": {"any_": [run["id"]]}}}


def test_a_tracked_run_is_the_same_run_and_its_last_lines_are_its_own(tmp_path, prefect):
    with running() as base_url:
        path = recipe(tmp_path, base_url)
        done = seedbed("run", path, home=tmp_path / "home", **prefect.environment)
        assert done.returncode == 0, done.stderr
        paid = stats(base_url)["requests"]
        assert facts("run", path, home=tmp_path / "home")["status"] == "done"
        assert stats(base_url)["requests"] == paid, "tracked or not, it is one run"
    lines, page = done.stderr.splitlines(), f"runs/flow-run/{shown(prefect)['id']}"
    assert lines[0] == f"Prefect shows this run at {prefect.api.removesuffix('api')}{page}"
    assert lines[-1].startswith("30 kept of 30") and len(lines) <= 4


def test_the_page_says_in_words_what_is_done_and_what_came_of_it(tmp_path, prefect):
    with running() as base_url:
        path = recipe(
            tmp_path, base_url, name="support_desk", per_leaf=6, curate=["rules", {"critique": {"keep_at": 1}}]
        )
        assert seedbed("run", path, home=tmp_path / "home", **prefect.environment).returncode == 0
    run = shown(prefect)
    assert (run["name"], run["state_type"]) == ("grow support_desk", "COMPLETED")
    assert "rows kept, version support_desk-v1" in said(run)
    tasks = prefect.ask("task_runs/filter", of(run))
    assert {(task["name"], task["state_type"]) for task in tasks} == {
        ("make rows 1 to 30", "COMPLETED"),
        ("judge with rules and critique, rows 1 to 30", "COMPLETED"),
    }
    kept = {artifact["key"]: artifact for artifact in prefect.ask("artifacts/filter", of(run))}
    assert kept.keys() == {f"support-desk-{what}" for what in ("progress", "coverage", "cost", "version")}
    assert kept["support-desk-progress"]["data"] == 100.0
    coverage, cost = (json.loads(kept[f"support-desk-{what}"]["data"]) for what in ("coverage", "cost"))
    assert sum(leaf["made"] for leaf in coverage) == 30 and {step["step"] for step in cost} >= {"question", "critique"}
    assert sum(step["calls"] for step in cost) == sql("SELECT count(*) AS n FROM calls", tmp_path / "home")[0]["n"]
    assert f"seedbed review --home {tmp_path}/home" in kept["support-desk-version"]["data"]


def test_a_tracked_run_that_fails_ends_as_any_other_and_prefect_shows_it(tmp_path, prefect):
    with running(status=500) as base_url:
        path = recipe(tmp_path, base_url, model={"retries": 0})
        done = seedbed("run", path, home=tmp_path / "home", **prefect.environment)
    assert done.returncode == 1 and "HTTP 500" in done.stdout
    run = shown(prefect)
    assert run["state_type"] == "FAILED" and "HTTP 500" in said(run)
    notices = prefect.ask("logs/filter", {"logs": {"level": {"ge_": 30}, "flow_run_id": {"any_": [run["id"]]}}})
    assert notices and all(notice["message"] in done.stderr for notice in notices)


def test_a_run_that_is_killed_or_told_to_end_does_not_stay_running_on_its_page(tmp_path, prefect):
    for number, state, message in ((signal.SIGKILL, "CRASHED", "killed"), (signal.SIGTERM, "CANCELLED", "interrupted")):
        with running(latency_ms=100) as base_url:
            process = start(
                "run", recipe(tmp_path, base_url, per_leaf=60), home=tmp_path / "home", **prefect.environment
            )
            await_requests(base_url, 8)
            process.send_signal(number)
            process.communicate(timeout=60)
        until = time.monotonic() + 30
        while (run := shown(prefect))["state_type"] == "RUNNING":
            assert time.monotonic() < until, "its page says that it still runs"
            time.sleep(0.1)
        assert run["state_type"] == state and message in said(run)


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> bytes:
    """What the run below exports that nobody tracks."""
    folder = tmp_path_factory.mktemp("calm")
    with running() as base_url:
        assert seedbed("run", recipe(folder, base_url, per_leaf=20), home=folder / "home").returncode == 0
    return exported(folder / "home")


@pytest.mark.parametrize(
    ("mode", "page"), [("gone", "RUNNING"), ("failing", "RUNNING"), ("frozen", "RUNNING"), ("slow", "COMPLETED")]
)
def test_a_prefect_that_goes_away_in_mid_run_costs_its_pictures_only_and_is_said_once(
    tmp_path, prefect, calm, mode, page
):
    home = tmp_path / "home"
    with running(latency_ms=20) as base_url, before(prefect.api) as odd:
        given = {**prefect.environment, "PREFECT_API_URL": odd.url}
        process = start("run", recipe(tmp_path, base_url, per_leaf=20), home=home, **given)
        await_requests(base_url, 20)
        odd.mode = mode
        store = Store(home)
        while store.rows("SELECT status FROM runs") == [{"status": "running"}]:
            time.sleep(0.1)
        ended = time.monotonic()
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - ended < 20, "its books are closed, and it does not end"
    assert process.returncode == 0 and exported(home) == calm, err
    assert err.count("Prefect shows no more of this run, which loses nothing by it") == 1, err
    assert "Traceback" not in err
    assert shown(prefect)["state_type"] == page


def test_an_api_that_is_not_there_is_named_with_the_way_out_and_nothing_is_paid(tmp_path):
    with running() as base_url, socket.socket() as deaf:
        path, home = recipe(tmp_path, base_url), tmp_path / "home"
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()  # and never answers
        for api in ("http://127.0.0.1:9/api", f"http://127.0.0.1:{deaf.getsockname()[1]}/api", f"{base_url}/api"):
            done = seedbed("run", path, home=home, PREFECT_API_URL=api)
            assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
            assert f"Prefect at {api} has no page" in done.stderr and "unset PREFECT_API_URL" in done.stderr
        assert stats(base_url)["requests"] == 0
        when = ("--cron", "0 3 * * *")
        done = seedbed("schedule", path, *when, home=home, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2 and "Prefect at http://127.0.0.1:9/api does not answer" in done.stderr
    assert "Traceback" not in done.stderr and "prefect server start" in done.stderr


def test_profiles_that_cannot_be_read_are_named_and_no_run_goes_untracked_for_them(tmp_path):
    (tmp_path / "profiles.toml").write_text("active = \n")
    path = recipe(tmp_path, "http://127.0.0.1:9/v1")
    done = seedbed("run", path, home=tmp_path / "home", PREFECT_HOME=str(tmp_path))
    assert done.returncode == 2 and str(tmp_path / "profiles.toml") in done.stderr and "Traceback" not in done.stderr
    assert "bad  prefect server" in seedbed("doctor", home=tmp_path / "home", PREFECT_HOME=str(tmp_path)).stdout


def test_which_prefect_is_the_users_to_say_and_not_the_current_folders(tmp_path, prefect, monkeypatch):
    (tmp_path / ".env").write_text("PREFECT_API_URL=http://127.0.0.1:9/api\n")
    (tmp_path / "prefect.toml").write_text('[api]\nurl = "http://127.0.0.1:9/api"\n')
    (tmp_path / "pyproject.toml").write_text('[tool.prefect.api]\nurl = "http://127.0.0.1:9/api"\n')
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "profiles.toml").write_text(
        f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{prefect.api}"\n[profiles.other]\n'
    )
    monkeypatch.chdir(tmp_path)
    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=1)
        plain = seedbed("run", path, home=tmp_path / "home", PREFECT_HOME=str(tmp_path / "none"))
        other = seedbed("run", path, home=tmp_path / "home", PREFECT_HOME="theirs", PREFECT_PROFILE="other")
        mine = seedbed("run", path, home=tmp_path / "home", PREFECT_HOME="theirs")
    assert [done.returncode for done in (plain, other, mine)] == [0, 0, 0], mine.stderr
    assert ["Prefect shows" in done.stderr for done in (plain, other, mine)] == [False, False, True]


def test_a_firing_finds_what_its_recipe_names_from_where_its_user_stood_and_reads_no_settings_there(tmp_path, prefect):
    (tmp_path / "recipes").mkdir()
    shutil.copytree(ROOT / "taxonomies" / "starter", tmp_path / "leaves")
    (tmp_path / ".env").write_text("PREFECT_API_URL=http://127.0.0.1:9/api\nPREFECT_LOGGING_LEVEL=CRITICAL\n")
    code = (
        "import asyncio, sys; from seedbed.surroundings import stand_apart; stand_apart(); "
        "from flows.scheduled import grow_what_is_new; print(asyncio.run(grow_what_is_new(*sys.argv[1:])))"
    )
    with running() as base_url:
        path = recipe(tmp_path / "recipes", base_url, per_leaf=1, taxonomy="leaves")
        given = {**os.environ, **prefect.environment, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, str(path), str(tmp_path / "home")]
        done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
    assert "rows kept, version scripted-v1" in done.stdout, done.stderr
    assert (shown(prefect)["name"], shown(prefect)["state_type"]) == ("new in recipe", "COMPLETED")
    assert "Beginning flow run" in done.stderr, "the folder's file sets no level"
