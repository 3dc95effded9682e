"""A generator and a judge of one call each, joined to Seedbed as a third party would: by entry points of a package.

`package` writes what an installed package leaves behind for Python to find its entry points by. A folder with it on
PYTHONPATH offers both methods to any recipe, and `seedbed run` would find them there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from benchmarks.peers.prompts import JUDGE, MAX_TOKENS, REQUEST, TEMPERATURE, TOP_P
from flows.methods import Generator, Judge
from seedbed.engines import Engines, Sampling
from seedbed.prompts import Prompts, PromptText, render
from seedbed.records import Content, Draft, Frozen, Leaf, Sample, Unit, Verdict

SAMPLING = Sampling(TEMPERATURE, TOP_P, MAX_TOKENS)
METADATA = "Metadata-Version: 2.1\nName: two-calls\nVersion: 1\n"
ENTRY_POINTS = f"""\
[seedbed.generators]
one_call = {__name__}:GENERATOR
[seedbed.curators]
one_look = {__name__}:JUDGE_METHOD
"""


class OneCallPrompts(Prompts):
    """The generator's prompt."""

    request: PromptText = f"[user]\n{REQUEST}"


class OneCall(Frozen):
    """Options of the generator."""

    per_leaf: int = Field(ge=1)
    prompts: OneCallPrompts = OneCallPrompts()


class OneLookPrompts(Prompts):
    """The judge's prompt."""

    judge: PromptText = f"[user]\n{JUDGE}"


class OneLook(Frozen):
    """Options of the judge."""

    prompts: OneLookPrompts = OneLookPrompts()


def leaves(taxonomy: Sequence[Leaf], _options: OneCall) -> list[Leaf]:
    """Every leaf is filled."""
    return list(taxonomy)


async def one_call(unit: Unit, engines: Engines, options: OneCall) -> Draft:
    """An answer to request number so-and-so."""
    asked = render(options.prompts.request, number=unit.ordinal)
    reply = await engines.model.chat(asked, SAMPLING, step="answer", ordinal=unit.draw)
    return Draft(Content(question=asked[0]["content"], answer=reply.text), "instruction", call_ids=(reply.call_id,))


async def one_look(sample: Sample, engines: Engines, options: OneLook) -> Verdict:
    """What is wrong with the answer, kept as the transcript; dropped where the judge says "Reject:"."""
    asked = render(options.prompts.judge, answer=sample.content.answer)
    said = await engines.judge.chat(asked, SAMPLING, step="one_look")
    keep = not said.text.startswith("Reject:")
    reason = "" if keep else "rejected at a look"
    calls = (said.call_id,)
    return Verdict(step="one_look", curator="one_look", keep=keep, reason=reason, call_ids=calls, transcript=said.text)


GENERATOR = Generator(OneCall, leaves, one_call)
JUDGE_METHOD = Judge(OneLook, one_look, dear=True)


def package(folder: Path) -> Path:
    """The folder with the entry points of an installed package in it."""
    told = folder / "two_calls-1.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(METADATA)
    (told / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder
