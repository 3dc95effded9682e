"""The model that a training starts from: where it is, which one it is, and how it is loaded on this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.engines import ModelCard
from seedbed.engines.fingerprint import commit_of, folder_of, identify
from seedbed.engines.smollm2 import EMBEDDED, quiet
from seedbed.errors import InputError
from trainer.options import Training

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ON_THE_HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}")


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A model loaded for training on one device, in bfloat16 where a GPU has it and in single precision elsewhere."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    card: ModelCard
    device: str

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on CUDA."""
        return self.device != "cpu"

    def limit(self, training: Training) -> int:
        """Tokens that a row may have: what the options allow, and what the model has positions for."""
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return min(training.max_length, positions or training.max_length)


def locate(model: str) -> bool:
    """Whether a model is on this machine; False for a name on the hub. Raises InputError where it can be neither."""
    folder = Path(model).expanduser()
    if model == EMBEDDED:
        return True
    if not folder.is_dir():
        if not folder.exists() and _ON_THE_HUB.fullmatch(model):
            return False
        raise InputError(
            f"there is no model folder {model!r}. Give a folder with config.json and .safetensors files, "
            f"a name on the Hugging Face Hub such as owner/name, or {EMBEDDED}"
        )
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise InputError(
            f"{model} is an adapter, not a model. Merge it into its model first (PEFT's merge_and_unload, then "
            "save_pretrained with the tokenizer) and train from that folder"
        )
    if not (folder / "config.json").exists():
        raise InputError(f"the folder {model} holds no model: it has no config.json. Give one that transformers saved")
    return True


def load(training: Training) -> Pretrained:
    """The model of the options, in evaluation mode.

    Raises:
        InputError: it is not where the options say, or cannot be read.
        EngineError: the embedded model's package is not installed.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    here = locate(training.model)
    name = str(folder_of(training.model) or training.model)
    revision = None if here else commit_of(training.model, training.revision) or None
    on_gpu = torch.cuda.is_available()
    in_bf16 = on_gpu and torch.cuda.is_bf16_supported()
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(
                name,
                revision=revision,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.bfloat16 if in_bf16 else torch.float32,
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the model {training.model} cannot be loaded: {error}. Give a folder with config.json, the tokenizer's "
            "files and .safetensors weights, or a name on the hub that is there and open to you"
        ) from error
    device = "cuda:0" if on_gpu else "cpu"
    model.to(device)  # type: ignore[arg-type]  # its decorator hides what it takes
    return Pretrained(model.train(False), tokenizer, _card(training, here), device)


def lora(training: Training) -> LoraConfig:
    """The adapter's shape: on all linear layers but the head, which TRL cannot train so."""
    from peft import LoraConfig

    return LoraConfig(
        r=training.lora_rank,
        lora_alpha=training.lora_alpha,
        lora_dropout=training.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _card(training: Training, here: bool) -> ModelCard:
    card = identify("transformers", training.model, "" if here else training.revision, training.licence)
    # A folder under the whole path that was given: `seedbed evaluate` looks for it there.
    return card if training.model == EMBEDDED else replace(card, model=training.model)
