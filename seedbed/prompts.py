"""Prompts: Jinja text with a line `[system]`, `[user]` or `[assistant]` before each turn.

Rendered in a sandbox with StrictUndefined, because a recipe may bring its own. What is put in cannot open a
turn of its own: turns are found by control characters that are taken out of every value.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BeforeValidator, ValidationInfo, model_validator

from seedbed.folders import astray, hidden_part, read_whole
from seedbed.records import Frozen, Message
from seedbed.yamlfile import MAX_BYTES

OPEN, CLOSE = "\x1e", "\x1f"
_TURN = re.compile(r"^\[(system|user|assistant)\][ \t]*\n", re.MULTILINE)


def _clean(value: object) -> object:
    if isinstance(value, str) and (OPEN in value or CLOSE in value):
        return value.replace(OPEN, "").replace(CLOSE, "")
    return value


@lru_cache(maxsize=64)
def _fields(kind: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind)) if is_dataclass(kind) else frozenset()


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox, with a short way for what it need not ask about: the fields of our frozen data are plain values."""

    def getattr(self, obj: object, attribute: str) -> object:
        """A field as it is; anything else by the sandbox's rules (a quarter of a run's own CPU before)."""
        own = _fields(type(obj))  # type: ignore[arg-type]  # mypy doubts that a class can be hashed
        return getattr(obj, attribute) if attribute in own else super().getattr(obj, attribute)


_SANDBOX = _Sandbox(undefined=StrictUndefined, finalize=_clean, trim_blocks=True, lstrip_blocks=True, autoescape=False)


class BadPrompt(ValueError):
    """A prompt template that cannot be used: which, and why."""


_GLOBALS = dict(_SANDBOX.globals)
_CARRIED = (nodes.Assign, nodes.AssignBlock, nodes.Macro, nodes.Import, nodes.FromImport)


class _Piece(NamedTuple):
    """Of a turn: text as it is, or the name of a value."""

    text: str
    named: bool


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A template in two halves: the turns before the last, with the names they read, and the last turn.

    `pieces` are those of a last turn that has nothing but text and values, as most have: such is filled in at a tenth
    of the price.
    """

    opening: Template | None
    names: tuple[str, ...]
    last: Template
    pieces: tuple[_Piece, ...] = ()


@lru_cache(maxsize=256)
def _compiled(text: str) -> _Prompt:
    marked = _TURN.sub(lambda turn: f"{OPEN}{turn[1]}{CLOSE}", text)
    cut = marked.rfind(OPEN)
    try:
        tree = _SANDBOX.parse(marked[:cut])
        halves = _SANDBOX.from_string(marked[:cut]), _SANDBOX.from_string(marked[cut:])
    except TemplateError:  # the last turn stands inside a block, or it is no template
        return _Prompt(None, (), _SANDBOX.from_string(marked))
    if cut <= 0 or any(tree.find(kind) for kind in _CARRIED):
        return _Prompt(None, (), _SANDBOX.from_string(marked))
    return _Prompt(halves[0], tuple(sorted(find_undeclared_variables(tree))), halves[1], _pieces(marked[cut:]))


def _pieces(turn: str) -> tuple[_Piece, ...]:
    """What a turn is made of; nothing where that is more than text and values."""
    found = list[_Piece]()
    for node in _SANDBOX.parse(turn).body:
        for part in node.nodes if isinstance(node, nodes.Output) else [node]:
            if isinstance(part, nodes.TemplateData):
                found.append(_Piece(part.data, False))
            elif isinstance(part, nodes.Name):
                found.append(_Piece(part.name, True))
            else:
                return ()
    return tuple(found)


def _last(prompt: _Prompt, values: dict[str, object]) -> list[Message]:
    """The last turn."""
    try:
        text = "".join([str(values[text]) if named else text for text, named in prompt.pieces])
    except KeyError:  # a name that is not given, or one of Jinja's own
        text = ""
    if text.count(OPEN) != 1 or text.count(CLOSE) != 1:  # no such turn, or a value that would open one
        return _turns(prompt.last, values)
    role, _, body = text[len(OPEN) :].partition(CLOSE)
    return [{"role": role, "content": body.strip()}]


@lru_cache(maxsize=2048, typed=True)
def _opening(text: str, names: tuple[str, ...], *values: object) -> tuple[Message, ...]:
    """The turns before the last: the same for all samples of a leaf, so mostly rendered already."""
    template = _compiled(text).opening
    return tuple(_turns(template, dict(zip(names, values, strict=True)))) if template else ()


def _turns(template: Template, values: dict[str, object]) -> list[Message]:
    # What `template.render` does, without the copies of the globals that it makes at each call.
    context = Context(_SANDBOX, {**_GLOBALS, **values}, None, template.blocks)
    rendered = "".join(template.root_render_func(context))
    parts = (turn.partition(CLOSE) for turn in rendered.split(OPEN)[1:])
    return [{"role": role, "content": body.strip()} for role, _, body in parts]


def render(text: str, /, **values: object) -> list[Message]:
    """The chat turns of a prompt template, each turn's white space trimmed.

    Turns before the last are rendered once for the values that they read (hashable ones) and shared: do not
    change them.

    Raises:
        BadPrompt: the template names a value that it is not given, is no valid Jinja, or has no turn.
    """
    try:
        prompt = _compiled(text)
        given = [name for name in prompt.names if name in values]
        known = [values[name] for name in given]
        try:
            opening = _opening(text, tuple(given), *known)
        except TypeError:  # a value that cannot be hashed
            opening = _opening.__wrapped__(text, tuple(given), *known)
        turns = [*opening, *_last(prompt, values)]
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise BadPrompt(f"{error} (given: {', '.join(sorted(values))}), in the prompt:\n{text[:300]}") from error
    if not turns:
        raise BadPrompt(f"no line [system], [user] or [assistant] in the prompt:\n{text[:300]}")
    return turns


def fence(text: str) -> str:
    """A delimiter for judged text, from the hash of all that stands between the two: no text holds its own.

    80 bits, for a text that does would be found by trying: of 32 bits in seconds.
    """
    return "~" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def _load(value: object, info: ValidationInfo) -> object:
    """A template's text as it is; anything on one line is the path of a file, from the recipe's folder."""
    if not isinstance(value, str) or "\n" in value:
        text, where = value, "the prompt"
    else:
        folder = Path((info.context or {}).get("folder", "."))
        where = str(folder / value)
        text = _file(folder, value)
    if isinstance(text, str):
        try:
            _compiled(text)
        except (TemplateError, RecursionError) as error:
            raise ValueError(f"{where} is no valid Jinja template: {error}") from error
        if not _TURN.search(text):
            raise ValueError(f"{where} has no line [system], [user] or [assistant]")
    return text


def _file(folder: Path, name: str) -> str:
    """The text of a prompt's file, which a recipe from somebody else may name. Raises ValueError."""
    path = folder / name
    if hidden_part(name):
        raise ValueError(f"{name!r} begins with a dot or lies in such a folder: put a copy elsewhere")
    if problem := astray(name, folder):
        raise ValueError(str(problem))
    try:
        return read_whole(path, MAX_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is not UTF-8: {error.reason} at {error.start}"
        raise ValueError(f"cannot read the prompt file {path}: {why}") from error


class Prompts(Frozen):
    """The prompts of a method, each with its default; one that a recipe brings may use what the default uses."""

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        for name in sorted(self.model_fields_set):
            known = _names(type(self).model_fields[name].default)
            unknown = _names(getattr(self, name)) - known
            if unknown:
                given = ", ".join(sorted(known))
                raise ValueError(f"the prompt `{name}` uses {', '.join(sorted(unknown))}; it is given {given}")
        return self


def _names(text: str) -> set[str]:
    return find_undeclared_variables(_SANDBOX.parse(text)) - _GLOBALS.keys()


PromptText = Annotated[str, BeforeValidator(_load)]
"""A method option: the prompt's text, or in a recipe the path of a file that holds it."""
