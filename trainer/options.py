"""What a training is told. Every option has a default that runs; a file of options may name any of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from seedbed.engines.smollm2 import EMBEDDED
from seedbed.errors import InputError
from seedbed.records import Frozen

Objective = Literal["sft", "dpo"]
RATES: dict[Objective, float] = {"sft": 2e-4, "dpo": 5e-5}
ONLY: dict[str, Objective] = {"beta": "dpo", "nll_weight": "dpo", "passages": "sft"}


class Training(Frozen):
    """How a LoRA adapter (arXiv 2106.09685) is trained, and on what of the version."""

    objective: Objective = Field(default="sft", description="Left out: dpo where the version holds only preferences.")
    model: str = Field(
        default=EMBEDDED,
        min_length=1,
        description="The instruct model to start from: the embedded one, a folder, or a name on the Hugging Face Hub.",
    )
    revision: str = Field(default="", description="Of a model on the hub: branch, tag or commit.")
    licence: str = Field(default="unknown", description="The model's licence; known for the embedded one.")
    epochs: int = Field(default=3, ge=1, description="How often each training row is seen.")
    learning_rate: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = Field(
        default=None, description="At its highest; left out: 2e-4 for sft, 5e-5 for dpo."
    )
    warmup: float = Field(default=0.1, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    batch_size: int = Field(default=8, ge=1, description="Rows in memory at once; a pair is one row.")
    accumulate: int = Field(default=1, ge=1, description="Batches a step.")
    lora_rank: int = Field(default=16, ge=1, le=1024)
    lora_alpha: int = Field(default=32, ge=1, description="The adapter's weight is alpha / rank.")
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    beta: float = Field(default=0.1, gt=0, description="dpo: how dear it is to move away from the model.")
    nll_weight: float = Field(
        default=0.0, ge=0, description="dpo: weight of the chosen answer's own loss, which keeps it likely."
    )
    reasoning: bool = Field(default=False, description="Whether the reasoning before an answer is learned with it.")
    passages: Literal["learned", "prompt", "left_out"] = Field(
        default="learned",
        description="sft, rows of kind knowledge: the text that a question is on is learned with question and answer "
        "(as LAB does, arXiv 2403.01081), only read in the prompt, or left out.",
    )
    max_length: int = Field(
        default=1024, ge=8, description="Tokens of a conversation with its answer; longer rows are refused."
    )
    held_out: float = Field(default=0.1, gt=0, lt=1, description="Share of the prompts kept for measuring.")
    seed: int = Field(default=0, ge=0, lt=2**32)

    def settled(self, objective: Objective) -> Self:
        """With the objective and the rate that hold. Raises InputError on an option that it has no use for."""
        stray = [name for name, its in ONLY.items() if its != objective and name in self.model_fields_set]
        if stray:
            its = ONLY[stray[0]]
            raise InputError(f"{', '.join(stray)}: of use to {its} only. Take it out, or train with --objective {its}")
        return self.model_copy(update={"objective": objective, "learning_rate": self.learning_rate or RATES[objective]})

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or RATES[self.objective]
