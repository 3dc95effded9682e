"""Schedules: a Prefect deployment that grows what is new in a recipe, served from here or left to a work pool.

Prefect says when; what there is to do the store says. So a run that comes twice, late or beside another does the work
once, and none of it depends on what Prefect remembers.
"""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

from prefect import flow
from prefect.logging import get_run_logger
from prefect.schedules import Cron, Interval, Schedule
from prefect.types.entrypoint import EntrypointType

from flows.run import grow_new, prefect_api, read
from flows.tracked import RunFailed, progress_artifact, stage
from seedbed.errors import InputError
from seedbed.journal import RunBusy

SERVER = (
    "a schedule needs a Prefect server. Start one in another terminal (`prefect server start`), then: "
    "PREFECT_API_URL=http://127.0.0.1:4200/api seedbed schedule …"
)


@flow(name="grow what is new", flow_run_name="new in {recipe}", persist_result=False)
async def grow_what_is_new(recipe: str, home: str) -> str:
    """One firing of the schedule: what came of it, in a line. A recipe that somebody is at work on is left to them."""
    logger = get_run_logger()
    try:
        outcome = await grow_new(read(Path(recipe)), Path(home), stage, progress_artifact)
    except RunBusy as busy:
        said = f"nothing to do: {busy}"
    else:
        if outcome.status == "failed":
            raise RunFailed(outcome)
        kept = f"{outcome.progress.kept} rows kept, " if outcome.plan.plots else ""
        said = f"{outcome.status}: {kept}version {outcome.version or 'none'} {outcome.message}".rstrip()
    logger.info(said)
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
    try:
        grow_what_is_new.deploy(
            name=name,
            work_pool_name=pool,
            schedule=when,
            parameters=parameters,
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
    if not prefect_api():
        raise InputError(SERVER)
    name = read(recipe).recipe.name
    return name, {"recipe": str(recipe.absolute()), "home": str(home.absolute())}
