"""From the models that a recipe names to engines: opened once each, and with the ledger before them."""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.asking import Ways
from seedbed.engines import Choice, Engine, EngineError, Engines, ModelCard, Reply
from seedbed.engines.smollm2 import EMBEDDED
from seedbed.ledger import Ledger
from seedbed.prices import Price, listed_price
from seedbed.recipe import HttpModel, Recipe, TransformersModel
from seedbed.recorded import Recorded
from seedbed.vllm_recipe import VllmModel

if TYPE_CHECKING:
    from seedbed.engines.http import HttpEngine

EMBEDDED_ROOM = 192  # tokens
BATCH_CALLS = 50_000  # as many as a batch holds: each wave of them may take a day

AnyModel = TransformersModel | HttpModel | VllmModel


async def open_all(recipe: Recipe, stack: AsyncExitStack, home: Path) -> Engines:
    """Each model of the recipe once, however often it is named; batches that are under way are kept in `home`."""
    opened: dict[str, Engine] = {}
    for model in recipe.models:
        if _told(model) not in opened:
            opened[_told(model)] = await stack.enter_async_context(open_engine(model, home))
    writer, judge, *more = (opened[_told(model)] for model in recipe.models)
    return Engines(writer, judge, tuple(more))


class Unasked:
    """Stands for a model of a recipe in which no step asks one: nothing is loaded, and no server is looked for."""

    def __init__(self, model: AnyModel) -> None:
        self.card = ModelCard(model.engine, model.model, "not asked", model.licence)

    async def chat(self, *_: object, **__: object) -> Reply:
        """Never asked."""
        raise EngineError(f"{self.card.model} was to be asked nothing")

    async def choose(self, *_: object, **__: object) -> Choice:
        """Never asked."""
        raise EngineError(f"{self.card.model} was to be asked nothing")


def unasked(recipe: Recipe) -> Engines:
    """The recipe's models, none of them opened."""
    writer, judge, *more = map(Unasked, recipe.models)
    return Engines(writer, judge, tuple(more))


def _told(model: AnyModel) -> str:
    """A model as the recipe tells it, to find it again by."""
    return model.model_dump_json()


def places(recipe: Recipe) -> int:
    """How many calls the recipe's models take at once in all."""
    return sum(map(_at_once, {_told(model): model for model in recipe.models}.values()))


def recorded(engines: Engines, recipe: Recipe, ledger: Ledger, run_id: str) -> Engines:
    """The engines with the ledger before each."""
    named = list(zip((engines.model, engines.judge, *engines.more), recipe.models, strict=True))
    wrapped = {
        engine: Recorded(engine, ledger, run_id, _at_once(model), price_of(model), ways_of(model))
        for engine, model in named
    }
    model, judge, *more = (wrapped[engine] for engine, _ in named)
    return Engines(model, judge, tuple(more))


def _at_once(model: AnyModel) -> int:
    """How many calls of the run a model may have before it: a batch takes all there are."""
    return BATCH_CALLS if isinstance(model, HttpModel) and model.batch else model.concurrency


def ways_of(model: AnyModel) -> Ways:
    """How the calls of its steps are asked. The embedded model seldom stops by itself: its answers have little room."""
    if isinstance(model, TransformersModel) and model.model == EMBEDDED and model.max_tokens is None:
        model = model.model_copy(update={"max_tokens": EMBEDDED_ROOM})
    return Ways(model, model.omit if isinstance(model, HttpModel) else ())


def price_of(model: AnyModel) -> Price | None:
    """What the model's tokens cost: what the recipe says, else what the dated table has; None where neither does."""
    if not isinstance(model, HttpModel):
        return None
    return model.price or listed_price(model.base_url, model.model)


def unpriced(recipe: Recipe) -> list[str]:
    """The recipe's models whose price nobody knows."""
    return list(dict.fromkeys(model.model for model in recipe.models if price_of(model) is None))


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

    return TransformersEngine(
        model.model, revision=model.revision, licence=model.licence, batch=model.concurrency, asking=model
    )


def open_http(model: HttpModel, home: Path | None = None) -> HttpEngine:
    """The client of an OpenAI-compatible server; its key comes from the environment. Raises EngineError."""
    from seedbed.engines.http import HttpEngine, Server

    key = _secret(model.api_key_env, "the server's API key") if model.api_key_env else None
    secret = {name: _secret(told, f"the header {name}") for name, told in model.headers_from_env.items()}
    server = Server(
        headers={**model.headers, **secret},
        secrets=tuple(secret.values()),
        query=model.query,
        omit=model.omit,
        rename=model.rename,
        top_logprobs=model.top_logprobs,
        batches=_batches(model, home) if home and model.batch else None,
    )
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
            server=server,
            asking=model,
        )
    except ValueError as error:
        raise EngineError(str(error)) from error


def _secret(variable: str, what: str) -> str:
    if not (value := os.environ.get(variable, "").strip()):
        raise EngineError(f"the environment variable {variable} is not set: put {what} in it")
    if not (value.isascii() and value.isprintable()):
        raise EngineError(f"what the environment variable {variable} holds is no header text: put {what} in it")
    return value


def _batches(model: HttpModel, home: Path) -> Path:
    """Where the batches of one model at one server are kept."""
    served = f"{model.base_url} {model.model}".encode()
    return home / "batches" / hashlib.blake2b(served, digest_size=6).hexdigest()
