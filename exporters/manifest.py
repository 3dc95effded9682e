"""The manifest of a published tree: what is in it byte for byte, what it was made from, and that it is Seedbed's.

It is written last and lists every other file, so a folder or a repository whose manifest is ours tells which files are
ours, and whether someone has changed one since.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from exporters import card
from exporters.facts import Facts, Part
from exporters.tree import DATA, sha256_of

FILE = "manifest.json"
FORMAT = "seedbed-tree-1"
_NOT_TOLD = ("held", "traits")  # of a file: what only this machine counts, and what its columns tell
_DATA_FILE = re.compile(rf"{DATA}/[a-z-]+/[a-z]+-\d{{5}}-of-\d{{5}}\.parquet")


@dataclass(frozen=True, slots=True)
class Hashes:
    """A file's content: its SHA-256, and the id that git gives it, "" where only large-file storage knows it."""

    sha256: str
    blob: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is read back of a manifest of ours: the version, and what was in every file by its path."""

    version: str
    files: Mapping[str, Hashes]

    @property
    def data_files(self) -> list[str]:
        """Those files that a later tree may take away again: by their names, nobody else's."""
        return [path for path in self.files if _DATA_FILE.fullmatch(path)]


def write_manifest(facts: Facts, parts: Sequence[Part], folder: Path) -> None:
    """Write the manifest of a folder whose other files are there."""
    files = [{name: value for name, value in asdict(part).items() if name not in _NOT_TOLD} for part in parts]
    told = {
        "format": FORMAT,
        "seedbed": facts.seedbed,
        "version": facts.version,
        "parent": facts.parent or None,
        "frozen": facts.created,
        "license": facts.license or None,
        "recipe": facts.recipe,
        "thresholds": facts.thresholds,
        "held_out": facts.held_out,
        "run_ids": facts.run_ids,
        "models": [asdict(teacher) for teacher in facts.teachers],
        "made": facts.candidates,
        "published": facts.published,
        "left_out": [asdict(one) for one in facts.funnel if one.rows],
        "files": [*files, _readme(folder / card.FILE)],
        "how_to_reproduce": f"see {card.FILE}; `recipe` is the recipe as it ran",
    }
    (folder / FILE).write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _readme(path: Path) -> dict[str, object]:
    return {"path": card.FILE, "size": path.stat().st_size, "sha256": sha256_of(path), "blob": git_blob(path)}


def git_blob(path: Path) -> str:
    """The id that git gives a file's content, as the Hub lists it for small files."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def read_manifest(content: bytes) -> Manifest | None:
    """The manifest in these bytes, if it is one of ours. What is in it may come from anybody."""
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(told, dict) or told.get("format") != FORMAT or not isinstance(told.get("files"), list):
        return None
    files = {
        str(file["path"]): Hashes(str(file["sha256"]), str(file.get("blob", "")))
        for file in told["files"]
        if isinstance(file, dict) and {"path", "sha256"} <= file.keys()
    }
    return Manifest(str(told.get("version")), files)


def manifest_of(folder: Path) -> Manifest | None:
    """The manifest of a folder, if there is one of ours."""
    path = folder / FILE
    return read_manifest(path.read_bytes()) if path.is_file() else None
