"""From a version to an adapter: the rows go to a process of its own, and its folder appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seedbed import private
from seedbed.errors import InputError
from seedbed.kinds import KINDS
from seedbed.store import Store
from seedbed.store.versions import find_version, least_share, version_batches
from trainer.manifest import HELD_OUT, TRAIN, Manifest, Origin, Used, hash_of, read_manifest, read_used
from trainer.options import RATES, Objective, Training
from trainer.pretrained import locate
from trainer.process import check_installed, run_apart
from trainer.progress import Tell
from trainer.rows import COLUMNS, enough, fit_by_text, read_rows, rows_of, some_held_out
from trainer.task import Evaluate, Measured, Train

ADAPTERS = "adapters"


class Trained(NamedTuple):
    """A finished training: where its adapter is, and what its manifest says."""

    adapter: Path
    manifest: Manifest


class Evaluated(NamedTuple):
    """An adapter measured again: on which version, and how many of its held-out prompts had been trained on."""

    manifest: Manifest
    version: str
    measured: Measured
    seen: int


def train(store: Store, name: str, training: Training, out: Path | None, tell: Tell) -> Trained:
    """Train an adapter on the version of this name, or the latest one of a recipe or run.

    Raises:
        InputError: there is no such version or model, the options do not fit, no row is fit, or `out` is taken.
        TrainingFailed: the training process broke.
        KeyboardInterrupt: it was stopped; nothing was written.
    """
    version = find_version(store, name)
    locate(training.model)
    training = training.settled(_objective(store, version, training))
    if out and out.exists():
        raise InputError(f"there is something in {out} already. Name another folder with --out, or remove it")
    wanted = out or store.home / ADAPTERS / f"{version}-{training.objective}"
    with _workshop(wanted) as folder:
        rows, made = folder / "rows.parquet", folder / "adapter"
        _write(version_batches(store, version, held_out=training.held_out), rows)
        check_installed()
        fitting = [kind for kind, one in KINDS.items() if training.objective in one.objectives]
        least = least_share(store, version, fitting)
        enough(fit_by_text(read_rows(rows), training), training, least)  # before a minute of imports
        run_apart(Train(rows=rows, training=training, origin=_origin(store, version), adapter=made), folder, tell)
        adapter = _settle(made, wanted)
    return Trained(adapter, read_manifest(adapter))


def evaluate(store: Store, adapter: Path, name: str, model: str, tell: Tell) -> Evaluated:
    """Measure an adapter on the rows held out from its training, or on those held out of another version.

    Of another version, prompts that the adapter was trained on are left out. `model` is where its base is now, if not
    where it was. Raises as `train` does; also InputError where the store's rows are not those that were measured.
    """
    manifest = read_manifest(adapter)
    version = find_version(store, name or manifest.origin.version)
    training = manifest.training.model_copy(update={"model": model} if model else {})
    try:
        locate(training.model)
    except InputError as error:
        raise InputError(f"{error}. Where the adapter's base model is now is told with --model") from error
    tables, used = version_batches(store, version, held_out=training.held_out), read_used(adapter)
    if version == manifest.origin.version:
        seen, found = 0, _held_out(tables, used)
        if hash_of(row for table in found for row in rows_of(table)) != manifest.rows.held_out_hash:
            raise InputError(
                f"{version} in {store.home} is not the {version} that {adapter} was trained on: its held-out rows are "
                "others. Name the store of that version with --home, or another version to measure on"
            )
    else:
        seen, found = _unseen(tables, used)
    with tempfile.TemporaryDirectory(prefix="seedbed-evaluate-") as temporary:
        folder = Path(temporary)
        rows, result = folder / "rows.parquet", folder / "result.json"
        _write(found, rows)
        some_held_out(fit_by_text(read_rows(rows), training))
        task = Evaluate(rows=rows, training=training, base=manifest.base, adapter=adapter.absolute(), result=result)
        run_apart(task, folder, tell)
        return Evaluated(manifest, version, Measured.model_validate_json(result.read_bytes()), seen)


def _objective(store: Store, version: str, training: Training) -> Objective:
    if "objective" in training.model_fields_set:
        return training.objective
    rows = store.rows("SELECT DISTINCT kind FROM version_samples WHERE version = ? AND kept", [version])
    kinds = [KINDS[kind] for row in rows if (kind := str(row["kind"])) in KINDS]
    return next((one for one in RATES if any(one in kind.objectives for kind in kinds)), "sft")


def _origin(store: Store, version: str) -> Origin:
    [row] = store.rows("SELECT recipe, recipe_json FROM base.versions WHERE version = ?", [version])
    runs = store.rows(
        "SELECT DISTINCT run_id FROM version_samples WHERE version = ? AND kept ORDER BY run_id", [version]
    )
    return Origin(
        version=version,
        recipe=str(row["recipe"]),
        recipe_sha256=hashlib.sha256(str(row["recipe_json"]).encode()).hexdigest(),
        run_ids=tuple(str(run["run_id"]) for run in runs),
    )


def _held_out(tables: Iterable[pa.Table], used: list[Used]) -> list[pa.Table]:
    """The rows that were held out of the training, in the version's order, whatever its own split says of them now."""
    ids = {row.sample_id for row in used if row.use == HELD_OUT}
    found = []
    for table in tables:
        rows = table.filter(pa.array([row.sample_id in ids for row in rows_of(table)], pa.bool_()))
        split = table.column_names.index("split")
        found.append(rows.set_column(split, "split", pa.array(["test"] * rows.num_rows, pa.string())))
    return found


def _unseen(tables: Iterable[pa.Table], used: list[Used]) -> tuple[int, list[pa.Table]]:
    """The held-out rows of a version whose prompts were not learned from; before them, how many others there are."""
    learned = {row.prompt for row in used if row.use == TRAIN}
    seen, found = 0, []
    for table in tables:
        held_out = table.filter(pc.equal(table["split"], "test"))
        fresh = held_out.filter(pa.array([row.prompt_hash not in learned for row in rows_of(held_out)], pa.bool_()))
        seen += held_out.num_rows - fresh.num_rows
        found.append(fresh)
    return seen, found


def _write(tables: Iterable[pa.Table], path: Path) -> None:
    """The columns that a training reads, as Parquet; a version without a row gives a file without one."""
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table.select(list(COLUMNS)).cast(schema))


@contextmanager
def _workshop(wanted: Path) -> Iterator[Path]:
    """A folder beside the wanted one, gone in the end. Raises InputError where none can be made."""
    try:
        private.folder(wanted.parent)
        folder = tempfile.TemporaryDirectory(prefix=f".{wanted.name}-", suffix=".partial", dir=wanted.parent)
    except OSError as error:
        raise InputError(
            f"cannot write in {wanted.parent}: {error.strerror}. Name a folder that you may write in with --out"
        ) from error
    with folder as path:
        yield Path(path).absolute()


def _settle(made: Path, wanted: Path) -> Path:
    """Give a whole folder its name, or the next that is free; on disk before it is seen, and for its owner alone."""
    private.shut(made)
    for path in made.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    target, n = wanted, 1
    while True:
        try:
            return made.replace(target)
        except OSError:
            if not target.exists():
                raise
        n += 1
        target = wanted.with_name(f"{wanted.name}-{n}")
