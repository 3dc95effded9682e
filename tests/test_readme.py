"""What the README says is there is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from flows.cli import app
from flows.publication import Publication
from flows.run import read
from seedbed.options_file import read_options_file
from trainer.options import Training

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OPTIONS: dict[str, type[BaseModel]] = {
    "publish": Publication,
    "train-sft": Training,
    "train-dpo": Training,
}  # the rest are grown


def test_every_command_is_in_the_table_and_every_one_in_the_table_is_a_command():
    told = set(re.findall(r"^\| `seedbed (\w+)", README, re.MULTILINE))
    assert told == set(typer.main.get_group(app).commands)


def test_the_tree_is_the_tree_on_the_disk():
    told = set(re.findall(r"^(\w+)/ ", README, re.MULTILINE))
    there = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    assert told == there - {"requirements"}


def test_links_and_make_targets_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)", README):
        assert (ROOT / link).exists(), link
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"quickstart", "test"} == set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= targets


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_that_ships_reads(path):
    if path.stem in OPTIONS:
        read_options_file(path, OPTIONS[path.stem])
    else:
        assert read(path).leaves
