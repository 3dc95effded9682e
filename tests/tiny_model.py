"""A random Llama of two layers with a word tokenizer and a chat template: trains for real in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

TEMPLATE = (
    "{% for turn in messages %}<{{ turn.role }}> {{ turn.content }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
WORDS = [f"w{n}" for n in range(60)]
GOOD, BAD = ["kind", "clear", "true"], ["rude", "vague", "false"]


def tiny_model(folder: Path, template: str = TEMPLATE) -> Path:
    """A model in `folder` that knows WORDS, GOOD and BAD, and 64 positions."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    marks = ["<pad>", "<unk>", "<user>", "<assistant>", "<end>"]
    words = [*marks, *WORDS, *GOOD, *BAD]
    plain = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", unk_token="<unk>", eos_token="<end>", chat_template=template
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=4,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def text(seed: int, words: Sequence[str] = WORDS, n: int = 5) -> str:
    """Some words, the same for the same seed."""
    return " ".join(words[(seed * 7 + i * 13 + seed * i) % len(words)] for i in range(n))
