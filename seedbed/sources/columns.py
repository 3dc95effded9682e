"""What a recipe may say of the columns of its rows: what each is, what their roles are called, where rows belong."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from seedbed.kinds import KINDS
from seedbed.records import Frozen
from seedbed.sources.misfit import Misfit
from seedbed.sources.raw import Row
from seedbed.yamlfile import kind, nearest

UNASSIGNED = "unassigned"
CONTENTS = ("question", "context", "system", "messages", "answer", "chosen", "rejected", "corrected", "label", "tools")
_ODD = '\\:*?"<>|'
_LONGEST = 200  # characters of a leaf's path
_ABSENT = object()

Path = str | None


class Columns(Frozen):
    """The columns of rows by what they are; where one of a content is given, only what is given counts.

    A dotted path such as `data.text` is a key within a column's object, unless a column is called so.
    """

    question: Path = Field(default=None, description="Column of the request: a text, or a list of turns.")
    context: Path = Field(default=None, description="Column of the text that the request is about.")
    system: Path = Field(default=None, description="Column of the system prompt.")
    messages: Path = Field(default=None, description="Column of the whole chat, its last turn the answer.")
    answer: Path = Field(default=None, description="Column of the answer: a text, or a list of turns.")
    chosen: Path = Field(default=None, description="Column of the better answer.")
    rejected: Path = Field(default=None, description="Column of the worse answer.")
    corrected: Path = Field(default=None, description="Column of the answer as it was corrected.")
    label: Path = Field(default=None, description="Column of whether the answer is as it should be: true or false.")
    tools: Path = Field(default=None, description="Column of the tools: a list of JSON schemas, or the JSON of one.")
    author: Path = Field(default=None, description="Column of who wrote the answer.")
    id: Path = Field(default=None, description="Column of the row's own id; left out, `id`.")
    leaf: Path = Field(default=None, description=f"Column of the leaf; left out, all rows are {UNASSIGNED}.")
    leaves: Mapping[str, str] = Field(default={}, description="Leaves by the values of the column `leaf`.")
    roles: Mapping[str, Literal["system", "user", "assistant", "tool"]] = Field(
        default={}, description="Roles by the names that the turns have for them, where those are unusual."
    )
    kind: str | None = Field(default=None, description=f"Kind of the rows: {', '.join(KINDS)}. Left out, by content.")

    @cached_property
    def odd(self) -> bool:
        """Whether anything is said that a plain chat is not read by."""
        return bool(self.contents or self.roles or self.kind or self.author or self.id or self.leaves)

    @cached_property
    def contents(self) -> dict[str, str]:
        """The columns of contents that are given, by our names for them."""
        return {name: path for name in CONTENTS if (path := getattr(self, name)) is not None}

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.kind is not None and self.kind not in KINDS:
            raise ValueError(f"no kind is called {self.kind!r}. {nearest(self.kind, KINDS)}")
        if self.leaves and self.leaf is None:
            raise ValueError("`leaves` says what values of a column mean: name the column as `leaf`")
        for value, path in self.leaves.items():
            if fault := path_fault(path):
                raise ValueError(f"the leaf of {value!r} is no plain path: {fault}")
        return self


def contents_of(row: Row, columns: Columns) -> tuple[Row, Row] | None:
    """The row's contents under our own names, and what is left of it; None where no column of a content is given.

    Raises:
        Misfit: it has no such column.
    """
    given = columns.contents
    if not given:
        return None
    left, found = dict(row), dict[str, Any]()
    for name, path in given.items():
        found[name] = value_at(row, path)
    for path in given.values():
        _take_out(left, _steps(row, path))
    if "label" in found and truth(found["label"]) is None:
        raise Misfit(f"{given['label']} is neither true nor false", kind(found["label"]))
    return found, left


def value_at(row: Row, path: str) -> Any:  # noqa: ANN401 # whatever JSON has
    """The value at a path. Raises Misfit where there is none."""
    value: Any = row
    for step in _steps(row, path):
        value = value.get(step, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        if value is _ABSENT:
            raise Misfit(f"there is no column {path}", f"its columns are {', '.join(row)}"[:500])
    return value


def truth(value: object) -> bool | None:
    """A truth value, or the text of one; else None."""
    if type(value) is str:
        return {"true": True, "false": False}.get(value.lower())
    return value if type(value) is bool else None


def leaf_of(row: Row, columns: Columns) -> str:
    """The leaf that a row belongs to, `unassigned` where it says nothing. Raises Misfit where its value names none."""
    if columns.leaf is None:
        return UNASSIGNED
    try:
        value = value_at(row, columns.leaf)
    except Misfit:
        return UNASSIGNED
    if value is None or value == "":
        return UNASSIGNED
    value = str(value).lower() if type(value) is bool else str(value) if type(value) is int else value
    if type(value) is not str:
        raise Misfit(f"{columns.leaf} is no text to name a leaf by", kind(value))
    if columns.leaves and value not in columns.leaves:
        raise Misfit(f"a value of {columns.leaf} that `leaves` does not name", repr(value[:80]))
    path = columns.leaves.get(value, value)
    if fault := path_fault(path):
        raise Misfit(f"{columns.leaf} is no plain path of a leaf", f"{path[:80]!r}: {fault}")
    return path


@lru_cache(maxsize=4096)
def path_fault(path: str) -> str:
    """Why a text cannot be a leaf's path, "" if it can: it is an id in tables and in names of files."""
    if not path.isprintable() or any(sign in path for sign in _ODD):
        return f"it may hold none of {_ODD} and no control character"
    if len(path) > _LONGEST:
        return f"it is longer than {_LONGEST} characters"
    if any(part.strip() in ("", ".", "..") for part in path.split("/")):
        return "write names with a / between them"
    return ""


def _steps(row: Row, path: str) -> list[str]:
    return [path] if path in row else path.split(".")


def _take_out(left: dict[str, Any], steps: list[str]) -> None:
    """Take the value at a path out of this copy of a row, and the objects that are empty then."""
    *outer, last = steps
    trail = [left]
    for step in outer:
        trail[-1][step] = dict(trail[-1].get(step, {}))
        trail.append(trail[-1][step])
    trail[-1].pop(last, None)
    for place, step in zip(reversed(trail[:-1]), reversed(outer), strict=True):
        if not place[step]:
            del place[step]
