"""The same walk as a Prefect flow: two or three tasks a shard, never one a row; progress as an artifact.

Tasks get nothing to hash, store or retry: the ledger is the memory, and a flow run that died is simply run again.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.display import Gauge
from flows.grow import Rows, Work
from flows.plan import Plan
from flows.progress import Progress
from flows.run import Outcome, grow, grow_new, read
from seedbed.errors import InputError

ARTIFACT_SECONDS = 2.0


class RunFailed(Exception):
    """The run ended badly: what makes Prefect show the flow run as failed."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


async def stage(name: str, work: Work) -> Rows:
    """A stage as a Prefect task. Its rows stay in this process: results are neither persisted nor cached."""
    held: list[Rows] = []

    @task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)
    async def run_stage() -> int:
        held.append(await work())
        return len(held[0])

    await run_stage()
    return held[0]


@flow(name="grow", flow_run_name="grow {recipe}", persist_result=False)
async def grow_recipe(
    recipe: str, home: str, rows: int | None = None, only_new: bool = False, limits: dict[str, float] | None = None
) -> Outcome:
    """Grow a recipe into the store of a home folder; parameters are plain, so a deployment can be given them."""
    seedbed, folder = read(Path(recipe), limits), Path(home)
    if only_new:
        outcome = await grow_new(seedbed, folder, stage, progress_artifact)
    else:
        outcome = await grow(seedbed, folder, rows, stage, progress_artifact)
    if outcome.status == "failed":
        raise RunFailed(outcome)
    return outcome


async def grow_tracked(
    recipe: str, home: str, rows: int | None = None, only_new: bool = False, limits: dict[str, float] | None = None
) -> Outcome:
    """The flow, for the command line: how it ended, also where Prefect shows it as failed. Raises InputError."""
    try:
        return await grow_recipe(recipe, home, rows, only_new, limits)
    except RunFailed as failed:
        return failed.outcome
    except RuntimeError as error:
        if "reach API" not in str(error):
            raise
        raise InputError(
            f"{error}. Start the Prefect server (`prefect server start`), or run without it: unset PREFECT_API_URL, "
            "or `prefect config unset PREFECT_API_URL` where a profile sets it"
        ) from error


async def progress_artifact(plan: Plan, progress: Progress) -> None:
    """Keep the flow run's progress artifact and its log up to date until cancelled."""
    logger, gauge = get_run_logger(), Gauge(plan, progress)
    artifact = await acreate_progress_artifact(0.0, key=f"seedbed-{plan.run_id}", description=f"run {plan.run_id}")
    said = ""
    try:
        while True:
            await asyncio.sleep(ARTIFACT_SECONDS)
            if (line := gauge.line()) != said:
                said = line
                logger.info(line)
                await aupdate_progress_artifact(artifact, gauge.fraction() * 100, line)
            _log(logger, progress)
    finally:
        _log(logger, progress)
        await aupdate_progress_artifact(artifact, gauge.fraction() * 100, gauge.line())


def _log(logger: logging.Logger | logging.LoggerAdapter[logging.Logger], progress: Progress) -> None:
    for notice in progress.notices:
        logger.warning(notice)
    progress.notices.clear()
