"""What a child process is asked to do, handed over in a file, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from seedbed.records import Frozen
from trainer.manifest import Base, Origin
from trainer.measure import Likelihood, Preference
from trainer.options import Training


class Train(Frozen):
    """Train on the rows of a Parquet file, and leave the adapter with its manifest in the folder `adapter`."""

    job: Literal["train"] = "train"
    rows: Path
    training: Training
    origin: Origin
    adapter: Path


class Evaluate(Frozen):
    """Measure an adapter on the rows of a Parquet file, and leave a `Measured` in the file `result`."""

    job: Literal["evaluate"] = "evaluate"
    rows: Path
    training: Training
    base: Base
    adapter: Path
    result: Path


class Measured(Frozen):
    """Figures of the base model and of the adapter on it, on the rows that were fit to be measured."""

    rows: int
    refused: dict[str, int]
    before: Likelihood | Preference
    after: Likelihood | Preference


Task = Annotated[Train | Evaluate, Field(discriminator="job")]
TASKS: TypeAdapter[Train | Evaluate] = TypeAdapter(Task)
