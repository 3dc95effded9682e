"""JSON in a model's words: slips are mended, LaTeX keeps its backslashes, what was cut or is two things is refused."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from pydantic import BaseModel

from seedbed.replies import Unreadable, reply
from seedbed.structured import read

B = "\\"


class Pair(BaseModel):
    question: str
    answer: str


def read_pair(text: str, finish: str = "stop") -> Pair:
    return read(reply(text, finish, (1, 20)), Pair, "make")


def pair(answer: str) -> str:
    return '{"question": "q", "answer": "' + answer + '"}'


@pytest.mark.parametrize(
    "text",
    [
        pair("a"),
        f"Here it is:\n```json\n{pair('a')}\n```",
        "{'question': 'q', 'answer': 'a'}",
        '{"question": "q", "answer": "a",}',
        f"The set {{x}} is open. {pair('a')} Done.",
        f"[{pair('a')}]",
        f"{pair('a')} {pair('a')}",
        f"<think>{pair('no')}</think>{pair('a')}",
    ],
)
def test_prose_fences_and_slips_are_tolerated(text):
    assert read_pair(text) == Pair(question="q", answer="a")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (f"${B}frac{{3}}{{4}}$, 3 {B}times 25", f"${B}frac{{3}}{{4}}$, 3 {B}times 25"),
        (f"{B}nabla f, {B}rho, {B}theta, {B}text{{m}}", f"{B}nabla f, {B}rho, {B}theta, {B}text{{m}}"),
        (f"${B}bar{{x}} = {B}sum x_i {B}in {B}mathbb{{R}}$", f"${B}bar{{x}} = {B}sum x_i {B}in {B}mathbb{{R}}$"),
        (f"$x {B}to 0, {B}tan x, {B}nu$", f"$x {B}to 0, {B}tan x, {B}nu$"),
        (f"{B}({B}underline{{x}}{B})", f"{B}({B}underline{{x}}{B})"),
        (f"{B}{B}frac{{1}}{{2}} {B}{B}theta", f"{B}frac{{1}}{{2}} {B}theta"),
        (f"one{B}nTwo{B}ttabbed{B}r{B}nnext", "one\nTwo\ttabbed\r\nnext"),
        (f"a{B}tan apple{B}nto eat", "a\tan apple\nto eat"),
        (f"{B}uface{B}uFEED {B}udada{B}uDEAD", "\uface\ufeed \U000c6aad"),
        (f"{B}u00e9t{B}u00e9 {B}/ {B}{B} {B}" + '"', "été / " + B + ' "'),
    ],
)
def test_a_backslash_that_can_only_be_latex_is_given_back_and_no_other(written, meant):
    assert read_pair(pair(written)).answer == meant


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"question": "q", "answer": "a', "the JSON breaks off"),
        ('{"question": "q", "answer": {"a": 1}', "the JSON breaks off"),
        (f"{pair('a')} {pair('b')}", "several JSON objects"),
        ('{"question": "q"}', "JSON of the wrong shape"),
        ("No idea.", "no JSON object"),
        ("", "empty answer"),
        (pair(f"form{B}f feed"), "control characters"),
        (pair(f"half {B}ud83d"), "half a character"),
        ('{"question": ' + "[" * 1000, "nested more than"),
    ],
)
def test_what_cannot_be_read_is_named(text, why):
    with pytest.raises(Unreadable, match=why):
        read_pair(text)


def test_json_that_the_room_cut_off_is_not_closed_for_its_writer():
    with pytest.raises(Unreadable, match="JSON cut off at 20 tokens") as caught:
        read_pair(pair("a"), finish="length")
    assert "max_tokens:" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        '"{' * 50_000,
        '{"question": "' + B * 100_001,
        '{"question": "q" "answer": ' + "[1," * 30,
        "}" * 100_000,
        "{}" * 50_000,
    ]
    + ['{"question": "' + '\\"' * 8_000 + '" "answer": x}', '{"a": [' + "{}," * 5_000 + "}", "{'" * 8_000 + "}" * 8_000]
    + [
        '{"question" ' + "'" * 16_000 + "}",
        "{" + ":" * 16_000 + "}",
        "{" + ",[]" * 5_000 + "}",
        '{"a": tru' + "e" * 16_000 + "}",
    ],
)
def test_hostile_json_takes_less_than_a_second(text):
    began = time.process_time()
    with suppress(Unreadable):
        read_pair(text)
    assert time.process_time() - began < 1
