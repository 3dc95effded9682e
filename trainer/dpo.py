"""Direct preference optimisation (arXiv 2305.18290): the chosen answer gains on the rejected one, on a leash of beta.

The reference is the model with the adapter switched off. TRL's other way, to load the model's folder again, would
take the wrong one wherever the model was changed in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from seedbed.messages import prompt_of, response_of
from trainer.arguments import arguments
from trainer.measure import LogProbs, Preference, preference
from trainer.options import Training
from trainer.pretrained import Pretrained, lora
from trainer.progress import Tell, following
from trainer.rows import Fit, Row

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import DPOTrainer  # type: ignore[attr-defined]  # trl exports it lazily


def prepare(start: Pretrained, found: Fit, training: Training, folder: Path, tell: Tell) -> DPOTrainer:
    """TRL's DPOTrainer for a LoRA adapter on the model and the rows; `folder` is for its scratch files."""
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
        train_dataset=dataset(found.train, training),
        processing_class=start.tokenizer,
        peft_config=lora(training),
        callbacks=[following(tell)],
    )


def dataset(rows: Sequence[Row], training: Training) -> Dataset:
    """Rows as TRL's conversational preference type, each with a prompt of its own and its tools.

    Messages are JSON there: as Arrow's records each would get every key of the others, with null for a value, which
    templates take for calls of tools.
    """
    from datasets import Dataset, Features, Json, List, Value

    messages = List(Json())
    features = Features({"prompt": messages, "chosen": messages, "rejected": messages, "tools": Value("string")})
    return Dataset.from_list([columns(row, training) for row in rows], features=features)


def columns(row: Row, training: Training) -> dict[str, object]:
    """A row's prompt, chosen and rejected messages, and its tools as the text of a JSON list; None without."""
    content = row.shown(training)
    chosen, rejected = content.responses[:2]
    return {
        "prompt": prompt_of(content, training.reasoning),
        "chosen": response_of(chosen, training.reasoning),
        "rejected": response_of(rejected, training.reasoning),
        "tools": orjson.dumps(content.tools).decode() if content.tools else None,
    }


def figures(policy: LogProbs, reference: LogProbs, training: Training) -> Preference:
    """Loss, accuracies, margin and drifts of the policy beside the reference."""
    return preference(policy, reference, training.beta)
