"""Schedules: a Prefect deployment that grows what is new in a recipe, served from here or left to a work pool.

Prefect says when; what there is to do the store says. So a run that comes twice, late or beside another does the work
once, and none of it depends on what Prefect remembers.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.schedules import Cron, Interval, Schedule
from prefect.settings import get_current_settings
from prefect.states import Cancelled
from prefect.types.entrypoint import EntrypointType

from seedbed.errors import InputError
from seedbed.surroundings import APART, QUIET, ROOT, STOOD, python, where_the_user_stood

NO_SERVER = "Start one in another terminal ({}), then: PREFECT_API_URL=http://127.0.0.1:4200/api seedbed schedule …"
ANSWER = 10.0  # seconds for the server to say that it is there


class RunFailed(Exception):
    """The run ended badly: what makes Prefect show the flow run as failed."""


def _named() -> str:
    """A flow run is called by its deployment, which is called by its recipe."""
    return f"new in {deployment.name or Path(flow_run.parameters['recipe']).stem}"


# What it works with is imported inside: the flow outlives the program's end in a thread of Prefect's, and what is
# among its globals would with it.
@flow(name="grow what is new", flow_run_name=_named, persist_result=False)
async def grow_what_is_new(recipe: str, home: str) -> str | State[str]:
    """One firing of the schedule: what came of it, in a line. A recipe that somebody is at work on is left to them."""
    from flows.page import Begin
    from flows.pictures import Pictures
    from flows.run import grow_new, read
    from flows.tracked import pictured, told
    from seedbed.journal import RunBusy

    folder, pictures = Path(home), Pictures(get_current_settings().to_environment_variables(exclude_unset=True))
    try:
        with where_the_user_stood():
            seedbed = read(Path(recipe))
            await pictures.begin(Begin(recipe=seedbed.recipe.name, flow_run=str(flow_run.id)))
            outcome = await pictured(pictures, partial(grow_new, seedbed, folder), folder)
    except RunBusy as busy:
        said = f"nothing to do: {busy}"
    else:
        if outcome.status == "failed":
            raise RunFailed(outcome.message)
        said = told(outcome)
        if outcome.status == "interrupted":
            return Cancelled(message=said)
    get_run_logger().info(said)
    return said


def timing(cron: str, every: float, timezone: str) -> Schedule:
    """When to grow. Raises InputError where that is not said, said twice, or said wrongly."""
    if bool(cron) == bool(every):
        raise InputError('say when, in one way: --cron "0 3 * * *" (three every night) or --every 30 (minutes)')
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"there is no time zone {timezone!r}: write one such as Europe/Oslo or UTC") from error
    if every:
        return Interval(every * 60)
    try:
        return Cron(cron, timezone=timezone)
    except ValueError as error:
        raise InputError(f"{cron!r} is no cron line: five fields such as 0 3 * * *") from error


def serve(recipe: Path, home: Path, when: Schedule) -> None:
    """Run the schedule from this process until it is stopped; one firing at a time. Raises InputError, BadInput."""
    name, parameters = _checked(recipe, home)
    grow_what_is_new.serve(
        name=name, schedule=when, parameters=parameters, limit=1, entrypoint_type=EntrypointType.MODULE_PATH
    )


def deploy(recipe: Path, home: Path, when: Schedule, pool: str) -> str:
    """Leave the schedule to a work pool, whose workers must find this checkout and its home; what to do next."""
    from prefect.exceptions import ObjectNotFound

    name, parameters = _checked(recipe, home)
    surroundings = {
        "working_dir": str(APART),
        "env": {**QUIET, "PYTHONPATH": str(ROOT), STOOD: os.environ.get(STOOD, str(Path.cwd()))},
    }
    try:
        grow_what_is_new.deploy(
            name=name,
            work_pool_name=pool,
            schedule=when,
            parameters=parameters,
            job_variables={"command": shlex.join(python("-m", "prefect.engine")), **surroundings},
            build=False,
            concurrency_limit=1,
            entrypoint_type=EntrypointType.MODULE_PATH,
            print_next_steps=False,
        )
    except (ObjectNotFound, ValueError) as error:
        raise InputError(f"{error}. Make the pool first: prefect work-pool create --type process {pool}") from error
    return (
        f"{grow_what_is_new.name}/{name} is deployed. Its worker, from this environment: prefect worker start -p {pool}"
    )


def _checked(recipe: Path, home: Path) -> tuple[str, dict[str, object]]:
    """The deployment's name and parameters, plain and whole; the recipe is read now, not at three in the night."""
    from flows.run import prefect_api, read
    from flows.tracked import SERVER

    api = prefect_api()
    if not api:
        raise InputError(f"a schedule needs a Prefect server. {NO_SERVER.format(SERVER)}")
    if fault := asyncio.run(_fault()):
        raise InputError(f"Prefect at {api} does not answer: {fault}. {NO_SERVER.format(SERVER)}")
    with where_the_user_stood():
        name = read(recipe).recipe.name
    return name, {"recipe": str(recipe.absolute()), "home": str(home.absolute())}


async def _fault() -> str:
    """What is wrong with the Prefect server; "" where it answers."""
    try:
        async with asyncio.timeout(ANSWER), get_client() as client:
            error = await client.api_healthcheck()
    except TimeoutError:
        return f"no answer within {ANSWER:g} s"
    return str(error) if error else ""
