"""What hides or commands is shown; what a script or an emoji needs stays."""

import json

import pytest

from seedbed.visible import in_json, on_one_line, visible


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\x9b31m", r"a\x9b31m"),
        ("10 %\r0 %", r"10 %\x0d0 %"),
        ("ab\x08", r"ab\x08"),
        ("\x7f\x85\x00", r"\x7f\x85\x00"),
        ("exe\u202egnp", r"exe\u202egnp"),
        ("\u2066x\u2069\u200e\u061c", r"\u2066x\u2069\u200e\u061c"),
        ("a\u200bb\ufeffc\xadd\u3164", r"a\u200bb\ufeffc\xadd\u3164"),
        ("\U000e0041\U000e0042", r"\U000e0041\U000e0042"),
        ("one\u2028two", r"one\u2028two"),
        ("pass\u200dword", r"pass\u200dword"),
        ("x\ufe0f\ufe0f", r"x\ufe0f\ufe0f"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_what_hides_or_commands_is_an_escape(text, told):
    assert visible(text) == told
    assert visible(told) == told, "shown once, it stays so"


@pytest.mark.parametrize(
    "text", ["plain\n\ttext", "naïve 中文 עברית", "می‌خواهم", "👨‍👩‍👧 ❤️ 1️⃣ ❤️‍🔥", "葛\U000e0100飾", "क्‍ष", "\N{SNOWMAN}"]
)
def test_what_scripts_and_emoji_are_made_of_stays(text):
    assert visible(text) == text


def test_on_one_line_there_is_one_line():
    assert on_one_line("a\n\tb\x1b") == r"a\n\tb\x1b"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_means_the_same_and_has_no_power(encoding):
    text = "é 中 😀 \x1b \x7f \x9b \u202e \u2028 \U000e0041"
    told = in_json(json.dumps(text, ensure_ascii=False), encoding)
    assert json.loads(told) == text and told.encode(encoding)
    assert not {"\x7f", "\x9b", "\u202e", "\u2028", "\U000e0041"} & set(told)
