"""What TRL's trainers are told alike, whatever the objective."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.options import Training
from trainer.pretrained import Pretrained


def arguments(start: Pretrained, training: Training, folder: Path) -> dict[str, Any]:
    """Arguments of SFTConfig and DPOConfig. TRL's own defaults (bfloat16, checkpointing) are meant for a GPU."""
    import torch

    return {
        "output_dir": str(folder),
        "num_train_epochs": training.epochs,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.accumulate,
        "learning_rate": training.rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": training.warmup,
        "max_length": training.max_length,
        "seed": training.seed,
        "data_seed": training.seed,
        "use_cpu": not start.on_gpu,
        "bf16": start.on_gpu and torch.cuda.is_bf16_supported(),
        "gradient_checkpointing": start.on_gpu,
        "dataloader_pin_memory": start.on_gpu,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
