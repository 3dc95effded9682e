"""What a hand-written YAML file may hold, and what it gets told when it holds something else."""

import time

import pytest

from seedbed.yamlfile import MAX_BYTES, BadInput, load


def write(folder, content):
    path = folder / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("12:30", "12:30"),
        ("2024-05-01", "2024-05-01"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1.2.3", "1.2.3"),
        ("<<", "<<"),
        ("9" * 5000, "9" * 5000),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("0", 0),
        ("-3", -3),
        ("200_000", 200_000),
        ("0.5", 0.5),
        ("1e-4", 1e-4),
        (".5", 0.5),
        ('"5"', "5"),
        ("[a, {b: 1}]", ["a", {"b": 1}]),
    ],
)
def test_a_bare_word_means_what_it_looks_like(tmp_path, text, value):
    loaded = load(write(tmp_path, f"key: {text}\n"))
    assert loaded.value == {"key": value}
    assert type(loaded.value["key"]) is type(value)


@pytest.mark.parametrize(
    ("content", "line", "what", "advice"),
    [
        ("a: &x 1\nb: *x\n", 1, "aliases are not read, and &x", "Write the value out"),
        ("a: 1\nb: *note\n", 2, "aliases are not read, and *note", "in quotes"),
        ("a: 1\nb: **bold** words\n", 2, "no valid YAML", "in quotes"),
        ("a: 1\nb: @home\n", 2, "no valid YAML", "in quotes"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is here twice, first on line 1", "Keep one"),
        ("a:\n  - b: 1\n    b: 2\n", 3, "'b' is here twice, first on line 2", "Keep one"),
        ("a: 1\nb: !!python/object:os.system {}\n", 2, "tags", "Take the tag out"),
        ("a: 1\n5: b\n", 2, "the key '5' is no text", "quotes"),
        ("a: 1\n? [b]\n: c\n", 2, "a key is no text", "quotes"),
        ("a: note: this\n", 1, "mapping values are not allowed", '": "'),
        ("a:\n\t- b\n", 2, "no valid YAML", "never with a tab"),
        ("a: 1\n---\nb: 2\n", 2, "another document", "one document"),
        ("a: [1\n", 2, "no valid YAML", "Check quotes"),
        ("", 1, "the file is empty", "key: value"),
        ("# only a comment\n", 1, "the file is empty", "key: value"),
        (b"a: 1\nb: caf\xe9\n", 2, "byte 0xe9 at offset 11", "Save the file as UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, "byte 0xff at offset 0", "UTF-8"),
        ("a: 1\nb: x\x07\n", 2, "#x0007", "Take the character out"),
        ('a: 1\nb: "\\ud800"\n', 2, "stands for no character", "ud800"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, "too large", "Take it out"),
        (b"a: " + b"x" * MAX_BYTES, 0, "larger than 1 MiB", "Split"),
    ],
)
def test_a_fault_says_where_what_and_what_to_write(tmp_path, content, line, what, advice):
    path = write(tmp_path, content)
    with pytest.raises(BadInput) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(path), line)
    assert what in problem.what
    assert advice in problem.write
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")


@pytest.mark.parametrize(
    "bomb",
    ["[" * 20_000, "[\n" * 20_000, "{a: " * 20_000, "- " * 20_000, "? " * 20_000, "a: [" + "[]," * 200_000 + "]"],
    ids=["brackets", "lines of brackets", "braces", "dashes", "question marks", "very many values"],
)
def test_a_bomb_is_refused_in_seconds(tmp_path, bomb):
    start = time.monotonic()
    with pytest.raises(BadInput, match=r"nested more than 20 deep|more than 50000 values"):
        load(write(tmp_path, bomb))
    assert time.monotonic() - start < 30


def test_every_duplicate_is_told_at_once(tmp_path):
    with pytest.raises(BadInput) as caught:
        load(write(tmp_path, "a: 1\na: 2\nb: 1\nb: 2\n"))
    assert [problem.line for problem in caught.value.problems] == [2, 4]


def test_every_key_and_item_has_its_line(tmp_path):
    loaded = load(write(tmp_path, "\ufeff# first\na: 1\nlist:\n  - x: |\n      long\n      text\n    y: 2\n  - z\n"))
    assert loaded.line("a") == 2
    assert loaded.line("list") == 3
    assert loaded.line("list", 0, "x") == 4
    assert loaded.line("list", 0, "y") == 7
    assert loaded.line("list", 1) == 8


def test_what_is_absent_has_the_line_of_its_nearest_parent(tmp_path):
    loaded = load(write(tmp_path, "a: 1\nlist:\n  - x: 1\n"))
    assert loaded.line("list", 0, "nope", "deeper") == 3
    assert loaded.line("nope") == 1


@pytest.mark.parametrize("name", [".", "absent.yaml"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path / name)
