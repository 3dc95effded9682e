"""Rows given to TRL's own functions, as its trainers do: what they take for a conversation, a prompt and an answer.

TRL trains without a word on rows that it reads otherwise than they were meant, and with a KeyError on others; so it is
asked before a data set is published. It is an extra (`train`): where it is not installed, that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Rows = Sequence[Mapping[str, object]]
TEMPLATE = (
    "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}</{{ turn.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def read_by_trl(splits: Mapping[str, Rows]) -> tuple[list[str], str]:
    """Problems by split, and what was looked at."""
    if find_spec("trl") is None:
        return [], "not read by TRL: it is not installed (pip install 'trl>=1.16,<2')"
    tokenizer, problems = _tokenizer(), []
    for name, rows in splits.items():
        for row in rows:
            try:
                said = _misread(dict(row), tokenizer)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                said = f"TRL fails on it: {type(error).__name__}: {error}"
            if said:
                problems.append(f"{name}: {said}")
                break
    return problems, f"read by TRL {version('trl')}: {sum(map(len, splits.values())):,} rows as conversations"


def _misread(row: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> str:
    """What TRL makes of a row otherwise than it is meant; "" if all is well."""
    from trl import data_utils as trl

    if not trl.is_conversational(row):
        return "TRL takes a row for plain text, not for a conversation"
    if "chosen" in row:
        pair = {name: row[name] for name in ("prompt", "chosen", "rejected")}
        whole = {side: row["prompt"] + row[side] for side in ("chosen", "rejected")}
        if trl.maybe_extract_prompt(pair) != pair or trl.extract_prompt(whole) != pair:
            return "TRL finds another prompt in a pair than the one that it has"
    read = trl.maybe_apply_chat_template(row, tokenizer)
    if "messages" in row:
        return "" if read["text"] == _rendered(row["messages"]) else "TRL renders a chat otherwise than it stands"
    for side in sorted(row.keys() & {"completion", "chosen", "rejected"}):
        if read["prompt"] + read[side] != _rendered(row["prompt"] + row[side]):
            return f"TRL renders {side} otherwise than it stands"
    return ""


def _rendered(turns: Sequence[Mapping[str, str]]) -> str:
    return "".join(f"<{turn['role']}>{turn['content']}</{turn['role']}>" for turn in turns)


def _tokenizer() -> PreTrainedTokenizerFast:
    """The smallest thing that has a chat template; nothing is tokenized with it."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made = PreTrainedTokenizerFast(tokenizer_object=words)  # type: ignore[no-untyped-call]  # untyped there
    made.chat_template = TEMPLATE
    return made
