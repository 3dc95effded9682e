"""Tokenizers of the kinds that models have, trained here on a few sentences, each with a random Llama of its size."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEMPLATE = (
    "{% for turn in messages %}<turn>{{ turn.role }}\n{{ turn.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
CORPUS = (
    "yes no keep drop the first the second rate the answer of the model keeper yesterday New York New Delhi",
    "Answer: yes. Answer: no. the answer of the first is the answer of the second",
)
MARKS = ["<unk>", "</s>", "<turn>"]
DIGITS = pre_tokenizers.Digits(individual_digits=True)


def _sentencepiece(scheme: str) -> Tokenizer:
    """As SentencePiece makes it: a mark before each word, at the beginning too where `scheme` says so."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme=scheme), DIGITS])
    made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    alphabet = [*"0123456789\n▁:"]
    return _trained(made, trainers.BpeTrainer(vocab_size=200, special_tokens=MARKS, initial_alphabet=alphabet))


def _bytes() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence([DIGITS, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(made, trainers.BpeTrainer(vocab_size=400, special_tokens=MARKS, initial_alphabet=alphabet))


def _wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    alphabet = [*"0123456789"]
    return _trained(made, trainers.WordPieceTrainer(vocab_size=200, special_tokens=MARKS, initial_alphabet=alphabet))


def _trained(made: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    made.train_from_iterator(CORPUS * 20, trainer)
    return made


KINDS = {
    "marked at first": lambda: _sentencepiece("first"),
    "always marked": lambda: _sentencepiece("always"),
    "never marked at first": lambda: _sentencepiece("never"),
    "bytes": _bytes,
    "word pieces": _wordpiece,
}


def spelling_model(folder: Path, kind: str, template: str = TEMPLATE) -> Path:
    """A model in `folder` whose tokenizer is of this kind, and that has no opinion of anything."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=KINDS[kind](),
        unk_token="<unk>",
        eos_token="</s>",
        additional_special_tokens=["<turn>"],
        chat_template=template,
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=None,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
