"""A training process: reads its task from a file, does it, and tells how far it is on stdout, a JSON line each.

A process of its own, so that the memory of a training goes with it, and so that stopping it cannot harm whoever
asked: it ends when its parent does.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seedbed.engines import EngineError
from seedbed.engines.fingerprint import FILES
from seedbed.errors import InputError
from trainer import dpo, sft
from trainer.manifest import Base, Manifest, counted, packages, write
from trainer.measure import Figures, LogProbs, log_probs
from trainer.options import Objective, Training
from trainer.pretrained import Pretrained, load, locate
from trainer.progress import Progress, Tell
from trainer.rows import Fit, enough, fit, read_rows, some_held_out
from trainer.task import TASKS, Evaluate, Measured, Train

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import Trainer


class Method(NamedTuple):
    """One objective: how its trainer is made, and what it is measured by."""

    prepare: Callable[[Pretrained, Fit, Training, Path, Tell], Trainer]
    figures: Callable[[LogProbs, LogProbs, Training], Figures]


METHODS: dict[Objective, Method] = {
    "sft": Method(sft.prepare, sft.figures),
    "dpo": Method(dpo.prepare, dpo.figures),
}


def train(task: Train, tell: Tell) -> None:
    """Refuse, measure, train, measure again, save.

    Raises:
        InputError: the model cannot be loaded, no row is fit, or the training ran away.
    """
    began, training, method = time.monotonic(), task.training, METHODS[task.training.objective]
    tell(Progress(stage="loading the model"))
    start = load(training)
    rows = read_rows(task.rows)
    found = fit(rows, training, start.tokenizer, start.limit(training))
    enough(found, training)
    tell(Progress(stage="measuring before"))
    reference = log_probs(start.model, found.tokens)
    trainer = method.prepare(start, found, training, task.rows.parent / "scratch", tell)
    trainer.train()
    tell(Progress(stage="measuring after"))
    model = trainer.accelerator.unwrap_model(trainer.model)
    before, after = (
        method.figures(policy, reference, training) for policy in (reference, log_probs(model, found.tokens))
    )
    _sound(after)
    _save(model, start, task.adapter)
    manifest = Manifest(
        origin=task.origin,
        base=Base(model=start.card.model, revision=start.card.revision, licence=start.card.licence),
        training=training,
        rows=counted(found),
        before=before,
        after=after,
        seconds=round(time.monotonic() - began, 1),
        steps=trainer.state.global_step,
        device=_device(start),
        dtype=str(start.model.dtype).removeprefix("torch."),
        packages=packages(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write(task.adapter, manifest, rows, found)


def evaluate(task: Evaluate, tell: Tell) -> None:
    """Measure the base model and the adapter on it.

    Raises:
        InputError: the base model is not the adapter's, or no row is fit.
    """
    from peft import PeftModel

    training, method = _as_it_was(task), METHODS[task.training.objective]
    tell(Progress(stage="loading the model"))
    start = load(training)
    if start.card.revision != task.base.revision:
        raise InputError(
            f"{training.model} is now {start.card.revision}, but the adapter was trained on {task.base.revision}. "
            "Name the folder of that model with --model"
        )
    found = fit(read_rows(task.rows), training, start.tokenizer, start.limit(training))
    some_held_out(found)
    tell(Progress(stage="measuring the model"))
    reference = log_probs(start.model, found.tokens)
    tell(Progress(stage="measuring the adapter"))
    policy = log_probs(PeftModel.from_pretrained(start.model, task.adapter), found.tokens)
    measured = Measured(
        rows=len(found.held_out),
        refused=found.reasons,
        before=method.figures(reference, reference, training),
        after=method.figures(policy, reference, training),
    )
    task.result.write_text(measured.model_dump_json(), encoding="utf-8")


def main(path: str) -> int:
    """Do the task in a file; 0 if it is done, 2 if it was refused with a reason."""
    tell = _channel()
    _end_with_parent()
    task = TASKS.validate_json(Path(path).read_bytes())
    try:
        train(task, tell) if isinstance(task, Train) else evaluate(task, tell)
    except (InputError, EngineError) as error:
        tell(Progress(stage="refused", refused=str(error)))
        return 2
    except RuntimeError as error:  # on CUDA a subclass, OutOfMemoryError
        if "memory" not in str(error):
            raise
        tell(Progress(stage="refused", refused=f"out of memory: {error}. Lower batch_size or max_length"))
        return 2
    return 0


def _as_it_was(task: Evaluate) -> Training:
    """The options with the commit that was trained on: a repository on the Hub may have moved since."""
    if locate(task.training.model) or task.base.revision.startswith(FILES):
        return task.training
    return task.training.model_copy(update={"revision": task.base.revision})


def _sound(after: Figures) -> None:
    if not math.isfinite(after.loss):
        raise InputError("the training ran away: the loss after it is no number. Lower learning_rate")


def _save(model: PeftModel, start: Pretrained, folder: Path) -> None:
    """The adapter as PEFT writes it, but for the path of this machine's model, which is nobody else's business."""
    model.peft_config["default"].base_model_name_or_path = start.card.model
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's own, with that path


def _device(start: Pretrained) -> str:
    import torch

    if start.on_gpu:
        return torch.cuda.get_device_name(0)
    return f"CPU, {torch.get_num_threads()} threads"


def _channel() -> Tell:
    """Progress on what was stdout; whatever else is printed goes to stderr, so that every line is JSON."""
    lines = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def tell(progress: Progress) -> None:
        lines.write(progress.model_dump_json() + "\n")

    return tell


def _end_with_parent() -> None:
    """The parent holds our stdin open and never writes: once it is closed, nobody waits for the result."""

    def watch() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock would break the end of a process that has done its work
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
