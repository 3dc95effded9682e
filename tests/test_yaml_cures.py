"""Plain text that YAML does not take for text: each message names what to write instead."""

from __future__ import annotations

import pytest

from seedbed.taxonomy import read_taxonomy
from seedbed.yamlfile import BadInput, load

IN_BRACKETS = "Within { } and [ ] put text in quotes"
IN_QUOTES = "in quotes"


def problem(folder, text):
    path = folder / "file.yaml"
    path.write_text(f"seed_examples:\n  - {text}\nrest: 1\n")
    with pytest.raises(BadInput) as caught:
        load(path)
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("{question: How do you do?, answer: fine}", IN_BRACKETS),
        ("{question: How? Why, answer: x}", IN_BRACKETS),
        ("{question: Which one is 2: 3, answer: x}", IN_BRACKETS),
        ("{question: one, two, answer: x}", "put text that holds a comma in quotes"),
        ("{question:x, answer: y}", "with a space behind the colon"),
        ("{question: a [b] c, answer: x}", IN_BRACKETS),
        ("{question: a ] b, answer: x}", IN_BRACKETS),
        ("{question: a {b} c, answer: x}", IN_BRACKETS),
        ("{question: what # this, answer: x}", IN_BRACKETS),
        ("{question: 'tis, answer: x}", "Close the quote"),
        ("{question: 'a' b, answer: x}", IN_BRACKETS),
        ('{question: "a" b, answer: x}', IN_BRACKETS),
        ("{question: &a b, answer: x}", IN_QUOTES),
        ("{question: *a* b, answer: x}", IN_QUOTES),
        ("{question: !a b, answer: x}", IN_QUOTES),
        ("{question: @home, answer: x}", IN_QUOTES),
        ("{question: `a` b, answer: x}", IN_QUOTES),
        ("{question: %a, answer: x}", IN_QUOTES),
        ("{question: |a, answer: x}", IN_QUOTES),
        ("{question: >a, answer: x}", IN_QUOTES),
        ("{question: - a, answer: x}", IN_BRACKETS),
        ("{question: ? a, answer: x}", IN_BRACKETS),
        ('{question: "a\\d", answer: x}', "In double quotes write every \\ twice"),
        ("[How are you?, b]", IN_BRACKETS),
        ("question: 'don't'", "an apostrophe is written twice"),
        ('question: "a" b', "Put the whole text in quotes"),
        ("question: [a] b", "Put the whole text in quotes"),
        ("question: - a", IN_QUOTES),
        ("question: ? a", IN_QUOTES),
        ("question: ] a", IN_QUOTES),
        ("question: >quoted", IN_QUOTES),
        ("question: | a", IN_QUOTES),
        ("question: a: b", 'Put text that holds ": " in quotes'),
    ],
)
def test_what_breaks_plain_text_is_told_with_its_cure(tmp_path, text, cure):
    assert cure in problem(tmp_path, text).write


def test_a_fault_that_shows_later_says_where_it_began(tmp_path):
    assert "since the bracket on line 2" in problem(tmp_path, "{question: what # this, answer: x}").what
    unclosed = problem(tmp_path, "question: 'tis")
    assert (unclosed.line, unclosed.what) == (2, "this is no valid YAML: this quote is not closed")


def test_the_documented_pair_in_quotes_is_read(tmp_path):
    leaf = tmp_path / "skills" / "a"
    leaf.mkdir(parents=True)
    pair = '{question: "How do you do?", answer: "Fine, thanks: you?"}'
    (leaf / "qna.yaml").write_text(f"created_by: me\ntask_description: d\nseed_examples:\n  - {pair}\n")
    [found] = read_taxonomy(tmp_path)
    assert found.seeds[0].question == "How do you do?"


def test_a_problem_is_one_line_whatever_the_file_is_called(tmp_path):
    path = tmp_path / "a\nb\x1b[2J.yaml"
    path.write_text("a: [\n")
    with pytest.raises(BadInput) as caught:
        load(path)
    assert "\n" not in str(caught.value) and r"a\nb\x1b[2J.yaml:" in str(caught.value)
