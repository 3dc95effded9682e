"""Which documents a step of a recipe takes, how many samples it wants of them, and what it tells before it begins."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml

from flows.methods import methods
from flows.plan import Plan, make_plan
from flows.run import read
from seedbed.engines import ModelCard
from seedbed.yamlfile import BadInput

STARTER = Path(__file__).parent.parent / "taxonomies/starter"
OF_TAXONOMY = "knowledge/gardening/seedlings"


def planned(folder: Path, *steps: object, rows: int | None = None) -> Plan:
    path = folder / "recipe.yaml"
    for name, words in {"a/one.md": 40, "a/two.md": 400, "b/three.txt": 40}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("# Title\n\n" + "Five words are in this. " * (words // 5))
    path.write_text(
        yaml.safe_dump({"name": "r", "model": "smollm2-135m", "taxonomy": str(STARTER), "generate": list(steps)})
    )
    card = ModelCard("scripted", "scripted", "1", "none")
    seedbed = read(path)
    return make_plan(seedbed.recipe, seedbed.leaves, methods(), {"model": card, "judge": card}, rows)


def test_a_step_takes_its_own_documents_and_one_without_any_the_taxonomy_s(tmp_path):
    plan = planned(
        tmp_path,
        {"knowledge": {"documents": "a/*", "per_leaf": 2}},
        {"knowledge": {"documents": "b/*", "per_leaf": 3}},
        {"knowledge": {"per_leaf": 4}},
    )
    assert {key: plot.wanted for key, plot in plan.plots.items()} == {
        ("knowledge", "documents/a/one.md"): 2,
        ("knowledge", "documents/a/two.md"): 2,
        ("knowledge-2", "documents/b/three.txt"): 3,
        ("knowledge-3", OF_TAXONOMY): 4,
    }


def test_two_steps_may_name_the_same_file(tmp_path):
    plan = planned(
        tmp_path,
        {"knowledge": {"documents": "a/*.md"}},
        {"knowledge": {"documents": "a/one.md"}},
        {"knowledge": {"documents": "a/*.md", "temperature": 1}},
    )
    assert [leaf for _, leaf in plan.plots] == [
        f"documents/a/{name}.md" for name in ("one", "two", "one", "one", "two")
    ]


def test_per_chunk_wants_as_many_samples_as_a_document_has_chunks_also_of_a_preview_s_plan(tmp_path):
    step = {"knowledge": {"documents": "a/*", "per_chunk": 3, "chunk_tokens": 100}}
    plan = planned(tmp_path, step)
    assert [plot.wanted for plot in plan.plots.values()] == [3, 15]
    assert planned(tmp_path, step, rows=2).wanted_in_full == 18


def test_chunks_that_no_place_reaches_are_told_once_a_step_before_anything_is_asked(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "generators"):
        planned(tmp_path, {"knowledge": {"documents": "a/*", "per_leaf": 2, "chunk_tokens": 100}}, "skills")
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 6 chunks are reached by per_leaf: 2. To reach all, write per_chunk: 1"
    ]


def test_an_old_recipe_is_told_to_write_chunk_tokens(tmp_path):
    with pytest.raises(BadInput, match=r"unknown key 'chunk_words'. Did you mean 'chunk_tokens'\?"):
        planned(tmp_path, {"knowledge": {"documents": "a/*", "chunk_words": 180}})
