"""Supervised fine-tuning: every answer of a conversation becomes likelier, token by token; the rest is only read.

TRL is given token ids and labels, which it leaves as they are: its own mask of all answers asks for a template that
marks them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainer.arguments import arguments
from trainer.measure import Likelihood, LogProbs, likelihood
from trainer.options import Training
from trainer.pretrained import Pretrained, lora
from trainer.progress import Tell, following
from trainer.rows import Fit
from trainer.tokens import Lesson

if TYPE_CHECKING:
    from numpy import int32
    from numpy.typing import NDArray
    from trl import SFTTrainer  # type: ignore[attr-defined]  # trl exports it lazily

IGNORED = -100  # torch's cross-entropy, and so TRL, gives no loss to such a label


def prepare(start: Pretrained, found: Fit, training: Training, folder: Path, tell: Tell) -> SFTTrainer:
    """TRL's SFTTrainer for a LoRA adapter on the model and the lessons; `folder` is for its scratch files."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]  # trl exports them lazily

    return SFTTrainer(
        model=start.model,
        args=SFTConfig(**arguments(start, training, folder)),
        train_dataset=Dataset.from_list([columns(lesson) for lesson in found.lessons]),
        processing_class=start.tokenizer,
        peft_config=lora(training),
        callbacks=[following(tell)],
    )


def columns(lesson: Lesson) -> dict[str, NDArray[int32]]:
    """A lesson as TRL's SFTTrainer has it in the end: ids and labels (length,), IGNORED where nothing is learned."""
    import numpy as np

    ids = np.asarray(lesson.ids)
    labels = np.full_like(ids, IGNORED)
    for first, end in lesson.learned:
        labels[first:end] = ids[first:end]
    return {"input_ids": ids, "labels": labels}


def figures(policy: LogProbs, reference: LogProbs, training: Training) -> Likelihood:
    """Loss and perplexity; the reference has no part in them."""
    return likelihood(policy)
