"""What a model in a folder is known by: the content of its settings, tokenizer and weights, wherever it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_IN_BLOCKS = 1 << 24  # bytes
_TELLING = (".json", ".jinja", ".model", ".txt", ".safetensors")

FILES = "files:"  # how the revision of a folder begins, which is no commit


def fingerprint(folder: Path) -> str:
    """A hash over a model's files, read whole: a second a gigabyte. Raises OSError."""
    return f"{FILES}{digest(path for path in folder.iterdir() if path.suffix in _TELLING)}"


def digest(paths: Iterable[Path]) -> str:
    """A hash over files with their names, in the order of these. Raises OSError."""
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(paths):
        total.update(f"{path.name}\n{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(_IN_BLOCKS):
                total.update(block)
    return total.hexdigest()
