"""From the models that a recipe names to engines: opened once each, and with the ledger before them."""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.engines import Engine, EngineError, Engines, ModelCard
from seedbed.ledger import Ledger, Recorded
from seedbed.prices import Price, listed_price
from seedbed.recipe import HttpModel, Recipe, TransformersModel
from seedbed.vllm_recipe import VllmModel

if TYPE_CHECKING:
    from seedbed.engines.http import HttpEngine

BATCH_CALLS = 10_000  # more than the rows under way need

AnyModel = TransformersModel | HttpModel | VllmModel


async def open_all(recipe: Recipe, stack: AsyncExitStack, home: Path) -> Engines:
    """Each model of the recipe once, however often it is named; batches that are under way are kept in `home`."""
    opened: dict[AnyModel, Engine] = {}
    for model in _named(recipe):
        if model not in opened:
            opened[model] = await stack.enter_async_context(open_engine(model, home))
    writer, judge, *more = (opened[model] for model in _named(recipe))
    return Engines(writer, judge, tuple(more))


def _named(recipe: Recipe) -> tuple[AnyModel, ...]:
    return (recipe.model, recipe.judge or recipe.model, *recipe.pool)


def places(recipe: Recipe) -> int:
    """How many calls the recipe's models take at once in all."""
    return sum(map(_at_once, dict.fromkeys(_named(recipe))))


def recorded(engines: Engines, recipe: Recipe, ledger: Ledger, run_id: str) -> Engines:
    """The engines with the ledger before each."""
    named = list(zip((engines.model, engines.judge, *engines.more), _named(recipe), strict=True))
    wrapped = {engine: Recorded(engine, ledger, run_id, _at_once(model), price_of(model)) for engine, model in named}
    model, judge, *more = (wrapped[engine] for engine, _ in named)
    return Engines(model, judge, tuple(more))


def _at_once(model: AnyModel) -> int:
    """How many calls of the run a model may have before it: a batch takes all there are."""
    return BATCH_CALLS if isinstance(model, HttpModel) and model.batch else model.concurrency


def price_of(model: AnyModel) -> Price | None:
    """What the model's tokens cost: what the recipe says, else what the dated table has; None where neither does."""
    if not isinstance(model, HttpModel):
        return None
    return model.price or listed_price(model.base_url, model.model)


def unpriced(recipe: Recipe) -> list[str]:
    """The recipe's models whose price nobody knows."""
    return list(dict.fromkeys(model.model for model in _named(recipe) if price_of(model) is None))


def cards(engines: Engines) -> dict[str, ModelCard]:
    """Which models these are, by their role in the run."""
    pool = {f"pool-{n}": engine.card for n, engine in enumerate(engines.more, start=1)}
    return {"model": engines.model.card, "judge": engines.judge.card} | pool


def open_engine(model: AnyModel, home: Path | None = None) -> AbstractAsyncContextManager[Engine]:
    """The engine that a recipe asks for, to be entered and left. Without a `home` none uses a batch API.

    Raises:
        EngineError: a key is missing, or is none.
    """
    if isinstance(model, HttpModel):
        return open_http(model, home)
    if isinstance(model, VllmModel):
        from seedbed.engines.vllm import VllmEngine

        return VllmEngine(model)
    from seedbed.engines.transformers import TransformersEngine

    return TransformersEngine(model.model, revision=model.revision, licence=model.licence, batch=model.concurrency)


def open_http(model: HttpModel, home: Path | None = None) -> HttpEngine:
    """The client of an OpenAI-compatible server; its key comes from the environment. Raises EngineError."""
    from seedbed.engines.http import HttpEngine

    key = os.environ.get(model.api_key_env or "")
    if model.api_key_env and not key:
        raise EngineError(f"the environment variable {model.api_key_env} is not set: put the server's API key in it")
    try:
        return HttpEngine(
            model.base_url,
            model.model,
            revision=model.revision,
            licence=model.licence,
            api_key=key,
            concurrency=model.concurrency,
            timeout=model.timeout,
            retries=model.retries,
            batches=_batches(model, home) if home and model.batch else None,
        )
    except ValueError as error:
        raise EngineError(str(error)) from error


def _batches(model: HttpModel, home: Path) -> Path:
    """Where the batches of one model at one server are kept."""
    served = f"{model.base_url} {model.model}".encode()
    return home / "batches" / hashlib.blake2b(served, digest_size=6).hexdigest()
