"""No text stops a run: whatever a model, a file or a server wrote, every pattern and check is over it in no time."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import random
import re
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curators import languages, rules
from curators.critique import CritiquePrompts
from curators.debate import MOST_QUOTES, UNREAD, checked
from curators.decontaminate import _words
from curators.planted import RULES
from exporters import card
from exporters.inspection import _reasoning, _suspects, _unusable
from flows import card_facts
from generators import skills
from seedbed.credentials import hidden, secret_places, secrets_in, without_secrets
from seedbed.normal_form import nfkc
from seedbed.prompts import BadPrompt, fence, render
from seedbed.reasoning_marks import has_reasoning_mark
from seedbed.records import Content
from tests.bad_texts import BLANKS, UNITS, bad_texts, run_of
from tests.grown import sample
from ui import markdown, safe


class Rows:
    """A split of a data set as far as the inspection looks at it."""

    def __init__(self, table) -> None:
        self.data = SimpleNamespace(table=table)


ROOT = Path(__file__).parents[2]
PACKAGES = ("seedbed", "generators", "curators", "trainer", "exporters", "flows", "ui")
LENGTH, SECONDS = 100_000, 1.0  # of CPU time, so that a loaded machine does not count
KEY = "sk-proj-0123456789abcdefghij"
CONTENT = Content(question="What is it?", answer="A mill.", context="The mill was built in 1810 by monks.")
SHORT = rules.Rules()


def sources() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        yield package, ROOT / package / "__init__.py"
        for found in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            path = ROOT / found.name.replace(".", "/")
            yield found.name, path / "__init__.py" if found.ispkg else path.with_suffix(".py")


def patterns() -> dict[str, re.Pattern[Any]]:
    """Those that modules hold, and those that are written amid a function, by name or line."""
    held, inline = dict[str, re.Pattern[Any]](), dict[str, re.Pattern[Any]]()
    for name, path in sources():
        module = importlib.import_module(name)
        held |= {f"{name}.{key}": value for key, value in vars(module).items() if isinstance(value, re.Pattern)}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="re")), args=[ast.Constant(value=str(text)), *_]):
                    inline[f"{name}:{node.lineno}"] = re.compile(text, re.DOTALL)
    known = {pattern.pattern for pattern in held.values()}
    return held | {name: pattern for name, pattern in inline.items() if pattern.pattern not in known}


def own_units(pattern: re.Pattern[Any]) -> list[str]:
    """What the pattern is made of: each piece alone, with the next one, and before a blank."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode()
    pieces = list(dict.fromkeys(re.findall(r"[A-Za-z]{2,}|[^\w\s\\]", source)))[:24]
    pairs = [f"{piece}{after}" for piece, after in pairwise(pieces)]
    return [unit for piece in [*pieces, *pairs] for unit in (piece, f"{piece} ", piece + BLANKS)]


def seconds(work: Callable[..., object], *given: object) -> float:
    began = time.process_time()
    work(*given)
    return time.process_time() - began


def slow(pattern: re.Pattern[Any], units: Sequence[str]) -> list[str]:
    """The units of which LENGTH characters take too long. Of a tenth, what is quick enough to take ten times ten times
    as long is not tried whole.
    """

    def took(text: str) -> float:
        given = text if isinstance(pattern.pattern, str) else text.encode("utf-8", "surrogatepass")
        return max(seconds(lambda: deque(pattern.finditer(given), 0)), seconds(pattern.fullmatch, given))

    suspects = (unit for unit in units if took(run_of(unit, LENGTH // 10)) > SECONDS / 200)
    return [unit for unit in suspects if took(run_of(unit, LENGTH)) > SECONDS]


def test_every_pattern_of_every_module_is_linear_in_what_it_reads():
    found = patterns()
    assert len(found) > 40 and "curators.rules._ANNOUNCED" in found and any("cutting:" in name for name in found)
    told = {name: slow(pattern, [*UNITS, *own_units(pattern)]) for name, pattern in found.items()}
    assert {name: units for name, units in told.items() if units} == {}


def of_both(check: Callable[[Content, rules.Rules], object]) -> Callable[[str], object]:
    """A check of the rules over a text as the question, the answer and the context."""
    return lambda text: [
        check(replace(CONTENT, **parts, rest=None), SHORT)
        for parts in ({"question": text}, {"answer": text, "context": text})
    ]


def with_dice(rule: Callable[[str, random.Random], object]) -> Callable[[str], object]:
    return lambda text: rule(text, random.Random(0))


def templated(text: str) -> object:
    try:
        return render(f"[system]\n{text}\n[user]\n{{{{ a }}}}\n", a=text)
    except BadPrompt as error:
        return error


WORK: dict[str, Callable[[str], object]] = {
    **{f"rules.{check.__name__}": of_both(check) for check in rules.CHECKS},
    **{f"planted.{name}": with_dice(rule) for name, rule in RULES.items()},
    "an argument": lambda text: checked(text, CONTENT, 1, "for"),
    "an argument about the text": lambda text: checked(
        text, Content(question=text, answer=text, context=text), 1, "for"
    ),
    "the language": lambda text: languages.foreign(text, ("en",)),
    "words of a benchmark": _words,
    "what makes duplicates": lambda text: sample(0, question=text, context=text).text_hash,
    "a copied example": skills._folded,
    "secrets": lambda text: (secrets_in(text, [KEY]), without_secrets(text, [KEY]), list(secret_places({text: text}))),
    "keys": lambda text: hidden(text.encode("utf-8", "surrogatepass") + KEY.encode(), [KEY]),
    "reasoning": has_reasoning_mark,
    "a fence": fence,
    "a prompt's turns": templated,
    "Markdown": markdown.rendered,
    "a cell": lambda text: (safe.literal(text), safe.table("a", ("a",), [(text,)])),
    "the card": lambda text: (card.plain(text), card._word(text)),
    "an address": card_facts._public,
}


@pytest.mark.parametrize("name", WORK)
def test_every_check_of_a_long_text_takes_less_than_a_second(name):
    for text in bad_texts(LENGTH):
        assert seconds(WORK[name], text) < SECONDS, f"{text[:20]!r}…"


def test_a_long_text_in_a_tree_is_inspected_in_less_than_a_second():
    for text in bad_texts(LENGTH):
        turn = {"role": "user", "content": text.encode("utf-8", "replace").decode()}
        rows = Rows(pa.table({"messages": [[turn]]}))
        took = seconds(lambda rows: [*_unusable(rows), *_reasoning(rows), *_suspects(rows, [KEY])], rows)
        assert took < SECONDS, f"{text[:20]!r}…"


def test_an_argument_that_is_all_quotes_has_the_first_hundred_checked_and_the_others_struck_out():
    said = "".join(f"<quote>{word}</quote> " for word in ["by monks", *map(str, range(200)), "in 1810"])
    turn = checked(said, CONTENT, 1, "for")
    assert turn.quotes == ("by monks",) and turn.text.count(UNREAD) == 202 - MOST_QUOTES


def test_a_text_that_would_take_long_as_markdown_is_folded_further_down_and_says_so():
    shown = markdown.rendered("**a**" + "[" * LENGTH)
    begun, more = shown.split("<details")
    assert "<strong>a</strong>[" in begun and f"{LENGTH + 5 - markdown.LONGEST:,} characters more" in more
    assert shown.count("[") == LENGTH, "nothing is left out"


@pytest.mark.parametrize(
    "template", ["{" * 20_000, "{{ " + "(" * 20_000, "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"]
)
def test_a_prompt_that_is_nested_without_end_is_refused_with_its_reason(template):
    with pytest.raises((BadPrompt, ValidationError), match=r"recursion|unexpected|expected"):
        render(CritiquePrompts(critique=f"[user]\n{template}").critique)


def test_a_text_in_normal_form_is_what_unicode_says_but_for_marks_without_end():
    for text in (
        "plain",
        "\ufb01ne \u2460 \uff21",
        "e\u0301\u0327 \u0327e\u0301",
        "\U0001f468\u200d\U0001f469" * 40,
        "\u2014" * 99,
        "й" * 99,
    ):
        assert nfkc(text) == unicodedata.normalize("NFKC", text)
    assert nfkc("a" + "\u0301" * 30) == unicodedata.normalize("NFKC", "a" + "\u0301" * 30)


def test_a_number_of_thousands_of_digits_is_no_number_to_plant_a_fault_in():
    assert RULES["number"]("9" * 5000, random.Random(0)) is None
    assert RULES["number"](f"{'9' * 5000} and 5", random.Random(0)) != f"{'9' * 5000} and 5"
