"""Damage in a journal costs the calls that it hit, is told once, and stops nothing."""

from __future__ import annotations

import asyncio
import os
import random

import orjson
import pytest

from seedbed import journal_line
from seedbed.journal_line import is_whole, line_of
from seedbed.store import Store, StoreError
from seedbed.taking_in import take_in
from tests.test_ledger import Counting, asks, talk

N = 12


async def many(engine):
    return await asyncio.gather(*(engine.chat(asks(n), step="question") for n in range(N)))


@pytest.fixture
def home(tmp_path):
    """A run made twelve calls and was killed before any was committed."""
    talk(tmp_path, Counting(), many, close=False)
    return tmp_path


def segment(home):
    [path] = (home / "journal").glob("*.jsonl")
    return path


def old(line: bytes) -> bytes:
    """A line as Seedbed 0.1.0 wrote it, without a checksum."""
    return b"{" + line[18:]


def turned(data: bytes, at: int, bit: int = 1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= bit
    return bytes(changed)


def made_again(home, caplog) -> int:
    """How many calls a later run makes anew; then all are there, and every answer is what it was."""
    engine = Counting()
    caplog.clear()
    talk(home, engine, many, run="run2")
    rows = Store(home).rows("SELECT call_id, response FROM calls")
    assert len(rows) == N and all(str(row["response"]).startswith("answer ") for row in rows)
    return engine.calls


def told(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("seedbed")]


@pytest.mark.parametrize("aged", [False, True], ids=["checksums", "as 0.1.0 wrote it"])
def test_what_a_killed_run_left_is_taken_in_whole_and_without_a_word(home, caplog, aged):
    path = segment(home)
    if aged:
        path.write_bytes(b"".join(map(old, path.read_bytes().splitlines(keepends=True))))
    assert made_again(home, caplog) == 0 and not told(caplog)
    assert not list((home / "journal").glob("*.jsonl*"))


def test_any_one_bit_of_a_line_that_is_turned_is_noticed():
    line = line_of({"call_id": "0123456789abcdef01234567", "response": 'a "quoted" \u00e9', "usd": None})
    assert is_whole(line) and is_whole(line[:-1])
    found = [(at, bit) for at in range(len(line) - 1) for bit in range(8) if is_whole(turned(line, at, 1 << bit))]
    assert found == []


def test_a_turned_bit_anywhere_costs_its_own_call_and_no_other(home, caplog):
    dice, whole = random.Random(5), segment(home).read_bytes()
    path = segment(home)
    for at in dice.sample(range(len(whole)), 12):
        assert take_in(Store(home / f"copy{at}"), "") == 0
        folder = home / f"copy{at}" / "journal"
        folder.mkdir()
        (folder / path.name).write_bytes(turned(whole, at, 1 << dice.randrange(8)))
        caplog.clear()
        taken = take_in(Store(home / f"copy{at}"), "")
        rows = Store(home / f"copy{at}").rows(
            "SELECT DISTINCT call_id FROM calls WHERE starts_with(response, 'answer ')"
        )
        assert taken == len(rows) >= N - 1, f"byte {at}"
        assert taken == N or len(told(caplog)) == 1, "only a turned newline costs nothing"


def test_a_turned_bit_is_told_once_with_where_and_its_call_alone_is_made_again(home, caplog):
    path = segment(home)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"response":"answer', b'"response":"Answer')
    path.write_bytes(b"".join(lines))
    assert made_again(home, caplog) == 1
    [said] = told(caplog)
    assert "1 of 12" in said and str(path) in said and f"{path.name}.damaged" in said
    assert path.with_name(f"{path.name}.damaged").read_bytes() == lines[4], "nothing is thrown away"
    assert made_again(home, caplog) == 0 and not told(caplog)


FOREIGN = b'{"a":1}\n'


@pytest.mark.parametrize(
    ("spoil", "lost"),
    [
        pytest.param(lambda lines: lines[:3] + [lines[3][:70]] + lines[4:], 1, id="torn in the middle"),
        pytest.param(lambda lines: lines[:11] + [lines[11][:-40]], 1, id="torn at the end"),
        pytest.param(lambda lines: lines[:11] + [lines[11][:-1]], 0, id="only its newline torn off"),
        pytest.param(lambda lines: lines[:5] + [FOREIGN] + lines[5:], 0, id="a foreign line"),
        pytest.param(lambda lines: lines[:5] + [b"[1]\n", b"null\n", b"\n", b"no JSON\n"] + lines[5:], 0, id="no call"),
        pytest.param(lambda lines: lines[:5] + [b"\0" * 5000 + b"\n"] + lines[5:], 0, id="a line of NULs"),
        pytest.param(lambda lines: lines[:5] + [b"\0" * 4096] + lines[5:], 0, id="NULs before a line"),
        pytest.param(lambda lines: [*lines, b"\0" * 4096], 0, id="NULs at the end"),
        pytest.param(lambda lines: lines[:5] + [b"\xff\xfe\n", b"\xef\xbb\xbf"] + lines[5:], 0, id="no UTF-8"),
        pytest.param(
            lambda lines: [*lines[:5], old(lines[5]).replace(b'"call_id":"', b'"call_id":"z')], 7, id="bad id"
        ),
        pytest.param(lambda lines: lines[:6] + lines[5:], 0, id="a line twice"),
    ],
)
def test_a_bad_line_anywhere_costs_itself_and_every_good_one_is_kept(home, caplog, spoil, lost):
    path = segment(home)
    path.write_bytes(b"".join(spoil(path.read_bytes().splitlines(keepends=True))))
    engine = Counting()
    talk(home, engine, many, run="run2")
    assert engine.calls == min(lost, N)
    rows = Store(home).rows("SELECT count(*) AS n FROM calls WHERE call_id IS NULL OR response IS NULL")
    assert rows == [{"n": 0}]


def test_an_old_line_that_is_no_whole_call_is_set_aside(home, caplog):
    path = segment(home)
    lines = [orjson.loads(old(line)) for line in path.read_bytes().splitlines()]
    lines[0]["call_id"] = "é" * 24
    lines[1]["tokens_in"] = 2**40
    lines[2]["created_at"] = None
    del lines[3]["response"]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert made_again(home, caplog) == 4
    [said] = told(caplog)
    assert "4 of 12" in said


def test_what_is_no_journal_at_all_stops_nobody_and_is_set_aside_once(home, caplog):
    journal = home / "journal"
    (journal / "abc.1-0.jsonl").mkdir()
    (journal / "abd.1-0.jsonl").touch()
    (journal / "abe.1-0.jsonl").write_text("no call of ours\n")
    os.mkfifo(journal / "abf.1-0.jsonl")
    (journal / "abg.1-0.jsonl").symlink_to(home / "nowhere")
    assert made_again(home, caplog) == 0
    aside = sorted(path.name for path in journal.glob("ab?.*") if path.suffix != ".lock")
    assert aside == [f"ab{letter}.1-0.jsonl.damaged" for letter in "cefg"]
    assert len(told(caplog)) == 4
    assert made_again(home, caplog) == 0 and not told(caplog)


def test_two_damaged_files_of_one_name_are_both_kept(home, caplog):
    for _ in range(2):
        (home / "journal" / "abc.1-0.jsonl").write_text("no call of ours\n")
        take_in(Store(home), "")
    assert len(list((home / "journal").glob("abc*.damaged"))) == 2


def test_a_call_whose_id_is_none_in_the_store_stops_no_later_run(home):
    store = Store(home)
    take_in(store, "run1")
    with store.writing() as db:
        db.execute("UPDATE base.calls SET call_id = 'zz' || call_id[3:] WHERE rowid = 3")
        db.execute("UPDATE base.calls SET call_id = NULL WHERE rowid = 4")
    store.close()
    engine = Counting()
    talk(home, engine, many, run="run2")
    assert engine.calls == 2


def test_a_segment_that_is_spoilt_under_a_run_at_work_stops_it_in_words_and_the_next_run_sorts_it_out(tmp_path):
    async def spoilt(engine):
        await many(engine)
        path = segment(tmp_path)
        path.write_bytes(b'{"crc": {' + path.read_bytes()[9:])
        with pytest.raises(StoreError, match="Run the same command again"):
            await engine._ledger.flush()

    talk(tmp_path, Counting(), spoilt, close=False)
    engine = Counting()
    talk(tmp_path, engine, many, run="run2")
    assert engine.calls == 1


def test_an_answer_that_is_too_long_ever_to_be_read_again_fails_its_row_and_is_not_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_line, "LONGEST", 700)

    class Long(Counting):
        async def chat(self, messages, *given, **more):
            answer = await super().chat(messages, *given, **more)
            return answer._replace(text="x" * 700) if messages == asks(3) else answer

    async def some(engine):
        return await asyncio.gather(*(engine.chat(asks(n), step="q") for n in range(N)), return_exceptions=True)

    outcomes, _ = talk(tmp_path, Long(), some)
    assert [type(outcome).__name__ for outcome in outcomes].count("EngineError") == 1
    assert Store(tmp_path).rows("SELECT count(*) AS n FROM calls") == [{"n": N - 1}]
