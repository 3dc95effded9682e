"""How a document is cut: where it has its own breaks, whole where it fits, and bounded whatever stands in it."""

from __future__ import annotations

import re

import pytest

from seedbed.cutting import _WINDOW, cut, pieces
from seedbed.token_count import count

HEADER = "| valve | limit | material | care |\n|---|---|---|---|\n"
ROWS = "\n".join(f"| valve {n} | {n * 10} bar | brass | check weekly |" for n in range(60))
CODE = "\n".join(f"    line_{n} = {n}  # said" for n in range(60))
CHINESE = "番茄种子在二十到二十五度之间发芽最好。播种深度为一厘米！第一片真叶展开时移栽幼苗吗？" * 30  # noqa: RUF001
PROSE = " ".join(f"Sentence {n} has five words." for n in range(40))


def bare(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_pieces_keep_every_word_in_order_and_their_bound():
    text = f"# Title\n\nOne short line.\n\n{PROSE}" + " x" * 90
    found = cut(text, 60)
    assert " ".join(found).split() == text.split()
    assert max(map(count, found)) <= 60
    assert found[0].startswith("# Title\n\nOne short line.\n\nSentence 0 has")
    assert found[1].startswith("Sentence") and found[1].endswith(".")


def test_a_table_that_fits_is_whole_and_each_piece_of_a_longer_one_has_its_header():
    few = HEADER + "\n".join(ROWS.split("\n")[:5])
    assert any(few in piece for piece in cut(f"{PROSE}\n\n{few}\n\n{PROSE}", 150))
    first, *others = found = cut(f"# Valves\n\nPressure limits:\n\n{HEADER}{ROWS}\n\nEnd.\n", 240)
    assert first.startswith(f"# Valves\n\nPressure limits:\n\n{HEADER}| valve 0 |")
    assert all(piece.startswith(HEADER) for piece in others) and max(map(count, found)) <= 240
    rows = [line for piece in found for line in piece.split("\n") if re.match(r"\| valve \d", line)]
    assert "\n".join(rows) == ROWS, "each row once, and none is cut"


@pytest.mark.parametrize("mark", ["```", "~~~~"])
@pytest.mark.parametrize("closed", [True, False])
def test_code_keeps_its_lines_and_each_piece_of_it_its_fence(mark, closed):
    found = cut(f"Before.\n\n{mark}python\n{CODE}\n{f'{mark}{chr(10)}' if closed else ''}", 150)
    assert found[0].startswith(f"Before.\n\n{mark}python\n    line_0")
    assert all(piece.startswith(f"{mark}python\n    line_") for piece in found[1:])
    assert all(piece.endswith(f"\n{mark}") for piece in found[: None if closed else -1])
    lines = [line for piece in found for line in piece.split("\n") if "line_" in line]
    assert "\n".join(lines) == CODE


def test_code_in_a_quote_or_a_list_is_fenced_as_it_was():
    quote = "> ```\n" + "\n".join(f"> line {n} of it" for n in range(60)) + "\n> ```\n"
    assert all(piece.startswith("> ```\n> line") and piece.endswith("\n> ```") for piece in cut(quote, 80))
    item = "- so:\n\n  ```py\n" + "\n".join(f"  line {n} of it" for n in range(60)) + "\n  ```\n\nEnd."
    assert all(piece.startswith("  ```py\n  line") and "\n  ```" in piece for piece in cut(item, 80)[1:])


def test_a_list_is_cut_between_its_items_and_line_ends_stay():
    items = [f"- item {n}\n  goes on with more words here" for n in range(40)]
    found = cut("\n".join(items), 60)
    assert "\n".join(found) == "\n".join(items)
    assert all(piece.startswith("- item") for piece in found)


def test_a_heading_begins_a_piece_and_is_never_left_behind():
    text = "\n\n".join(f"## Part {n}\n\n{PROSE[:150]}" for n in range(9))
    found = pieces(text, 60)
    assert all(piece.text.startswith("## Part") for piece in found[::2])
    assert not any(piece.text.rpartition("\n")[2].startswith("#") for piece in found)
    assert cut("# A\n\nText.\n\n# B\n", 60) == ["# A\n\nText.\n\n# B"]
    (first, second) = cut(f"Text.\n\n## B\n\n{PROSE[:216]}", 60)
    assert first == "Text." and second.startswith("## B\n\nSentence 0")
    assert [piece.headings for piece in pieces("# A\n\n## B\n\ntext\n\n# C\n\ntext", 60)] == [("A > B", "C")]
    assert cut("---\ntitle: x\n---\n", 60) == ["---\ntitle: x\n---"]
    assert pieces("---\ntitle: x\nauthor: y\n---\n\nText.", 60)[0].headings == (), "facts about a page are no heading"


def test_chinese_is_cut_at_its_sentences_and_thai_without_spaces_at_the_bound():
    found = pieces(CHINESE, 240)
    assert "".join(piece.text for piece in found) == CHINESE and len(found) > 5
    assert all(piece.text[-1] in "。！？" and not piece.torn for piece in found)  # noqa: RUF001
    thai = "เมล็ดมะเขือเทศงอกได้ดีที่สุดที่อุณหภูมิยี่สิบถึงยี่สิบห้าองศา"
    assert not any(piece.torn for piece in pieces(" ".join([thai] * 30), 240))
    torn = pieces(thai * 30, 240)
    assert all(piece.torn for piece in torn) and max(count(piece.text) for piece in torn) <= 240


def test_plain_text_has_no_markdown():
    text = "# no heading\n    indented\n\n" + "1) one\n" * 40
    found = pieces(text, 40, markdown=False)
    assert all(piece.headings == () for piece in found)
    assert found[0].text.startswith("# no heading\n    indented\n\n1) one")


def test_a_piece_says_where_in_the_text_it_is():
    text = f"# A\n\n{PROSE}\n\n{HEADER}{ROWS}\n\n{CHINESE}"
    found = pieces(text, 100)
    assert [piece.start for piece in found[1:]] == [piece.end for piece in found[:-1]]
    assert found[0].start == 0 and found[-1].end == len(text)
    assert all(bare(text[piece.start : piece.end]) in bare(piece.text) for piece in found)


@pytest.mark.parametrize("text", ["", " \n\n\t ", "\n" * 99])
def test_nothing_has_no_piece(text):
    assert cut(text, 60) == []


@pytest.mark.parametrize(
    "text",
    [
        "x" * 20_000,
        "> " * 9_000 + "deep",
        "".join(f"{'  ' * n}- item\n" for n in range(400)),
        "| a |\n| - |\n" * 2_000,
        "|" + "a|" * 3_000 + "\n|" + "-|" * 3_000 + "\n" + "|b" * 3_000,
        "# " + "heading " * 2_000,
        "# a\n" * 3_000,
        "```\n" * 3_001,
        "<div>\n" * 3_000,
        "[a]: b\n" * 3_000,
        "a\r" * 3_000 + "\r\n" * 30 + "b",
        "\u0e01" * 9_000,
        "```" + "x" * 5_000 + "\ncode\n```",
        (PROSE + "\n\n") * (2 * _WINDOW // len(PROSE)),
        "\x00\x0b\u2028\x85" * 3_000,
    ],
)
@pytest.mark.parametrize("markdown", [True, False])
def test_whatever_stands_in_a_text_its_pieces_are_bounded_and_lose_nothing(text, markdown):
    found = pieces(text, 50, markdown)
    assert max(count(piece.text) for piece in found) <= 50
    assert sum(len(bare(piece.text)) for piece in found) >= len(bare(text))
