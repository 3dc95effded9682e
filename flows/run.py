"""One run from recipe to stored rows: opens what it needs, walks, and closes the books whatever happens."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.edits import check_edits
from flows.engines import cards, open_all, places, recorded, unasked, unpriced
from flows.grow import Growth, Stage, direct
from flows.keys import refuse_keys
from flows.methods import methods
from flows.plan import Plan, make_plan, only_new
from flows.progress import Progress, hearing
from flows.selections import selections_of
from flows.steps import check_asked, judges_in_order, selectors_in_order
from seedbed.budget import BUDGET, Budget, Tally
from seedbed.documents import read_documents
from seedbed.engines import Engines
from seedbed.errors import InputError
from seedbed.journal import lease
from seedbed.ledger import Ledger, Stopped
from seedbed.recipe import Recipe, read_recipe
from seedbed.records import Leaf
from seedbed.request_file import read_requests
from seedbed.store import Store
from seedbed.store.runs import begin, end, grown, latest_of, unanswered_places
from seedbed.store.versions import freeze
from seedbed.taxonomy import read_taxonomy
from seedbed.yamlfile import Loaded

logger = logging.getLogger(__name__)

INTERRUPTED = "interrupted"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 20.0  # seconds; Kubernetes and Prefect kill 30 after they have asked
Status = Literal["done", "short", "unchanged", "failed", "budget", "interrupted"]
Watch = Callable[[Plan, Progress], Coroutine[None, None, None]]
EXIT_CODES: dict[Status, int] = {"done": 0, "short": 0, "unchanged": 0, "failed": 1, "budget": 3, "interrupted": 130}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, for whoever reports it.

    `short` is done with some leaf below its target; `unchanged` found no new document and no changed leaf.
    """

    plan: Plan
    status: Status
    message: str
    progress: Progress
    same_judge: bool
    version: str = ""


@dataclass(frozen=True, slots=True)
class ReadRecipe:
    """A recipe read and checked together with everything it names."""

    recipe: Recipe
    leaves: tuple[Leaf, ...]


def read(given: Path | Loaded, limits: Mapping[str, float] | None = None) -> ReadRecipe:
    """Read a recipe, its taxonomy and its documents; `limits` go before those of its budget, by name.

    Raises:
        BadInput: every problem found.
        InputError: a step stands where it makes no sense, or is said something of that is not there.
    """
    known = methods()
    path = given if isinstance(given, Path) else given.file
    recipe = read_recipe(given, known.generator_options(), known.curator_options())
    recipe = recipe.model_copy(update={"budget": recipe.budget.model_copy(update=limits or {})})
    leaves = read_taxonomy(recipe.taxonomy) if recipe.taxonomy else ()
    for step in recipe.generate:
        if requests := getattr(step.options, "requests", None):
            found = read_requests(requests, path.parent)
            leaves += (Leaf(path=f"requests/{requests}", kind="requests", seeds=(), requests=found),)
        opens = known.generators[step.name].source
        if opens and (source := opens(step.options, path.parent)):
            named = getattr(step.options, "source", "")
            found_here = Leaf(f"rows/{source.name}", "rows", (), pattern=named, source=source, revision=source.revision)
            leaves += (found_here,) if all(leaf.path != found_here.path for leaf in leaves) else ()
    for pattern in dict.fromkeys(getattr(step.options, "documents", None) or "" for step in recipe.generate):
        leaves += tuple(
            Leaf(path=f"documents/{document.name}", kind="knowledge", seeds=(), documents=(document,), pattern=pattern)
            for document in (read_documents(pattern, path.parent) if pattern else ())
        )
    refuse_keys(recipe, leaves, path)
    for check in (judges_in_order, selectors_in_order, check_asked):  # now, and not when models are open
        check(recipe, known)
    return ReadRecipe(recipe, leaves)


async def grow(
    seedbed: ReadRecipe,
    home: Path,
    rows: int | None = None,
    stage: Stage = direct,
    watch: Watch | None = None,
) -> Outcome:
    """Walk a recipe to its end, or preview `rows` rows of it; `watch` looks on as a task of its own.

    Raises:
        RunBusy: another process is at work on this very run.
        StoreError, EngineError, ValueError: it cannot begin; nothing was started.
    """
    store = Store(home)
    recipe = seedbed.recipe
    try:
        async with AsyncExitStack() as stack:
            engines = await _engines(recipe, stack, home)
            plan = make_plan(recipe, seedbed.leaves, methods(), cards(engines), rows)
            stack.enter_context(lease(home, plan.run_id))
            return await _walk(plan, store, engines, stage, watch)
    finally:
        store.close()


async def grow_new(seedbed: ReadRecipe, home: Path, stage: Stage = direct, watch: Watch | None = None) -> Outcome:
    """Walk only what no finished run of the recipe has grown: new documents, changed leaves, another recipe.

    One process at a time does this for a recipe, so that of several that start together one does the work.

    Raises:
        RunBusy: another process is at it.
        StoreError, EngineError, ValueError: it cannot begin; nothing was started.
    """
    store, recipe = Store(home), seedbed.recipe
    try:
        async with AsyncExitStack() as stack:
            stack.enter_context(lease(home, recipe.name, "recipe"))
            engines = await _engines(recipe, stack, home)
            whole = make_plan(recipe, seedbed.leaves, methods(), cards(engines))
            plan = only_new(whole, grown(store, recipe.name))
            if not plan.plots:
                return _unchanged(plan, store, engines)
            stack.enter_context(lease(home, plan.run_id))
            return await _walk(plan, store, engines, stage, watch)
    finally:
        store.close()


async def _engines(recipe: Recipe, stack: AsyncExitStack, home: Path) -> Engines:
    """The recipe's models, opened where any step asks one."""
    return await open_all(recipe, stack, home) if methods().ask(recipe) else unasked(recipe)


def _unchanged(plan: Plan, store: Store, engines: Engines) -> Outcome:
    """Nothing to grow; but where a leaf is gone, or one of old is back, the next version has other rows."""
    check_edits(store)
    run_id = latest_of(store, [run_id for run_id, _, _ in plan.carried])
    version = freeze(store, run_id, plan.scope, selections_of(store, run_id))
    message = "nothing is new; some leaf is gone or back as it was" if version.new else "nothing is new"
    progress = Progress(Tally(), 0)
    return Outcome(plan, "unchanged", message, progress, engines.judge is engines.model, version.version)


async def _walk(
    plan: Plan,
    store: Store,
    engines: Engines,
    stage: Stage,
    watch: Watch | None,
) -> Outcome:
    recipe, run_id = plan.recipe, plan.run_id
    begin(
        store, run_id, recipe.name, recipe.model_dump_json(), cards(engines), plan.targets, plan.preview, plan.steps()
    )
    ledger = Ledger(store, run_id, budget_of(recipe))
    progress = _progress(store, plan, ledger)
    given = recorded(engines, recipe, ledger, run_id)
    status: Status = "failed"
    message = "stopped by an error"
    watching = asyncio.create_task(watch(plan, progress)) if watch else None
    try:
        with interruptible(ledger), _calm_collector(), hearing(progress):
            growth = Growth(plan, store, ledger, given, places(recipe), progress, stage)
            status, message = await _to_the_end(growth, store, plan, progress)
    except asyncio.CancelledError:
        status, message = "interrupted", INTERRUPTED
        raise
    except BaseException as error:
        message = str(error) or type(error).__name__
        raise
    finally:
        if watching:
            watching.cancel()
            await asyncio.wait([watching])
        await _close_books(store, ledger, run_id, status, message, progress)
    ended = status in ("done", "short") and not plan.preview
    if ended:
        check_edits(store)
    version = freeze(store, run_id, plan.scope, selections_of(store, run_id)).version if ended else ""
    return Outcome(plan, status, message, progress, engines.judge is engines.model, version)


def budget_of(recipe: Recipe) -> Budget:
    """What the recipe lets one command spend. Raises InputError where dollars are limited and a price is unknown."""
    told = recipe.budget
    if told.usd is not None and (names := unpriced(recipe)):
        raise InputError(
            f"a budget of ${told.usd:g} cannot be kept: no price is known for {', '.join(names)}. Write `price: "
            "{input: …, output: …}` (US dollars per million tokens) under the model, or limit tokens or minutes"
        )
    return Budget(told.tokens, told.usd, told.minutes * 60 if told.minutes else None)


async def _to_the_end(growth: Growth, store: Store, plan: Plan, progress: Progress) -> tuple[Status, str]:
    run_id = plan.run_id
    try:
        await growth.rounds()
    except Stopped as stop:
        reason = str(stop)
        if reason == INTERRUPTED:
            return "interrupted", reason
        return ("budget" if reason.startswith(BUDGET) else "failed"), reason
    unanswered = unanswered_places(store, run_id)
    if unanswered:
        what = f"the engine did not answer for {unanswered} rows, which are not lost: the same command tries them again"
        return "failed", f"{what}. {_against(store, run_id)}"
    if not (progress.kept or plan.preview or plan.carried):
        return "failed", f"no row was kept, so there is no version: {_against(store, run_id)}"
    short = store.rows("SELECT count(*) AS n FROM coverage WHERE run_id = ? AND shortfall > 0", [run_id])[0]["n"]
    return ("short", f"{short} leaves short of their target") if short else ("done", "")


def _against(store: Store, run_id: str) -> str:
    """The three commonest reasons against a run's rows."""
    found = store.rows(
        "SELECT step, reason, count(*) AS n FROM base.samples WHERE run_id = ? AND status IN ('dropped', 'failed') "
        "GROUP BY ALL ORDER BY n DESC, step, reason LIMIT 3",
        [run_id],
    )
    return "; ".join(f"{row['n']} x {row['step']}: {row['reason']}" for row in found) or "none was made"


async def _close_books(
    store: Store, ledger: Ledger, run_id: str, status: str, message: str, progress: Progress
) -> None:
    try:
        await ledger.close()
    finally:
        end(store, run_id, status, message, progress.seconds, ledger.tally.replayed)


def _progress(store: Store, plan: Plan, ledger: Ledger) -> Progress:
    progress = Progress(ledger.tally, plan.wanted)
    states = ("kept", "dropped", "failed")
    sums = ", ".join(f"coalesce(sum({state}), 0)::BIGINT AS {state}" for state in states)
    before = store.rows(f"SELECT {sums} FROM coverage WHERE run_id = ?", [plan.run_id])[0]
    progress.resume(*(int(str(before[state])) for state in states))
    return progress


def prefect_api() -> str:
    """The Prefect API that the user has configured, or "": in the environment, or in the active profile.

    Prefect itself would read `.env`, `prefect.toml` and `pyproject.toml` in the current folder too, whoever wrote them,
    and takes seconds to import. Raises InputError where the profiles cannot be read.
    """
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect")
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise InputError(f"Prefect's profiles in {path} cannot be read: {error}. Mend or remove that file") from error
    active = os.environ.get("PREFECT_PROFILE") or told.get("active")
    return str(told.get("profiles", {}).get(active, {}).get("PREFECT_API_URL", ""))


@contextmanager
def _calm_collector() -> Iterator[None]:
    """Fewer garbage collections, none over what is loaded already: they were an eighth of a run's own CPU."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def interruptible(ledger: Ledger) -> Iterator[None]:
    """Ctrl-C and SIGTERM let calls in flight end, for GRACE seconds; a second one ends at once, and loses nothing."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield  # no signal can be handled here: one ends the process at once, which loses nothing recorded either
        return
    loop, before = asyncio.get_running_loop(), {number: signal.getsignal(number) for number in SIGNALS}
    interrupt = before[signal.SIGINT]
    timers = list[asyncio.TimerHandle]()

    def stop() -> None:
        ledger.stop(INTERRUPTED)
        ledger.hurry()
        timers.append(loop.call_later(GRACE, ledger.give_up))
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, interrupt if callable(interrupt) else signal.default_int_handler)
        logger.warning("Ends with the calls in flight, in %g s at most. Once more ends it at once.", GRACE)

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
