"""One YAML file, read safely, that remembers on which line everything stands.

A narrow YAML: plain values only. Aliases, tags, duplicate keys and deep nesting are refused, because they are
slips or attacks in a file that people write by hand. Bare words follow YAML 1.2, so `no`, `12:30` and
`2024-05-01` are the texts that they look like.
"""

from __future__ import annotations

import difflib
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeAlias

import yaml

from seedbed.visible import on_one_line

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_NODES = 50_000  # PyYAML takes a few seconds for these; a MiB of `[],` would take a minute

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Where: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of an input file: where, what is wrong, what to write instead. Line 0 means the whole file."""

    file: str
    line: int
    what: str
    write: str

    def __str__(self) -> str:
        """`file:line: what. write`, which editors and terminals can jump to."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        return on_one_line(f"{where}: {self.what}. {self.write}")


class BadInput(Exception):
    """Input that cannot be used: every fault found, not only the first."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a YAML file says, and where."""

    file: Path
    value: Value
    lines: dict[Where, int] = field(repr=False)

    def line(self, *where: str | int) -> int:
        """Line of a key or list item, counted from 1; of its nearest known parent if it is not there."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def problem(self, where: Where, what: str, write: str) -> Problem:
        """A fault of this file at a key or list item; of what was given in Python, with the way there."""
        if self.lines:
            return Problem(str(self.file), self.line(*where), what, write)
        return Problem(" at ".join(filter(None, (self.file.name, ".".join(map(str, where))))), 0, what, write)


def load(path: Path) -> Loaded:
    """The one YAML document in a file. Raises BadInput."""
    root = _compose(path, _text(path))
    loaded = Loaded(path, None, {})
    problems: list[Problem] = []
    value = _value(root, (), loaded, problems) if root else None
    if value is None and not problems:
        problems.append(Problem(str(path), 1, "the file is empty", "Write at least one `key: value`"))
    if problems:
        raise BadInput(*problems)
    return Loaded(path, value, loaded.lines)


def given(value: Mapping[str, object], name: str, folder: Path) -> Loaded:
    """A mapping of Python as if it stood in a file of this folder, and were called `name`.

    Raises:
        BadInput: a value of it is nothing that YAML has, such as a set or NaN.
    """
    problems: list[Problem] = []
    loaded = Loaded(folder / name, None, {})
    plain = _plain(value, (), loaded, problems)
    if problems:
        raise BadInput(*problems)
    return Loaded(loaded.file, plain, {})


def _plain(value: object, where: Where, into: Loaded, problems: list[Problem]) -> Value:
    if len(where) > MAX_DEPTH:
        problems.append(into.problem(where, "it is nested too deep", "Write it flatter"))
        return None
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item, (*where, n), into, problems) for n, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): _plain(item, (*where, key), into, problems) for key, item in value.items()}
    shown = repr(value) if isinstance(value, float) else f"of type {type(value).__name__}"
    write = "Give texts, finite numbers, true or false, lists, and mappings with texts as keys"
    problems.append(into.problem(where, f"a value {shown} is nothing that a file could say", write))
    return None


def nearest(word: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown word: the nearest right one, and all that are known."""
    names = sorted(known)
    close = difflib.get_close_matches(word.casefold(), names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names)}" if names else "None is known here; take it out"


def kind(value: object) -> str:
    """How a person would call a value of the wrong type, with the value where it is short."""
    match value:
        case None:
            return "empty"
        case bool() | int() | float():
            return f"a {'truth value' if isinstance(value, bool) else 'number'} ({str(value).lower()})"
        case str():
            return "a text"
        case list():
            return "a list"
    return "a mapping of keys to values"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        what = f"the file cannot be read ({error.strerror})"
        raise BadInput(Problem(str(path), 0, what, "Give the path of a YAML file that you may read")) from error
    if len(raw) > MAX_BYTES:
        what = f"the file is larger than {MAX_BYTES >> 20} MiB"
        raise BadInput(Problem(str(path), 0, what, "Split it, or put long texts in documents of their own"))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"the file is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}"
        raise BadInput(Problem(str(path), line, what, "Save the file as UTF-8")) from error


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        composer = _Composer(io.StringIO(text))
        try:
            return composer.get_single_node()
        except (ValueError, OverflowError) as error:  # PyYAML's own slips: "\\UFFFFFFFF", a version of 5,000 digits
            raise _Refused(composer.get_mark(), "this number or escape is too large", "Take it out") from error
    except _Refused as error:
        raise BadInput(Problem(str(path), error.line, error.what, error.write)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"this is no text: character #x{error.character:04x} is not allowed in YAML"
        raise BadInput(Problem(str(path), line, what, "Take the character out")) from error
    except yaml.MarkedYAMLError as error:
        raise BadInput(_broken(path, error)) from error


class _Refused(Exception):
    def __init__(self, mark: yaml.Mark, what: str, write: str) -> None:
        super().__init__(what)
        self.line, self.what, self.write = mark.line + 1, what, write


class _Composer(yaml.SafeLoader):
    """PyYAML's parser that stops at what we refuse before it builds it, so that no bomb goes off."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}  # type: ignore[misc] # so PyYAML

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__(stream)
        self.depth = self.nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As PyYAML's, within our limits."""
        event = self.peek_event()  # type: ignore[no-untyped-call] # untyped in its stubs
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            what = f"aliases are not read, and {sign}{event.anchor} is one half of an alias"
            raise _Refused(event.start_mark, what, f"Write the value out; put text that starts with {sign} in quotes")
        if event.tag not in (None, "!"):
            raise _Refused(
                event.start_mark,
                "tags such as !!str are not read",
                "Take the tag out; put text that starts with ! in quotes",
            )
        self.depth += 1
        self.nodes += 1
        if self.depth > MAX_DEPTH:
            what = f"values are nested more than {MAX_DEPTH} deep"
            raise _Refused(event.start_mark, what, "Put text that holds many brackets in quotes")
        if self.nodes > MAX_NODES:
            raise _Refused(event.start_mark, f"the file holds more than {MAX_NODES} values", "Split the file")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


# At most 18 digits: Python refuses to read very long numbers, and nothing we read needs one.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]{0,17})$")
_FRACTION = re.compile(r"[-+]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][-+]?[0-9]{1,2})?$")
for _tag, _words, _first in (
    ("null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", _INTEGER, list("-+0123456789")),
    ("float", re.compile(rf"(?!0[0-9]){_FRACTION.pattern}"), list("-+.0123456789")),
):
    _Composer.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _words, _first)


_QUOTE = "Put text that starts with this character in quotes"
_CHECK = "Check quotes, brackets and indentation from here upwards"
_CURES = (  # what PyYAML says, and what to write; the first that is found
    ("found another document", "Keep one document in the file: take out the second `---`"),
    (r"'\\t'", "Indent with spaces, never with a tab"),
    ("unexpected end of stream", "Close the quote; text that holds a quote stands in quotes of the other kind"),
    ("unknown escape|escape sequence", r"In double quotes write every \ twice, or put the text in single quotes"),
    ("cannot start any token|an (alias|anchor)|chomping or indentation|a comment or a line break", _QUOTE),
    ("(sequence entries|mapping keys) are not allowed", _QUOTE),
    ("<stream end>", f"{_CHECK}; a # behind a space begins a comment: put text that holds one in quotes"),
    (
        "flow (mapping|sequence|node)",
        "Within { } and [ ] put text in quotes that starts with a sign or holds one of ? : , # [ ] { }, or write "
        "`key: text` on lines of their own, without the brackets",
    ),
    ("mapping values are not allowed", 'Put text that holds ": " in quotes, or under `|` on lines of its own'),
    ("the node content", _QUOTE),
    ("found '<scalar>'", "Put the whole text in quotes; within '…' an apostrophe is written twice"),
)


def _broken(path: Path, error: yaml.MarkedYAMLError) -> Problem:
    said, mark, opened = f"{error.context} {error.problem}", error.problem_mark, error.context_mark
    problem = (error.problem or "it breaks off").removeprefix("but ")
    if opened and "unexpected end of stream" in said:
        mark, problem = opened, "this quote is not closed"
    elif opened and mark and "flow" in said and opened.line < mark.line:
        problem += f" (since the bracket on line {opened.line + 1})"
    mark = mark or opened
    write = next((cure for sign, cure in _CURES if re.search(sign, said)), _CHECK)
    return Problem(str(path), mark.line + 1 if mark else 1, f"this is no valid YAML: {problem}", write)


def _value(node: yaml.Node, where: Where, into: Loaded, problems: list[Problem]) -> Value:
    """The node as plain Python; lines go into `into`, faults to `problems`."""
    into.lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, where, into, problems)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*where, at), into, problems) for at, item in enumerate(node.value)]
    return _scalar(node, where, into, problems)


def _mapping(node: yaml.MappingNode, where: Where, into: Loaded, problems: list[Problem]) -> Value:
    found: dict[str, Value] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
            what = f"the key {key.value!r} is no text" if isinstance(key, yaml.ScalarNode) else "a key is no text"
            problems.append(Problem(str(into.file), line, what, "Put the key in quotes"))
            continue
        if item.start_mark.index == key.end_mark.index:
            what = f"the key {key.value!r} has no value"
            write = (
                "Write `key: value`, with a space behind the colon; within { } put text that holds a comma in quotes"
            )
            problems.append(Problem(str(into.file), line, what, write))
            continue
        if key.value in found:
            what = f"the key {key.value!r} is here twice, first on line {into.line(*where, key.value)}"
            problems.append(Problem(str(into.file), line, what, "Keep one of the two"))
            continue
        into.lines[*where, key.value] = line
        found[key.value] = _value(item, (*where, key.value), into, problems)
    return found


def _scalar(node: yaml.Node, where: Where, into: Loaded, problems: list[Problem]) -> Value:
    text: str = node.value
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text)
        case "float":
            return float(text)
    if re.search("[\x00\ud800-\udfff]", text):  # "\0" and "\ud800" are valid YAML, but no file or table holds them
        what = "this text holds an escape that stands for no character"
        problems.append(into.problem(where, what, r"Take \0 and \ud800 to \udfff out"))
    return text
