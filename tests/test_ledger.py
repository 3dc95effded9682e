"""The ledger: nothing is paid for twice, whatever dies in between."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import contextmanager

import orjson
import pytest

from seedbed.budget import Budget
from seedbed.engines import Choice, EngineError, ModelCard, Reply, Sampling
from seedbed.journal import Journal, RunBusy, at_work, lease
from seedbed.ledger import Ledger, Stopped
from seedbed.recorded import Recorded
from seedbed.records import Message
from seedbed.replies import Unreadable
from seedbed.store import Store, StoreError

ASK: list[Message] = [{"role": "user", "content": "Why is the sky blue?"}]


def asks(n) -> list[Message]:
    return [{"role": "user", "content": f"ask {n}"}]


class Counting:
    """An engine that answers with the number of calls it has had."""

    def __init__(self, revision="1", fault=None):
        self.card = ModelCard("test", "counting", revision, "none")
        self.calls, self.fault = 0, fault

    async def chat(self, messages, sampling=Sampling(), *, step, ordinal=0, schema=None):
        self.calls += 1
        await asyncio.sleep(0)
        if self.fault:
            raise self.fault
        return Reply(f"answer {self.calls}", 10, 5, "stop")

    async def choose(self, messages, options, *, step):
        self.calls += 1
        if self.fault:
            raise self.fault
        return Choice({option: 1 / len(options) for option in options}, 0.9, 10)


@contextmanager
def opened(home, run="run1"):
    store = Store(home)
    with lease(home, run):
        yield store, Ledger(store, run)
    store.close()


def talk(home, engine, work, run="run1", close=True):
    """Do `work(recorded engine)` on a ledger; without `close` the process is as good as killed."""

    async def scene():
        with opened(home, run) as (_, ledger):
            answer = await work(Recorded(engine, ledger, run, 4))
            if close:
                await ledger.close()
            return answer, ledger.tally

    return asyncio.run(scene())


def test_a_recorded_call_is_answered_for_nothing_in_any_later_run(tmp_path):
    engine = Counting()
    first, _ = talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"))
    again, tally = talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"), run="run2")
    assert (engine.calls, tally.replayed, tally.tokens) == (1, 1, 0)
    assert again == first and again.call_id


def test_a_call_is_durable_before_its_caller_goes_on(tmp_path):
    engine = Counting()
    first, _ = talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"), close=False)
    assert Store(tmp_path).rows("SELECT * FROM calls") == [], "the commit had not come yet"
    again, _ = talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"), run="run2")
    assert engine.calls == 1 and again == first
    assert not list((tmp_path / "journal").glob("*.jsonl"))


def test_each_of_many_at_once_is_in_the_journal_before_its_caller_goes_on(tmp_path, monkeypatch):
    writes, write = [], Journal.put

    def counted(self, lines):
        writes.append(lines.count(b"\n"))
        write(self, lines)

    monkeypatch.setattr(Journal, "put", counted)

    async def one(engine, n):
        answer = await engine.chat(asks(n), step="question")
        return any(answer.call_id.encode() in path.read_bytes() for path in (tmp_path / "journal").glob("*.jsonl"))

    async def many(engine):
        return await asyncio.gather(*(one(engine, n) for n in range(40)))

    written, _ = talk(tmp_path, Counting(), many)
    assert all(written) and len(written) == 40
    assert sum(writes) == 40 and len(writes) <= 20, "those of one turn go together"


def test_on_a_full_disk_what_fits_is_kept_and_each_caller_hears_of_what_does_not(tmp_path, monkeypatch):
    """The group does not fit; of its calls one does not even alone."""
    write = Journal.put

    def full(self, lines):
        if lines.count(b"\n") > 1 or b"ask 1" in lines:
            raise StoreError("no space left")
        write(self, lines)

    monkeypatch.setattr(Journal, "put", full)

    async def many(engine):
        gone = asyncio.ensure_future(engine.chat(asks(9), step="question"))
        others = [asyncio.ensure_future(engine.chat(asks(n), step="question")) for n in range(3)]
        while not engine._ledger._outbox._added:
            await asyncio.sleep(0)
        gone.cancel()  # its answer has come and is paid for
        return await asyncio.gather(*others, return_exceptions=True)

    outcomes, tally = talk(tmp_path, Counting(), many)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Reply", "StoreError", "Reply"]
    assert tally.calls == 4
    assert Store(tmp_path).rows("SELECT count(*) AS n FROM calls") == [{"n": 3}]


def test_where_no_new_file_can_be_begun_the_run_stops_and_the_old_one_is_taken_in_later(tmp_path, monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device")

    async def asked(engine):
        answer = await engine.chat(ASK, step="question")
        monkeypatch.setattr(Journal, "_open", full)
        with pytest.raises(StoreError, match="Make room on the disk"):
            await engine._ledger.flush()
        await engine.chat(asks(2), step="question")  # goes into the old file
        monkeypatch.undo()
        return answer

    first, _ = talk(tmp_path, Counting(), asked, close=False)
    engine = Counting()
    again, _ = talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"), run="run2")
    talk(tmp_path, engine, lambda e: e.chat(asks(2), step="question"), run="run3")
    assert again == first and engine.calls == 0


def test_a_line_torn_by_the_kill_is_passed_over(tmp_path):
    talk(tmp_path, Counting(), lambda e: e.chat(ASK, step="question"), close=False)
    [segment] = (tmp_path / "journal").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + b'["half a ca')
    engine = Counting()
    talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"))
    assert engine.calls == 0


def test_a_journal_already_committed_is_not_taken_in_twice(tmp_path):
    talk(tmp_path, Counting(), lambda e: e.chat(ASK, step="question"), close=False)
    [segment] = (tmp_path / "journal").glob("*.jsonl")
    kept = segment.read_bytes()
    talk(tmp_path, Counting(), lambda e: e.chat(ASK, step="question"))
    segment.write_bytes(kept)
    talk(tmp_path, Counting(), lambda e: e.chat(ASK, step="question"))
    assert Store(tmp_path).rows("SELECT count(*) AS n FROM calls") == [{"n": 1}]


def test_whatever_is_said_comes_back_as_it_was_from_a_folder_of_any_name(tmp_path):
    home, strange = tmp_path / "it's [1]*", '\x00"\\\n\x1f\u2028 é 😀 {"a": [1]}'
    ask: list[Message] = [{"role": "user", "content": strange}]

    class Parrot(Counting):
        async def chat(self, messages, sampling=Sampling(), **_):
            return Reply(messages[0]["content"], 10, 5, "stop")

    twin = tmp_path / "it's 1" / "journal" / f"run1.{os.getpid()}-0.jsonl"  # what the name would mean as a pattern
    twin.parent.mkdir(parents=True)
    twin.write_text("not ours")
    talk(home, Parrot(), lambda e: e.chat(ask, step="question"))
    again, tally = talk(home, Counting(), lambda e: e.chat(ask, step="question"), run="run2")
    assert (again.text, tally.replayed) == (strange, 1)
    [row] = Store(home).rows("SELECT prompt, response FROM calls")
    assert orjson.loads(str(row["prompt"])) == ask and row["response"] == strange


def test_a_call_that_failed_and_then_came_is_on_the_books_twice(tmp_path):
    async def twice(engine):
        with pytest.raises(EngineError):
            await engine.chat(ASK, step="question")
        engine._engine.fault = None
        return await engine.chat(ASK, step="question")

    talk(tmp_path, Counting(fault=EngineError("down")), twice)
    talk(tmp_path, engine := Counting(), lambda e: e.chat(ASK, step="question"))
    assert engine.calls == 0
    assert Store(tmp_path).rows("SELECT status FROM calls") == [{"status": "error"}, {"status": "ok"}]


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.chat([{"role": "user", "content": "Why is the sky Blue?"}], step="question"),
        lambda e: e.chat(ASK, Sampling(temperature=0.1), step="question"),
        lambda e: e.chat(ASK, step="question", ordinal=1),
        lambda e: e.choose(ASK, ["a", "b"], step="question"),
    ],
)
def test_whatever_decides_the_answer_makes_another_call(tmp_path, change):
    engine = Counting()
    talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"))
    talk(tmp_path, engine, change)
    assert engine.calls == 2


def test_another_revision_of_the_model_is_asked_anew(tmp_path):
    talk(tmp_path, Counting(), lambda e: e.chat(ASK, step="question"))
    engine = Counting(revision="2")
    talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"))
    assert engine.calls == 1


def test_the_step_is_for_the_books_and_does_not_make_another_call(tmp_path):
    engine = Counting()
    talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"))
    talk(tmp_path, engine, lambda e: e.chat(ASK, step="renamed"))
    assert engine.calls == 1


def test_the_same_call_at_the_same_time_is_made_once(tmp_path):
    async def crowd(engine):
        return await asyncio.gather(*(engine.chat(ASK, step="question") for _ in range(20)))

    engine = Counting()
    answers, tally = talk(tmp_path, engine, crowd)
    assert engine.calls == 1 and len({answer.text for answer in answers}) == 1
    assert (tally.calls, tally.replayed) == (1, 19)


def test_a_failed_call_is_in_the_books_and_is_tried_again(tmp_path):
    async def fails(engine):
        with pytest.raises(EngineError):
            await engine.chat(ASK, step="question")

    talk(tmp_path, Counting(fault=EngineError("HTTP 500")), fails)
    assert Store(tmp_path).rows("SELECT status, error FROM calls") == [{"status": "error", "error": "HTTP 500"}]
    engine = Counting()
    talk(tmp_path, engine, lambda e: e.chat(ASK, step="question"))
    assert engine.calls == 1


def test_a_choice_that_could_not_be_read_is_not_paid_for_again(tmp_path):
    async def fails(engine):
        with pytest.raises(Unreadable, match="no option"):
            await engine.choose(ASK, ["a", "b"], step="check")

    talk(tmp_path, Counting(fault=Unreadable("check", "no option", "Well,")), fails)
    engine = Counting()
    talk(tmp_path, engine, fails)
    assert engine.calls == 0


def test_a_choice_comes_back_as_it_was(tmp_path):
    first, _ = talk(tmp_path, Counting(), lambda e: e.choose(ASK, ["yes", "no"], step="check"))
    again, _ = talk(tmp_path, Counting(), lambda e: e.choose(ASK, ["yes", "no"], step="check"))
    assert again == first and again.probabilities == {"yes": 0.5, "no": 0.5}


def test_thousands_of_recorded_calls_replay_in_any_order(tmp_path):
    def asking(order):
        async def work(engine):
            return await asyncio.gather(*(engine.chat(ASK, step="q", ordinal=i) for i in order))

        return work

    engine = Counting()
    first, _ = talk(tmp_path, engine, asking(range(3000)))
    again, tally = talk(tmp_path, engine, asking(range(2999, -1, -1)), run="run2")
    assert engine.calls == tally.replayed == 3000
    assert [a.text for a in again] == [a.text for a in reversed(first)]


def test_a_budget_stops_between_calls_and_the_rest_is_resumable(tmp_path):
    async def scene():
        engine, done = Counting(), 0
        with opened(tmp_path) as (store, _), lease(tmp_path, "budget"):
            ledger = Ledger(store, "budget", Budget(tokens=40))
            recorded = Recorded(engine, ledger, "budget", 4)
            with pytest.raises(Stopped, match="the budget of 40 tokens is spent"):
                for i in range(10):
                    await recorded.chat(ASK, step="q", ordinal=i)
                    done += 1
            await ledger.close()
        return engine.calls, done

    assert asyncio.run(scene()) == (3, 3)


def test_no_more_calls_are_in_flight_than_allowed(tmp_path):
    class Slow(Counting):
        now = most = 0

        async def chat(self, messages, sampling=Sampling(), *, step, ordinal=0, schema=None):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
            return Reply("a", 1, 1)

    async def crowd(engine):
        await asyncio.gather(*(engine.chat(ASK, step="q", ordinal=i) for i in range(30)))

    engine = Slow()
    talk(tmp_path, engine, crowd)
    assert engine.most == 4


def test_whoever_only_looks_keeps_no_run_from_beginning(tmp_path):
    looking = threading.Event()

    def look():
        while not looking.is_set():
            at_work(tmp_path, "run1")

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(300):
            with lease(tmp_path, "run1"):
                pass
    finally:
        looking.set()
        watcher.join()
    with lease(tmp_path, "run1"):
        assert at_work(tmp_path, "run1")
    assert not at_work(tmp_path, "run1")


def test_two_processes_cannot_work_on_one_run(tmp_path):
    with (
        lease(tmp_path, "run1"),
        pytest.raises(RunBusy, match="another process is at work on run run1"),
        lease(tmp_path, "run1"),
    ):
        pass
