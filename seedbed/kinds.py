"""The kinds of samples, as a table: what a row of each must have, how people decide on it, and what it is good for.

A new kind is an entry here: the store's SQL, the review pages, the judges, the exports and the trainings ask the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from seedbed.conversation import Content

KEEP_OR_DROP = ("keep", "drop", "unsure")
COMPARE = ("chosen", "rejected", "tie")

Part = Literal["answer", "second", "label"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. The request is needed by all; `needs` are the further parts without which a row is none of the kind.

    `second` says what the second response is, "" where there is none. `decisions` are a person's. `forms` are the
    exports that it fits, the usual one first; `objectives` the trainings.
    """

    what: str
    needs: tuple[Part, ...] = ("answer",)
    second: Literal["", "rejected", "corrected"] = ""
    decisions: tuple[str, ...] = KEEP_OR_DROP
    forms: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()

    def judged(self, content: Content) -> Content:
        """What judges look at: of a correction the corrected answer, for the other one is there to be wrong."""
        return content.second() if self.second == "corrected" else content

    @property
    def pair(self) -> bool:
        """Whether people choose between its two answers."""
        return self.decisions == COMPARE

    def lacks(self, content: Content) -> str:
        """The part that a row of this kind lacks; "" if it is whole."""
        for part in self.needs:
            if not _HAS[part](content):
                return self.second if part == "second" else part
        return ""


def _answered(content: Content) -> bool:
    return bool(content.replies()[0].strip())


_HAS: Mapping[Part, Callable[[Content], bool]] = {
    "answer": _answered,
    "second": lambda content: bool(content.replies()[1].strip()),
    "label": lambda content: content.label is not None,
}
_CHATS = ("messages", "openai", "prompt-completion", "standard", "sharegpt", "alpaca")

KINDS: dict[str, Kind] = {
    "instruction": Kind("a request and its answer", forms=_CHATS, objectives=("sft",)),
    "knowledge": Kind("a question on a text, and its answer from that text", forms=_CHATS, objectives=("sft",)),
    "dialogue": Kind("a conversation: several turns, or a system prompt, or tools", forms=_CHATS, objectives=("sft",)),
    "preference": Kind(
        "two answers to one request, of which one is better",
        needs=("answer", "second"),
        second="rejected",
        decisions=COMPARE,
        forms=("preference", "preference-standard", "preference-whole", "sharegpt-preference"),
        objectives=("dpo",),
    ),
    "correction": Kind(
        "a request, an answer, and that answer corrected",
        needs=("answer", "second"),
        second="corrected",
        forms=("correction",),
    ),
    "labelled": Kind(
        "an answer, and whether it is as it should be", needs=("answer", "label"), forms=("kto", "kto-standard")
    ),
}
PAIRS = tuple(name for name, kind in KINDS.items() if kind.pair)
TWOFOLD = tuple(name for name, kind in KINDS.items() if kind.second)
FORMS = tuple(dict.fromkeys(form for kind in KINDS.values() for form in kind.forms))
EVERY_DECISION = tuple(dict.fromkeys(decision for kind in KINDS.values() for decision in kind.decisions))


def sql_list(names: tuple[str, ...]) -> str:
    """The names as SQL writes a list of texts, for `IN`."""
    return f"({', '.join(repr(name) for name in names)})"
