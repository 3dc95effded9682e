"""The same walk, shown at a Prefect server: a flow run with a task a stage, how far it is, and what came of it.

Prefect is told of the run and does not do it, so that nothing of a run hangs on Prefect: the ledger is the memory.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import orjson
from pydantic import JsonValue

from flows.grow import Stage
from flows.page import Begin, Close, Keep, State, Told
from flows.pictures import Pictures
from flows.run import Outcome, Status, Watch, grow, grow_new, prefect_api, read
from seedbed.errors import InputError
from seedbed.store import Store, StoreError
from seedbed.store.tallies import Row, costs, leaves

SERVER = "DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false prefect server start"
STATES: dict[Status, State] = {"failed": "FAILED", "interrupted": "CANCELLED"}
SHOWN = 500  # leaves: Prefect's page draws all that it is given
COVERAGE = {"method": "method", "leaf": "leaf", "target": "wanted", "made": "made", "kept": "kept"}
COVERAGE |= {"dropped": "dropped", "failed": "failed", "shortfall": "short by", "main_reason": "main reason against"}
COST = {"step": "step", "model": "model", "calls": "calls", "errors": "errors", "tokens_in": "tokens in"}
COST |= {"tokens_out": "tokens out", "seconds": "seconds", "usd": "US dollars"}

Walk = Callable[[Stage, Watch], Awaitable[Outcome]]


async def grow_tracked(
    recipe: str, home: str, rows: int | None = None, only_new: bool = False, limits: dict[str, float] | None = None
) -> Outcome:
    """The run, shown at the Prefect server that is configured. Raises InputError where that has no page for it."""
    seedbed, folder, api = read(Path(recipe), limits), Path(home), prefect_api()
    name = seedbed.recipe.name
    given: dict[str, JsonValue] = {"recipe": recipe, "home": home, "rows": rows, "only_new": only_new}
    begin = Begin(recipe=name, flow="grow", name=f"grow {name}", parameters={**given, "limits": {**(limits or {})}})
    pictures = Pictures({"PREFECT_API_URL": api})
    if not await pictures.begin(begin):
        raise InputError(
            f"Prefect at {api} has no page for this run: {pictures.lost}. Start its server ({SERVER}), or run without "
            "it: unset PREFECT_API_URL, or `prefect config unset PREFECT_API_URL` where a profile sets it"
        )
    walk = partial(grow_new, seedbed, folder) if only_new else partial(grow, seedbed, folder, rows)
    return await pictured(pictures, walk, folder)


async def pictured(pictures: Pictures, walk: Walk, home: Path) -> Outcome:
    """A walk with its pictures, up to the last, for which nobody waits who was told to end."""
    try:
        outcome = await walk(pictures.stage, pictures.watch)
    except Exception as error:
        await pictures.close(Close(state="FAILED", message=str(error) or type(error).__name__))
        raise
    except BaseException:
        pictures.leave(Close(state="CANCELLED", message="interrupted"))
        raise
    await pictures.close(*_kept(outcome, home), _close(outcome))
    return outcome


def told(outcome: Outcome) -> str:
    """What came of a run, in a line."""
    kept = f"{outcome.progress.kept} rows kept, " if outcome.plan.plots else ""
    message = outcome.message if outcome.message != outcome.status else ""
    return f"{outcome.status}: {kept}version {outcome.version or 'none'} {message}".rstrip()


def _close(outcome: Outcome) -> Close:
    return Close(state=STATES.get(outcome.status, "COMPLETED"), message=told(outcome))


def _kept(outcome: Outcome, home: Path) -> list[Told]:
    """What stays with the run on its page: coverage, cost and version. Nothing where the store is not to be read."""
    try:
        store = Store(home)
        coverage, cost = leaves(store, outcome.plan.run_id), costs(store, outcome.plan.run_id)
        store.close()
    except StoreError:
        return []
    kept: list[Told] = []
    if coverage:
        of = f", the {SHOWN} that lack most of {len(coverage):,}" if len(coverage) > SHOWN else ""
        kept.append(_table("coverage", f"What each leaf got{of}", COVERAGE, coverage[:SHOWN]))
    if cost:
        kept.append(_table("cost", "Calls, tokens and dollars by step and model", COST, cost))
    return [*kept, _version(outcome.version, home)] if outcome.version else kept


def _table(name: str, title: str, columns: dict[str, str], rows: Sequence[Row]) -> Keep:
    shown = [{title: _rounded(row[column]) for column, title in columns.items()} for row in rows]
    return Keep(name=name, form="table", title=title, data=orjson.dumps(shown).decode())


def _rounded(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def _version(version: str, home: Path) -> Keep:
    at = f"--home {shlex.quote(str(home.absolute()))}"
    commands = f"seedbed review {at}\nseedbed export {version} {version}.jsonl {at}"
    return Keep(
        name="version", form="markdown", title=version, data=f"{version}, to look at:\n\n```\n{commands}\n```\n"
    )
