"""STUB until the branch comes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson

from seedbed.conversation import Content, Response, Turn
from seedbed.records import Frozen


class Raw(NamedTuple):
    number: int
    file: str
    line: int
    row: dict | None
    problem: str = ""


class Misfit(ValueError):
    pass


class Columns(Frozen):
    question: str | None = None


class Understood(NamedTuple):
    content: Content
    kind: str
    leaf: str | None = None
    author: str = ""


class Source:
    def __init__(self, path: Path):
        self.path = path
        self.name = path.name

    def count(self) -> int:
        return sum(1 for l in self.path.open("rb") if l.strip())

    def digest(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def rows(self, start: int = 0) -> Iterator[Raw]:
        n = -1
        with self.path.open("rb") as f:
            for line, text in enumerate(f, 1):
                if not text.strip():
                    continue
                n += 1
                if n < start:
                    continue
                try:
                    yield Raw(n, self.path.name, line, orjson.loads(text))
                except orjson.JSONDecodeError as e:
                    yield Raw(n, self.path.name, line, None, str(e))


def open_source(spec: str, folder: Path) -> Source:
    return Source(folder / spec)


def understand(raw: Raw, columns=None, leaf=None, leaves=None) -> Understood:
    if raw.row is None:
        raise Misfit(raw.problem)
    m = raw.row.get("messages")
    if not m or m[-1]["role"] != "assistant":
        raise Misfit("no answer")
    turns = [Turn(t["role"], t["content"]) for t in m[:-1]]
    c = Content.of(turns, [Response(m[-1]["content"])])
    return Understood(c, "instruction" if c.single else "dialogue", raw.row.get(leaf) if leaf else None)
