"""Mappings in a recipe: which column is what, how roles are called, which leaf a row belongs to."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from seedbed.conversation import Content, Response, Turn
from seedbed.sources.forms import Columns, understand
from tests.test_forms import PAIR, misfit


def test_a_mapping_says_what_columns_are_and_then_only_it_decides():
    row = {"data": {"text": "Why?", "n": 1}, "reply": "Because.", "question": "Else?", "by": "m", "key": 5}
    columns = Columns(question="data.text", answer="reply", author="by", id="key", kind="knowledge")
    found = understand(row, columns)
    assert found == (found.content, "knowledge", "unassigned", "m", "5")
    assert (found.content.question, found.content.answer) == ("Why?", "Because.")
    assert found.content.facts["rows"] == {"data": {"n": 1}, "question": "Else?", "key": 5}
    wrong = misfit(row, columns=Columns(question="data.txt", answer="reply"))
    assert wrong.reason == "there is no column data.txt" and "data, reply, question" in wrong.details
    assert understand({"a.b": "Why?", "c": "x"}, Columns(question="a.b", answer="c")).content.question == "Why?"


def test_a_mapping_names_roles_pairs_labels_and_whole_chats():
    chat = [{"from": "Customer", "value": "Why?"}, {"from": "Desk", "value": "Because."}]
    named = Columns(messages="talk", roles={"Customer": "user", "Desk": "assistant"})
    assert understand({"talk": chat}, named).content == Content("Why?", "Because.")
    assert misfit({"talk": chat}, columns=Columns(messages="talk")).reason == "an unknown role in messages"
    pair = Columns(question="q", chosen="good", rejected="bad")
    assert understand({"q": "Why?", "good": "Because.", "bad": "No idea."}, pair)[:2] == (PAIR, "preference")
    fixed = Columns(question="q", answer="bad", corrected="good")
    assert understand({"q": "Why?", "good": "x", "bad": "y"}, fixed).kind == "correction"
    liked = Columns(question="q", answer="a", label="liked", system="s", tools="t", context="c")
    found = understand({"q": "Q", "a": "A", "liked": "True", "s": "S", "t": None, "c": "C"}, liked)
    assert found.kind == "labelled" and found.content == Content.of(
        [Turn("system", "S"), Turn("user", "Q", "C")], [Response("A")], label=True
    )
    assert misfit({"q": "Q", "a": "A", "liked": 5}, columns=Columns(question="q", answer="a", label="liked")).reason


def test_a_leaf_is_a_columns_value_or_what_a_table_makes_of_it():
    row = {"question": "Why?", "answer": "Because.", "topic": "desk/returns", "meta": {"n": 3}}
    assert understand(row, Columns(leaf="topic")).leaf == "desk/returns"
    assert understand(row, Columns(leaf="meta.n", leaves={"3": "desk"})).leaf == "desk"
    assert understand({**row, "topic": None}, Columns(leaf="topic")).leaf == "unassigned"
    assert misfit(row, columns=Columns(leaf="topic", leaves={"a": "b"})).reason.startswith("a value of topic that")
    for odd in ("../up", "/root", "a//b", "a:b", "a\nb", "a\\b", "a*", "x" * 300, "a/./b"):
        assert misfit({**row, "topic": odd}, columns=Columns(leaf="topic")).reason == "topic is no plain path of a leaf"
    assert misfit({**row, "topic": ["a"]}, columns=Columns(leaf="topic")).reason == "topic is no text to name a leaf by"


def test_a_mapping_that_makes_no_sense_is_refused_in_the_recipe():
    for wrong, said in (
        ({"kind": "preferrence"}, "no kind is called"),
        ({"leaves": {"a": "b"}}, "name the column as `leaf`"),
        ({"leaf": "t", "leaves": {"a": "../b"}}, "no plain path"),
        ({"roles": {"x": "boss"}}, "roles"),
        ({"qestion": "q"}, "qestion"),
    ):
        with pytest.raises(ValidationError, match=said):
            Columns.model_validate(wrong)
