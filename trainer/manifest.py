"""What an adapter is: what it learned from, how, and what that did to the held-out rows; saved beside its weights.

`rows.jsonl` names every row of the version with what became of it, by id and by a hash of its prompt, never by its
text: so the same rows can be measured again, and no row that was learned from is ever taken for one held out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError

from seedbed.conversation_json import rest_json
from seedbed.errors import InputError
from seedbed.records import Frozen
from trainer.measure import Likelihood, Preference
from trainer.options import Training
from trainer.rows import Fit, Row

MANIFEST, ROWS, WEIGHTS = "manifest.json", "rows.jsonl", "adapter_model.safetensors"
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
TRAIN, HELD_OUT, REFUSED = "train", "held out", "refused: "


class Origin(Frozen):
    """The version that was learned from, and what made it."""

    version: str
    recipe: str
    recipe_sha256: str
    run_ids: tuple[str, ...]


class Base(Frozen):
    """The model that the adapter belongs to. A folder's revision is a hash of its files."""

    model: str
    revision: str
    licence: str


class Counted(Frozen):
    """Rows of the version by what became of them, and hashes of the texts of those that were used.

    `remarks` counts those that were used otherwise than usual.
    """

    train: int
    held_out: int
    refused: dict[str, int]
    remarks: dict[str, int] = Field(default_factory=dict)
    train_hash: str
    held_out_hash: str


def _as_it_was_meant(training: object) -> object:
    """Options as they were when passages were in the prompt and nowhere else."""
    return {"passages": "prompt", **training} if isinstance(training, dict) else training


class Manifest(Frozen):
    """Everything that tells one adapter from another. Figures are of the held-out rows."""

    origin: Origin
    base: Base
    training: Annotated[Training, BeforeValidator(_as_it_was_meant)]
    rows: Counted
    before: Likelihood | Preference
    after: Likelihood | Preference
    seconds: float
    steps: int
    device: str
    dtype: str | None = None  # of the base model's weights; None where the manifest does not say
    packages: dict[str, str]
    created_at: str


class Used(NamedTuple):
    """What became of a row: its id, its prompt's hash, and `train`, `held out` or `refused: REASON`."""

    sample_id: str
    prompt: str
    use: str


def counted(fit: Fit) -> Counted:
    """The counts and hashes of a version's rows."""
    return Counted(
        train=len(fit.train),
        held_out=len(fit.held_out),
        refused=fit.reasons,
        remarks=fit.remarks,
        train_hash=hash_of(fit.train),
        held_out_hash=hash_of(fit.held_out),
    )


def hash_of(rows: Iterable[Row]) -> str:
    """A hash of rows, ids and texts, in their order."""
    total = hashlib.blake2b(digest_size=16)
    for row in rows:
        told = row.content
        rest = [rest_json(told.rest)] if told.rest else []  # not of the usual case, whose hashes stand in old manifests
        total.update(json.dumps([row.sample_id, told.prompt(), told.answer, told.rejected, *rest]).encode())
    return total.hexdigest()


def packages() -> dict[str, str]:
    """The versions of what did the work."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def write(folder: Path, manifest: Manifest, rows: Sequence[Row], fit: Fit) -> None:
    """Put manifest and list of rows beside an adapter's weights."""
    refused = {row.sample_id: row.reason for row in fit.refused}
    with (folder / ROWS).open("w", encoding="utf-8") as file:
        for row in rows:
            use = (
                f"{REFUSED}{refused[row.sample_id]}"
                if row.sample_id in refused
                else HELD_OUT
                if row.held_out
                else TRAIN
            )
            file.write(json.dumps(Used(row.sample_id, row.prompt_hash, use)._asdict()) + "\n")
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(adapter: Path) -> Manifest:
    """The manifest of an adapter's folder. Raises InputError where there is none that can be read, or no weights."""
    path = adapter / MANIFEST
    remedy = "Give the folder of an adapter that `seedbed train` made"
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"there is no adapter in {adapter}: {path} cannot be read ({error.strerror}). {remedy}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path} is no manifest of an adapter: {where or 'it'}: {first['msg']}. {remedy}") from error
    if not (adapter / WEIGHTS).exists():
        raise InputError(f"{adapter} has a manifest, but no {WEIGHTS}. {remedy}, whole")
    return manifest


def read_used(adapter: Path) -> list[Used]:
    """What became of each row of the version that an adapter learned from. Raises InputError."""
    path = adapter / ROWS
    try:
        return [Used(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read: {error}. Train again; without it nobody knows what was held out"
        ) from error
