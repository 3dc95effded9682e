"""An editor that knows the schema says of every key of a recipe what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flows.methods import methods
from seedbed.recipe import recipe_schema


def properties(node: Any, where: str = "recipe") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of a schema, however deep, by where it stands."""
    if isinstance(node, dict):
        for name, told in node.get("properties", {}).items():
            yield f"{where}.{name}", told
        for key, part in node.items():
            yield from properties(part, f"{where}/{key}")
    elif isinstance(node, list):
        for part in node:
            yield from properties(part, where)


def test_every_property_of_the_schema_says_what_it_is_for():
    known = methods()
    told = dict(properties(recipe_schema(known.generator_options(), known.curator_options())))
    assert len(told) > 100
    assert [where for where, one in told.items() if not one.get("description", "").strip()] == []


def test_a_method_is_described_by_its_options_own_words():
    known = methods()
    schema = recipe_schema(known.generator_options(), known.curator_options())
    forms = [form["properties"] for form in schema["properties"]["curate"]["items"]["oneOf"] if "properties" in form]
    [glance] = [form["glance"] for form in forms if "glance" in form]
    assert glance["description"].startswith("A sample with P(yes) under `drop_below` is dropped")
