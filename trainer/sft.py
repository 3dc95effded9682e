"""Supervised fine-tuning: the answers become likelier, token by token; the requests are only read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.arguments import arguments
from trainer.measure import Likelihood, LogProbs, likelihood
from trainer.options import Training
from trainer.pretrained import Pretrained, lora
from trainer.progress import Tell, following
from trainer.rows import Row

if TYPE_CHECKING:
    from trl import SFTTrainer  # type: ignore[attr-defined]  # trl exports it lazily


def prepare(start: Pretrained, rows: Sequence[Row], training: Training, folder: Path, tell: Tell) -> SFTTrainer:
    """TRL's SFTTrainer for a LoRA adapter on the model and the rows; `folder` is for its scratch files."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]  # trl exports them lazily

    config = SFTConfig(**arguments(start, training, folder), completion_only_loss=True)
    return SFTTrainer(
        model=start.model,
        args=config,
        train_dataset=Dataset.from_list([columns(row) for row in rows]),
        processing_class=start.tokenizer,
        peft_config=lora(training),
        callbacks=[following(tell)],
    )


def columns(row: Row) -> dict[str, object]:
    """A row as TRL's conversational prompt-completion type."""
    return {
        "prompt": [{"role": "user", "content": row.prompt}],
        "completion": [{"role": "assistant", "content": row.answer}],
    }


def figures(policy: LogProbs, reference: LogProbs, training: Training) -> Likelihood:
    """Loss and perplexity; the reference has no part in them."""
    return likelihood(policy)
