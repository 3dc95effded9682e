"""What `import seedbed` offers: in Python, what the commands do on a terminal, with the same checks and the same store.

import seedbed

home = seedbed.Home(".seedbed")
outcome = home.grow("recipes/own.yaml")
rows = home.dataset(outcome.version)
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from exporters.formats import Sides
from flows.export import Asked
from flows.export import export as write
from flows.run import Outcome, ReadRecipe, grow, grow_new
from flows.run import read as read_source
from flows.selections import refiltered
from flows.show import life, sql
from flows.terminal import HOME
from flows.train import Evaluated, Trained
from flows.understood import first_rows, sources_of
from seedbed.engines import EngineError
from seedbed.errors import InputError
from seedbed.journal import RunBusy
from seedbed.options_file import read_options_file
from seedbed.recipe import Budget
from seedbed.store import Store, StoreError
from seedbed.store.lineage import Row
from seedbed.store.selection import Only
from seedbed.store.versions import Version, diff, find_version
from seedbed.yamlfile import BadInput, Loaded, given

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from trainer.progress import Tell

__all__ = ["BadInput", "EngineError", "Home", "InputError", "Outcome", "RunBusy", "StoreError", "preview_rows", "read"]

Source = str | Path | Mapping[str, object]


def read(recipe: Source, folder: str | Path = ".") -> ReadRecipe:
    """A recipe checked together with all that it names: a YAML file, or a mapping of the same keys.

    The paths in a mapping are taken from `folder`, those in a file from the file's own.

    Raises:
        BadInput: everything that is wrong with it.
    """
    return read_source(_loaded(recipe, folder))


def preview_rows(recipe: Source, folder: str | Path = ".", n: int = 10) -> list[Row]:
    """The first rows of each source of a recipe (`rows: {from: …}`) as they are understood. Raises BadInput."""
    from flows.methods import methods

    found = read(recipe, folder)
    if n < 0:
        raise InputError(f"{n} rows cannot be shown: give a number from 0 upwards")
    return [row for plot in sources_of(found.recipe, found.leaves, methods()) for row in first_rows(plot, n)]


class ExportOptions(TypedDict, total=False):
    """How rows are written: the options of `seedbed export`, by the same names and with the same defaults."""

    form: str
    held_out: float
    leaf: str
    where: str
    bare: bool
    reasoning: bool
    passages: bool


class Home:
    """A home folder: the store with all runs, rows, calls and versions, and what can be done with it.

    Left out, it is what `SEEDBED_HOME` names, or `.seedbed` here, as for the commands.

    Raises:
        StoreError: the folder cannot be used.
    """

    def __init__(self, folder: str | Path = "") -> None:
        self.folder = Path(folder or os.environ.get("SEEDBED_HOME") or HOME).absolute()
        self.store = Store(self.folder)

    def grow(
        self,
        recipe: Source | ReadRecipe,
        *,
        folder: str | Path = ".",
        rows: int | None = None,
        only_new: bool = False,
        limits: Mapping[str, float] | None = None,
    ) -> Outcome:
        """Grow a recipe to its end, as `seedbed run` does; called again it goes on, and costs nothing when it is done.

        `rows` previews so many rows. `only_new` takes new documents and changed leaves only. `limits` (`tokens`, `usd`,
        `minutes`) go before those of the recipe's budget.

        Raises:
            BadInput, InputError: the recipe, or something that it names, cannot be used.
            EngineError, StoreError, RunBusy: it cannot begin.
        """
        if isinstance(recipe, ReadRecipe) and limits:
            raise InputError("the recipe was read before: write its limits under `budget:`, or give it unread")
        told = read_options_file(given(limits or {}, "the limits", Path()), Budget)
        bounds = told.model_dump(exclude_unset=True, exclude_none=True)
        found = recipe if isinstance(recipe, ReadRecipe) else read_source(_loaded(recipe, folder), bounds)
        if rows is not None and rows < 1:
            raise InputError(f"{rows} rows are no preview: give a number from 1 upwards")
        if only_new and rows is not None:
            raise InputError("a preview is of the whole recipe: leave out rows, or only_new")
        return _ended(grow_new(found, self.folder) if only_new else grow(found, self.folder, rows))

    def sql(self, statement: str) -> pa.Table:
        """The answer to one statement on the documented views, which may only read. Raises InputError."""
        return sql(self.store, statement)

    def why(self, sample_id: str) -> list[Row]:
        """A sample's life in every run that has it: row, verdicts, what selectors said, calls. Raises InputError."""
        return life(self.store, sample_id)

    def versions(self) -> list[Row]:
        """All versions, the latest first."""
        return self.store.rows("SELECT * EXCLUDE (recipe_json) FROM versions ORDER BY entry DESC")

    def refilter(self, name: str, thresholds: Mapping[str, float] | None = None) -> Version:
        """A version under other thresholds and with the reviews since; no model is called. Raises InputError."""
        return refiltered(self.store, name, thresholds or {})

    def diff(self, old: str, new: str) -> list[Row]:
        """What came, went and changed from one version to another, and why. Raises InputError."""
        return diff(self.store, find_version(self.store, old), find_version(self.store, new))

    def export(self, name: str, path: str | Path, *, split: Sides = "apart", **how: Unpack[ExportOptions]) -> str:
        """Write a version to a file, as `seedbed export` does, and say what is where. Raises InputError."""
        told = dict(how)
        only = Only(str(told.pop("leaf", "")).strip("/"), str(told.pop("where", "")))
        return write(self.store, name, Path(path), Asked(sides=split, only=only, **told))  # type: ignore[arg-type]  # of ExportOptions

    def dataset(self, name: str, *, split: Sides = "train", **how: Unpack[ExportOptions]) -> Dataset:
        """A version as a data set of `datasets`, in memory: rows and columns as of `export`. Raises InputError."""
        from datasets import Dataset

        if split == "apart":
            raise InputError("a data set is of one side: ask for split='train', 'test' or 'all'")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.parquet"
            self.export(name, path, split=split, **how)
            return Dataset.from_parquet(str(path), keep_in_memory=True, cache_dir=folder)

    def train(
        self, name: str, *, out: str | Path | None = None, tell: Tell | None = None, **options: object
    ) -> Trained:
        """Fine-tune a model on a version, as `seedbed train` does; `options` are those of docs/training.md.

        `tell` hears how far it is.

        Raises:
            BadInput, InputError: an option, or the version, cannot be used.
            TrainingFailed: the training process broke.
        """
        from flows.train import train
        from trainer.options import Training

        training = read_options_file(given(options, "the training's options", Path()), Training)
        return train(self.store, name, training, Path(out) if out else None, tell or _unheard)

    def evaluate(self, adapter: str | Path, name: str = "", *, model: str = "", tell: Tell | None = None) -> Evaluated:
        """Measure an adapter again on held-out rows, as `seedbed evaluate` does. Raises InputError."""
        from flows.train import evaluate

        return evaluate(self.store, Path(adapter), name, model, tell or _unheard)


def _loaded(recipe: Source, folder: str | Path) -> Path | Loaded:
    return given(recipe, "the recipe", Path(folder)) if isinstance(recipe, Mapping) else Path(recipe)


def _ended(work: Coroutine[None, None, Outcome]) -> Outcome:
    """What comes of a run: in a loop of its own, in a thread where one is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    under_way = list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Outcome]]]()

    async def told() -> Outcome:
        task = asyncio.ensure_future(work)
        under_way.append((asyncio.get_running_loop(), task))
        return await task

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, told())
        try:
            return running.result()
        except KeyboardInterrupt:  # a notebook's button: the run is ended and its books are closed
            for loop, task in under_way:
                loop.call_soon_threadsafe(task.cancel)
            raise


def _unheard(_progress: object) -> None:
    """Nobody asked how far it is."""
