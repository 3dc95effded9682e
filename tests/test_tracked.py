"""A run as a Prefect flow, on a real Prefect server: the same rows, a few tasks a shard, progress to look at."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.mock_server import running
from tests.test_run import recipe, seedbed, stats


@pytest.fixture(scope="module")
def server():
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


def test_a_tracked_run_is_the_same_run_with_few_tasks_and_a_progress_artifact(tmp_path, server):
    from prefect.client.orchestration import get_client

    from flows.run import grow, read
    from flows.tracked import grow_recipe

    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=10)
        outcome = asyncio.run(grow_recipe(str(path), str(tmp_path / "home")))
        paid = stats(base_url)["requests"]
        again = asyncio.run(grow(read(path), tmp_path / "home"))
        assert stats(base_url)["requests"] == paid, "tracked or not, it is one run"
    assert outcome.status == again.status == "done" and again.progress.tally.calls == 0

    async def seen():
        async with get_client() as client:
            flows = await client.read_flow_runs()
            tasks = await client.read_task_runs()
            artifacts = await client.read_artifacts()
            return flows, tasks, artifacts

    flows, tasks, artifacts = asyncio.run(seen())
    assert [run.state_type.value for run in flows] == ["COMPLETED"]
    assert {task.name.split()[0] for task in tasks} == {"make", "judge"}
    assert len(tasks) < outcome.progress.done, "never one task a row"
    assert any(artifact.type == "progress" and artifact.data == 100.0 for artifact in artifacts)


def test_a_tracked_run_that_fails_ends_as_any_other_and_prefect_shows_it(tmp_path, server):
    from prefect.client.orchestration import get_client

    from flows.tracked import grow_tracked

    with running(status=500) as base_url:
        path = recipe(tmp_path, base_url, model={"retries": 0})
        outcome = asyncio.run(grow_tracked(str(path), str(tmp_path / "home")))
    assert outcome.status == "failed" and "HTTP 500" in outcome.message

    async def states():
        async with get_client() as client:
            return [str(run.state_type) for run in await client.read_flow_runs()]

    assert any("FAILED" in state for state in asyncio.run(states()))


def test_an_api_that_is_not_there_is_named_with_the_way_out(tmp_path):
    path, api = recipe(tmp_path, "http://127.0.0.1:9/v1"), "http://127.0.0.1:9/api"
    done = seedbed("run", path, home=tmp_path / "home", PREFECT_API_URL=api)
    assert done.returncode == 2 and "unset PREFECT_API_URL" in done.stderr and "Traceback" not in done.stderr
