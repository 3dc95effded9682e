"""Texts on which a careless pattern takes minutes: long runs of what it may step back over, as long as asked for."""

from __future__ import annotations

from collections.abc import Iterator

UNITS = (
    *(".", " ", "\n", "\r\n", " \n", '"', "'", "~", "`", "*", "-", "=", ":", "\\", "%", "#"),
    *("[", "(", "{", "<", "</", "<|", "< / quote ", "<quote>", "<think ", "![a", "[a](", "> ", "- ", ", "),
    *("a", "A", "1", "1a", "a_", "a ", "京", "あ い", "e\u0301", "\U0001f600", "\u200b", "\ud800", "\0"),
    *(
        "Here is a ",
        "here is a question ",
        "I'm sorry ",
        "as an ai ",
        "is not ",
        "helpful and ",
        "sk-",
        "sk-a1B2c3D4e5F6",
    ),
    *("Bearer ", "http://", "[user]\n", "\nHuman:", "\nAnswer 1: ", "```\n", '"a" ', '"a', "~1234567", "|a|\n", "%5c"),
)


BLANKS = "\0blanks"  # at the end of a unit: the unit once, and blanks behind it


def run_of(unit: str, length: int) -> str:
    """The unit over and over."""
    if unit.endswith(BLANKS):
        return unit.removesuffix(BLANKS) + " " * length
    return (unit * (length // len(unit) + 1))[:length]


def bad_texts(length: int) -> Iterator[str]:
    """Each unit over and over, then texts of other shapes."""
    yield from (run_of(unit, length) for unit in UNITS)
    yield "".join(f'"q{n}" ' for n in range(length))[:length]  # no two quotes are alike
    yield "".join(f'"{"a " * n}" ' for n in range(1, length // 100))[:length]  # one word, in quotes of every length
    yield " ".join(f"w{n}" for n in range(length))[:length]
    yield "a" + "\u0315" * (length // 2) + "\u0300" * (length // 2)  # marks that are to change places
    yield "".join(f"{'  ' * n}- a\n" for n in range(300))[:length]
    yield "".join(f"{'`' * n} " for n in range(400))[:length]
    for start in ("<", "<quote", "</s>", "\n", "a", "- ", '"'):
        yield run_of(start + BLANKS, length)
