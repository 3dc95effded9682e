"""How far a training is, told as it goes: by the child process to its parent, one JSON line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from seedbed.records import Frozen

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Progress(Frozen):
    """What is being done, and of that how much; `refused` is why it cannot go on, in words for the user."""

    stage: str
    done: int = 0
    of: int = 0
    loss: float | None = None
    refused: str = ""


Tell = Callable[[Progress], None]


def following(tell: Tell) -> TrainerCallback:
    """A callback of transformers' Trainer that tells each step, with the last loss that was logged."""
    from transformers import TrainerCallback

    class Following(TrainerCallback):
        def on_step_end(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
        ) -> None:
            losses = [entry["loss"] for entry in state.log_history[-2:] if "loss" in entry]
            tell(
                Progress(
                    stage="training", done=state.global_step, of=state.max_steps, loss=losses[-1] if losses else None
                )
            )

    return Following()
