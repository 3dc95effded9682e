"""Several calls of one sample at once: each that is paid for is on the books, whatever becomes of the others."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from curators.debate import Debate, debate
from curators.vote import Vote, vote
from generators.preferences import Preferences, preference
from seedbed.engines import Choice, EngineError, Engines, ModelCard, Reply, Sampling
from seedbed.ledger import Stopped
from seedbed.records import Unit
from seedbed.store import StoreError
from seedbed.together import together
from tests.test_debate import SAMPLE
from tests.test_ledger import ASK, opened
from tests.test_skills import WHY

ROOT = Path(__file__).parent.parent


def late(error: BaseException | None, seconds: float, done: list[float]):
    async def call() -> float:
        await asyncio.sleep(seconds)
        done.append(seconds)
        if error:
            raise error
        return seconds

    return call()


@pytest.mark.parametrize(
    ("first", "second", "raised"),
    [
        (Stopped("over"), None, Stopped),
        (EngineError("busy"), Stopped("over"), Stopped),
        (Stopped("over"), StoreError("full"), StoreError),
        (EngineError("busy"), KeyError("bug"), EngineError),
    ],
)
def test_all_calls_have_ended_before_anything_is_raised(first, second, raised):
    done = list[float]()

    async def both():
        return await together([late(first, 0, done), late(second, 0.05, done), late(None, 0.1, done)])

    with pytest.raises(raised):
        asyncio.run(both())
    assert done == [0, 0.05, 0.1]


def test_results_come_in_the_order_of_the_calls():
    async def both():
        return await together(late(None, seconds, []) for seconds in (0.05, 0.0))

    assert asyncio.run(both()) == [0.05, 0.0]


class StopsAfterOne:
    """One call is answered late; every other hears at once that the run is to end."""

    def __init__(self) -> None:
        self.card, self.asked, self.answered = ModelCard("t", "m", "1", "none"), 0, 0

    async def _one(self) -> None:
        self.asked += 1
        if self.asked > 1:
            raise Stopped("interrupted")
        await asyncio.sleep(0.05)
        self.answered += 1

    async def chat(self, messages, sampling=Sampling(), *, step, ordinal=0, schema=None):
        await self._one()
        return Reply("words", 1, 1)

    async def choose(self, messages, options, *, step):
        await self._one()
        return Choice(dict.fromkeys(options, 1 / len(options)), 1.0, 1)


UNIT = Unit("r", "preferences", WHY, 0, 0, 0)
METHODS: dict[str, Callable[[Engines], Coroutine[object, object, object]]] = {
    "vote": lambda engines: vote(SAMPLE, engines, Vote(votes=3)),
    "debate": lambda engines: debate(SAMPLE, engines, Debate()),
    "preferences": lambda engines: preference(UNIT, engines, Preferences(candidates=3)),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_ends_amid_a_method_leaves_no_call_behind_that_is_under_way(name):
    engine = StopsAfterOne()
    with pytest.raises(Stopped):
        asyncio.run(METHODS[name](Engines(engine, engine)))
    assert engine.answered == 1, "it was paid for"


def test_no_method_gathers_in_a_way_that_leaves_calls_behind():
    apart = ("gather", "create_task", "TaskGroup", "wait", "as_completed")
    files = [*ROOT.glob("generators/*.py"), *ROOT.glob("curators/*.py"), ROOT / "seedbed" / "pairwise.py"]
    bare = [
        f"{path.name}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in apart
    ]
    assert len(files) > 10 and bare == []


def test_an_answer_is_on_the_books_before_anybody_asks_by_what_name_it_was_served(tmp_path, monkeypatch):
    import seedbed.recorded as recorded

    class Renamed:
        card = ModelCard("t", "m", "1", "none")

        async def chat(self, messages, sampling=Sampling(), *, step, ordinal=0, schema=None):
            return Reply("words", 5, 7, served="m-2027")

        async def choose(self, messages, options, *, step):
            return Choice({}, 0.0, None)

    def kept_by_others(*_):
        raise StoreError("kept by another process")

    monkeypatch.setattr(recorded, "served_before", kept_by_others)

    async def ask():
        with opened(tmp_path) as (store, ledger):
            with pytest.raises(StoreError):
                await recorded.Recorded(Renamed(), ledger, "run1", 1).chat(ASK, step="answer")
            assert (ledger.tally.calls, ledger.tally.tokens_in) == (1, 5)
            await ledger.close()
            return store.rows("SELECT response, served FROM base.calls")

    assert asyncio.run(ask()) == [{"response": "words", "served": "m-2027"}]
