"""The keys in use: what the environment variables hold that recipes name, and the Hub's token.

They go out in a header and nowhere else. A document that holds one would be sent to every model and kept in the store,
so it is refused; a row that holds one is written to no file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from exporters.hub_client import token_of_hub
from seedbed.credentials import SHORTEST_KEY, holds_key
from seedbed.recipe import Recipe
from seedbed.records import Leaf
from seedbed.store import Store
from seedbed.yamlfile import BadInput, Problem

HUB = "HF_TOKEN"


def keys_in_use(store: Store) -> list[str]:
    """The Hub's token, and the keys of all models of all runs that are set."""
    found = store.rows("SELECT DISTINCT recipe_json FROM base.runs")
    names = {name for row in found for name in _names(orjson.loads(str(row["recipe_json"])))}
    return [key for key in (token_of_hub(), *_values(sorted(names)).values()) if len(key) >= SHORTEST_KEY]


def refuse_keys(recipe: Recipe, leaves: Iterable[Leaf], path: Path) -> None:
    """Raise BadInput where the recipe in this file, or a text that it names, holds a key: it would go to models."""
    keys = _values([*_names(recipe.model_dump(mode="json")), HUB])
    found = (
        Problem(str(path), 0, f"{where} holds the key in ${name}", "Take it out: it would be sent to models and kept")
        for where, text in (_texts(recipe, leaves) if keys else ())
        for name, key in keys.items()
        if holds_key(text.encode("utf-8", "surrogatepass"), key)
    )
    if problems := dict.fromkeys(found):
        raise BadInput(*problems)


def _texts(recipe: Recipe, leaves: Iterable[Leaf]) -> Iterator[tuple[str, str]]:
    yield "the recipe", recipe.model_dump_json()
    for leaf in leaves:
        yield leaf.path, "\n".join((leaf.task, leaf.domain, leaf.outline))
        yield from ((f"{leaf.path}, {document.name}", document.text) for document in leaf.documents)
        yield from ((leaf.path, "\n".join((seed.question, seed.answer, seed.context))) for seed in leaf.seeds)
        for asked in leaf.requests:
            texts = (*asked.content.texts(), *(answer.text for answer in asked.answers))
            yield leaf.path, "\n".join(texts)


def _names(recipe: Mapping[str, Any]) -> Iterator[str]:
    models = [recipe.get("model"), recipe.get("judge"), *(recipe.get("pool") or ())]
    for model in filter(None, models):
        yield from filter(None, [model.get("api_key_env"), *model.get("headers_from_env", {}).values()])


def _values(names: Iterable[str]) -> dict[str, str]:
    return {name: key for name in names if (key := os.environ.get(name, "").strip())}
