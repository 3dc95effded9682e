"""How a model is asked is part of what an answer is: another way is another call, and one that cannot be is refused."""

from __future__ import annotations

import ast
import asyncio
import sys
from pathlib import Path

import pytest

from benchmarks.mock_server import running
from flows.run import grow, read
from flows.sources import _names, hash_of
from generators.skills import skill
from seedbed.asking import Asked, Asking, Ways
from seedbed.errors import InputError
from seedbed.recorded import Recorded
from seedbed.yamlfile import BadInput
from tests.batch_provider import providing
from tests.test_ledger import ASK, Counting, opened
from tests.test_run import recipe, sql


def answers(home, asking: Asking, step: str = "answer") -> str:
    """What a counting engine says that is asked so; it says the same again only where nobody asks it."""
    engine = ENGINES.setdefault(str(home), Counting())

    async def ask() -> str:
        with opened(home) as (_, ledger):
            told = await Recorded(engine, ledger, "run1", 8, ways=Ways(asking)).chat(ASK, step=step)
            await ledger.close()
        return told.text

    return asyncio.run(ask())


ENGINES: dict[str, Counting] = {}


@pytest.mark.parametrize(
    "other",
    [
        Asking(thinking=False),
        Asking(thinking=True),
        Asking(template={"lang": "no"}),
        Asking(extra={"reasoning_effort": "low"}),
        Asking(temperature=0.1),
        Asking(top_p=0.5),
        Asking(max_tokens=9),
        Asking(system_role=False),
        Asking(steps={"answer": Asked(thinking=False)}),
    ],
)
def test_a_model_that_is_asked_in_another_way_is_asked_anew(tmp_path, other):
    first = answers(tmp_path, Asking())
    assert answers(tmp_path, other) != first and answers(tmp_path, Asking()) == first


@pytest.mark.parametrize(
    "same", [Asking(steps={"critique": Asked(thinking=False)}), Asking(min_choice_mass=0.5), Asking(template={})]
)
def test_what_decides_no_answer_of_a_step_makes_none_new(tmp_path, same):
    assert answers(tmp_path, Asking()) == answers(tmp_path, same)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"steps": {"answr": {"thinking": False}}}, "'answr' is no step in which mock is asked.*answer"),
        ({"template": {"chat_template": "{{ x }}"}}, "chat_template is no argument of a chat template's own"),
        ({"template": {"tokenize": True}}, "tokenize is no argument"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
    ],
)
def test_a_way_that_cannot_be_is_refused_before_anything_is_asked(tmp_path, model, told):
    path = recipe(tmp_path, "http://127.0.0.1:9/v1", model=model)
    with pytest.raises((InputError, BadInput), match=rf"(?s){told}"):
        asyncio.run(grow(read(path), tmp_path / "home"))


def test_a_mended_reader_of_replies_is_another_run_and_the_keeper_of_books_is_not(tmp_path, monkeypatch):
    """By copies of the files, of which each gets one line more."""

    def changed(name: str) -> bool:
        before, file = hash_of([skill]), tmp_path / "mended.py"
        file.write_text(Path(str(sys.modules[name].__file__)).read_text(encoding="utf-8") + "\n# mended\n")
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules[name], "__file__", str(file))
            return hash_of([skill]) != before

    decides = ("generators.skills", "seedbed.replies", "seedbed.reasoning", "seedbed.prompts", "seedbed.room")
    assert [name for name in decides if not changed(name)] == []
    assert not changed("seedbed.ledger") and not changed("seedbed.journal") and not changed("seedbed.store")


def test_a_file_of_imports_in_every_place_tells_all_of_them():
    code = """\
import a
def f():
    from b import c
    class D:
        import d
        def g(self):
            if 1:
                import e
try:
    import f
except E:
    import g
with h:
    import i
match x:
    case 1:
        import j
    case _:
        from . import k
        from ..l import m
"""
    assert set(_names(ast.parse(code), "p.q")) == {*"abdefgij", "b.c", "p.q", "p.q.k", "p.l", "p.l.m"}


def test_a_wave_of_a_batch_has_all_rows_of_a_run(tmp_path):
    """A batch may take a day: 600 rows take as many days as a row has calls one after the other."""
    with providing(seconds=0.3) as provider:
        path = recipe(tmp_path, provider.base_url, per_leaf=120, curate=["rules"], model={"batch": True})
        outcome = asyncio.run(grow(read(path), tmp_path / "home"))
        largest = max(len(provider.lines(name)) for name in provider.batches)
    assert outcome.status in ("done", "short"), outcome.message
    assert largest >= 600


def test_a_step_with_a_limit_of_its_own_is_held_to_it(tmp_path):
    with running() as base_url:
        path = recipe(tmp_path, base_url, per_leaf=1, model={"steps": {"answer": {"max_tokens": 3}}})
        asyncio.run(grow(read(path), tmp_path / "home"))
    room = "SELECT DISTINCT step, (request->>'max_tokens')::INT AS room FROM calls WHERE step IN ('question', 'answer')"
    rooms = {row["step"]: row["room"] for row in sql(room, tmp_path / "home")}
    assert rooms["answer"] == 3 and rooms["question"] > 100
