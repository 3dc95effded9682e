"""Which model that is: known by its content where it lies in a folder, by its commit where it comes from the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from seedbed.engines import EngineError, ModelCard
from seedbed.engines.smollm2 import EMBEDDED, LICENCE, NAME, embedded_model
from seedbed.engines.smollm2 import revision as embedded_revision

_IN_BLOCKS = 1 << 24  # bytes
_COMMITS: dict[tuple[str, str], str] = {}
_TELLING = (".json", ".jinja", ".model", ".txt", ".safetensors")

FILES = "files:"  # how the revision of a folder begins, which is no commit


def identify(engine: str, model: str, revision: str, licence: str) -> ModelCard:
    """The card of a model that a recipe names: the embedded one, a folder wherever it lies, or a name on the hub.

    Raises:
        EngineError: its folder cannot be read, or the embedded model's package is not installed.
    """
    if model == EMBEDDED:
        return ModelCard(engine, NAME, embedded_revision(), LICENCE)
    if (folder := Path(model).expanduser()).is_dir():
        try:
            return ModelCard(engine, folder.resolve().name, revision or fingerprint(folder), licence)
        except OSError as error:
            raise EngineError(f"the model in {folder} cannot be read: {error}") from error
    return ModelCard(engine, model, commit_of(model, revision), licence)


def folder_of(model: str) -> Path | None:
    """Where a model lies on this machine; the embedded one is unpacked (half a minute, once). None for the hub's."""
    folder = embedded_model() if model == EMBEDDED else Path(model).expanduser()
    return folder.resolve() if folder.is_dir() else None


def commit_of(model: str, revision: str) -> str:
    """What a branch or tag of a model on the hub stands for now, told by the hub or, where it does not, by its cache.

    One process works with one state of a model, whatever is pushed meanwhile. Unknown it stays what was asked for;
    loading the model then says why.
    """
    from transformers.utils.hub import resolve_revision

    for from_cache in () if (model, revision) in _COMMITS else (False, True):
        found = resolve_revision(model, revision=revision or None, local_files_only=from_cache)
        if commit := getattr(found, "resolved", None):
            _COMMITS[model, revision] = str(commit)
            break
    return _COMMITS.get((model, revision), revision)


def fingerprint(folder: Path) -> str:
    """A hash over a model's files, read whole: a second a gigabyte. Raises OSError."""
    return f"{FILES}{digest(path for path in folder.iterdir() if path.suffix in _TELLING)}"


def digest(paths: Iterable[Path]) -> str:
    """A hash over files with their names, in the order of these. Raises OSError."""
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(paths):
        if path.exists() and not path.is_file():
            raise OSError(f"{path} is no plain file")  # a pipe would be waited for
        total.update(f"{path.name}\n{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(_IN_BLOCKS):
                total.update(block)
    return total.hexdigest()
