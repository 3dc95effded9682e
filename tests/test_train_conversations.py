"""Versions of conversations and of knowledge, trained on for real by the command line, as in `test_trainer`."""

from __future__ import annotations

import pytest

from seedbed.conversation import Content, Response, Turn
from tests.test_trainer import refused, seedbed, told
from tests.tiny_model import GOOD, text, tiny_model
from tests.tiny_version import grown, options


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model."""
    folder = tmp_path_factory.mktemp("place")
    tiny_model(folder / "model")
    return folder


def test_whole_conversations_are_learned_and_measured_again(place):
    home = place / "dialogues"
    turns = [Turn("system", "kind"), Turn("user", "w1 w2"), Turn("assistant", "clear clear")]
    made = [
        Content.of([*turns, Turn("user", text(n))], [Response(f"{GOOD[n % 2]} true", reasoning="w9")])
        for n in range(60)
    ]
    grown(home, [("dialogue", content) for content in made])
    found = told(seedbed("train", "toy", "--options", options(place, max_length=30), "--json", home=home))
    assert found["after"]["loss"] < found["before"]["loss"] - 1
    assert found["rows"]["refused"] == {} == found["rows"]["remarks"]
    again = told(seedbed("evaluate", found["adapter"], "--json", home=home))
    assert (again["before"], again["after"]) == (found["before"], found["after"])
    errors = refused("toy", "--options", options(place, reasoning=True), home=home)
    assert "60 x the model's template has no place for reasoning. Start from a model whose template has" in errors


def test_passages_learned_and_passages_read_are_measured_alike_and_left_out_without_them(place):
    home = place / "knowledge"
    made = [Content(question=text(n), context=text(n + 9), answer=f"{GOOD[n % 2]} true") for n in range(60)]
    grown(home, [("knowledge", content) for content in made])
    found = {}
    for passages in ("learned", "prompt", "left_out"):
        chosen = options(place, epochs=2, passages=passages)
        found[passages] = told(seedbed("train", "toy", "--options", chosen, "--json", home=home))
        assert found[passages]["training"]["passages"] == passages
    before = [one["before"] for one in found.values()]
    assert before[0] == before[1] != before[2]
    assert found["learned"]["after"] != found["prompt"]["after"], "the passages had a part in the loss"
