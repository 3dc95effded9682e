"""Direct preference optimisation (arXiv 2305.18290): the chosen answer gains on the rejected one, on a leash of beta.

The reference is the model with the adapter switched off. TRL's other way, to load the model's folder again, would
take the wrong one wherever the model was changed in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.arguments import arguments
from trainer.measure import LogProbs, Preference, preference
from trainer.options import Training
from trainer.pretrained import Pretrained, lora
from trainer.progress import Tell, following
from trainer.rows import Row

if TYPE_CHECKING:
    from trl import DPOTrainer  # type: ignore[attr-defined]  # trl exports it lazily


def prepare(start: Pretrained, rows: Sequence[Row], training: Training, folder: Path, tell: Tell) -> DPOTrainer:
    """TRL's DPOTrainer for a LoRA adapter on the model and the rows; `folder` is for its scratch files."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]  # trl exports them lazily

    losses = {"sigmoid": 1.0, "sft": training.nll_weight}
    config = DPOConfig(
        **arguments(start, training, folder),
        beta=training.beta,
        loss_type=[loss for loss, weight in losses.items() if weight],
        loss_weights=[weight for weight in losses.values() if weight],
        disable_dropout=not training.lora_dropout,  # TRL would switch the adapter's off too
    )
    return DPOTrainer(
        model=start.model,
        args=config,
        train_dataset=Dataset.from_list([columns(row) for row in rows]),
        processing_class=start.tokenizer,
        peft_config=lora(training),
        callbacks=[following(tell)],
    )


def columns(row: Row) -> dict[str, object]:
    """A row as TRL's conversational preference type, with the prompt of its own."""
    return {
        "prompt": [{"role": "user", "content": row.prompt}],
        "chosen": [{"role": "assistant", "content": row.answer}],
        "rejected": [{"role": "assistant", "content": row.rejected}],
    }


def figures(policy: LogProbs, reference: LogProbs, training: Training) -> Preference:
    """Loss, accuracies, margin and drifts of the policy beside the reference."""
    return preference(policy, reference, training.beta)
