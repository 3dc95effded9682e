"""The code that decides what a method makes of an answer: its file, and those of its package and ours it stands on."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

OURS = frozenset({"seedbed", "generators", "curators"})
_NO_PART = ("seedbed.store", "seedbed.ledger", "seedbed.journal")  # they keep what was made, whatever it is


def hash_of(functions: Iterable[Callable[..., object]]) -> str:
    """A hash over the files behind these functions: a mended parser makes other rows of the same recorded answers."""
    found: dict[str, Path] = {}
    waiting = [function.__module__ for function in functions]
    packages = OURS | {name.partition(".")[0] for name in waiting}
    while waiting:
        name = waiting.pop()
        file = getattr(sys.modules.get(name), "__file__", None)
        if name in found or not file or name.partition(".")[0] not in packages or name.startswith(_NO_PART):
            continue
        found[name] = Path(file)
        waiting += _imported(sys.modules[name].__package__ or "", Path(file))
    total = hashlib.blake2b(digest_size=8)
    for name in sorted(found):
        total.update(found[name].read_bytes())
    return total.hexdigest()


@cache
def _imported(package: str, file: Path) -> tuple[str, ...]:
    """The modules that a file of this package imports, at its head or inside a function."""
    return tuple(_names(ast.parse(file.read_bytes()), package))


def _names(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            named = "." * node.level + (node.module or "")
            module = resolve_name(named, package) if node.level else named
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.expr):  # which is most of a file, and imports nothing
            yield from _names(node, package)
