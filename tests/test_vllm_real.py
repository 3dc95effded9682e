"""A real vLLM with the embedded model: chat, schema, choice, log-probabilities, a kill, a freeze, a trained adapter.

Skipped only where there is no vLLM and this is not CI; `make test` brings it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
from typing import Literal

import psutil
import pytest
import yaml

from seedbed.engines import EngineError, Sampling, ask
from seedbed.engines.vllm import VllmEngine
from seedbed.engines.vllm_launch import find_vllm
from seedbed.records import Content, Frozen, Message
from seedbed.vllm_recipe import VllmModel
from tests import test_run
from tests.tiny_version import grown

try:
    find_vllm()
    MISSING = ""
except EngineError as error:
    MISSING = "" if os.environ.get("CI") else str(error)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.skipif(bool(MISSING), reason=MISSING)]
GREEDY = Sampling(temperature=0, max_tokens=24)
SERVED = {"model": "smollm2-135m", "dtype": "float32", "max_model_len": 1024, "timeout": 30}
PARROT = "Ahoy, the harbour is open."


class Ruling(Frozen):
    reason: str
    score: Literal[1, 2, 3, 4, 5]
    word: Literal["keep", "drop"]


def turn(text):
    return [Message(role="user", content=text)]


def started():
    """The processes that this one has started, and those that they have."""
    return psutil.Process().children(recursive=True)


def engine_cores():
    return [child for child in started() if "EngineCore" in " ".join(child.cmdline())]


def alive(processes):
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def served():
    """A function that asks the one running engine, and has its own loop."""
    with asyncio.Runner() as runner:
        engine = runner.run(VllmEngine(VllmModel.model_validate(SERVED)).__aenter__())
        try:
            yield lambda question: runner.run(question(engine))
        finally:
            ours = started()
            runner.run(engine.__aexit__(None, None, None))
    assert len(ours) >= 3 and not alive(ours)  # guard, server, engine and whatever these have


def test_a_chat_is_answered_alike_when_it_is_drawn_alike(served):
    def one(ordinal):
        return served(lambda e: e.chat(turn("Name a sea."), Sampling(1.0, 1.0, 16), step="t", ordinal=ordinal))

    first, again, other = one(1), one(1), one(2)
    assert first.text == again.text != other.text
    assert 0 < first.tokens_out <= 16 and first.tokens_in > 10


def test_a_schema_holds_even_where_the_model_would_not(served):
    warm = Sampling(temperature=1.5, top_p=1.0, max_tokens=200)
    question = turn("Rule on this answer: 'Water is dry.' Be brief.")

    async def rulings(engine):
        asked = (ask(engine, question, Ruling, warm, step="t", ordinal=n) for n in range(4))
        return await asyncio.gather(*asked, return_exceptions=True)

    whole = [found for found in served(rulings) if not isinstance(found, Exception)]
    assert whole  # one that ends amid a sentence, at 200 tokens, is no fault of the server
    for ruling, reply in whole:
        assert ruling.word in ("keep", "drop") and 1 <= ruling.score <= 5
        assert reply.text == json.dumps(json.loads(reply.text), separators=(",", ":"), ensure_ascii=False)


def test_a_choice_is_one_of_its_options(served):
    class Pick(Frozen):
        word: Literal["harbour", "glacier"]

    pick, reply = served(lambda e: ask(e, turn("Which one has ships?"), Pick, GREEDY, step="t"))
    assert reply.text == f'{{"word":"{pick.word}"}}'


def test_choose_gives_probabilities_from_one_token(served):
    choice = served(lambda e: e.choose(turn("Is water wet? Answer yes or no."), ["yes", "no"], step="t"))
    assert math.isclose(sum(choice.probabilities.values()), 1) and 0.1 < choice.mass <= 1


def test_a_prompt_that_is_too_long_fails_alone(served):
    async def both(engine):
        asked = (engine.chat(turn(text), GREEDY, step="t") for text in ("word " * 3000, "Hello."))
        return await asyncio.gather(*asked, return_exceptions=True)

    long, short = served(both)
    assert "Shorten what the prompt shows" in str(long) and short.text


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_calls_in_flight_are_answered_though_its_engine_is(served, harm):
    async def harmed(engine):
        await engine.chat(turn("Hello."), GREEDY, step="t")
        (core,) = engine_cores()
        asked = [engine.chat(turn(f"Tell me fact {n}."), GREEDY, step="t", ordinal=n) for n in range(4)]
        calls = [asyncio.ensure_future(call) for call in asked]
        await asyncio.sleep(0.3)
        core.send_signal(harm)
        replies = await asyncio.gather(*calls)
        return core, replies

    core, replies = served(harmed)
    assert all(reply.text for reply in replies)
    assert not core.is_running() and len(engine_cores()) == 1


def test_an_adapter_just_trained_is_served_and_known_by_its_weights(tmp_path):
    contents = [Content(question=f"What of harbour {n}?", answer=PARROT) for n in range(16)]
    grown(tmp_path / "home", [("instruction", content) for content in contents])
    options = tmp_path / "options.yaml"
    training = {"epochs": 4, "batch_size": 4, "learning_rate": 2e-3, "lora_rank": 8, "max_length": 96, "held_out": 0.1}
    options.write_text(yaml.safe_dump(training))
    done = test_run.seedbed("train", "toy", "--options", options, "--json", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    model = VllmModel.model_validate(SERVED | {"adapter": json.loads(done.stdout)["adapter"]})
    others = started()  # the server of the tests before, which is still up

    async def main():
        async with VllmEngine(model) as engine:
            return engine.card, await engine.chat(turn("What of harbour 99?"), GREEDY, step="t"), started()

    card, reply, all_of_us = asyncio.run(main())
    ours = set(all_of_us) - set(others)
    assert reply.text.strip().startswith("Ahoy")
    assert card.model == "SmolLM2-135M-Instruct" and "+adapter:" in card.revision
    assert len(ours) >= 3 and not alive(ours)
