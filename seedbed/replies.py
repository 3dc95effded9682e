"""A model's reply, read in one place: its words, its reasoning, how it ended, what it cost; the odds of a choice.

Every engine makes its replies here, and the ledger reads recorded ones here again. Reasoning is kept apart and is never
part of the words; only a known good end is whole; what a server does not tell is None, never zero. What cannot be read
is an outcome with a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from seedbed.reasoning import parted

WHOLE = frozenset({"", "stop", "eos", "eos_token", "end", "end_turn", "stop_sequence", "complete", "completed", "done"})
CALLED = frozenset({"tool_calls", "tool_call", "tool_use", "function_call"})
NO_ROOM = frozenset(
    {"length", "max_tokens", "max_output_tokens", "max_new_tokens", "max_length", "model_length", "token_limit"}
)
STOP, LENGTH, CALLS, THINKING = "stop", "length", "tool_calls", "thinking"

MORE_ROOM = "give it more room (`max_tokens:` under this model, or under its `steps:` for this step alone)"
NO_THINKING = f"switch its thinking off (`thinking: false` under this model in the recipe), or {MORE_ROOM}"

Tokens = tuple[int | None, int | None]  # in and out, None where nobody tells


class Unreadable(Exception):
    """A reply that is not what was asked for: which step, why, the raw text, and what to do where that is known.

    It was paid for, and asking the same again would bring the same. `call_id` is set by the ledger.
    """

    def __init__(self, step: str, why: str, raw: str, remedy: str = "", tokens: Tokens = (None, None)) -> None:
        super().__init__(f"{step}: {why}")
        self.step, self.why, self.raw, self.remedy, self.tokens = step, why, raw, remedy, tokens
        self.call_id = ""


class Reply(NamedTuple):  # a tuple, for six of these are made for a record
    """A model's answer, as `reply` read it.

    `finish` is `stop` for a good end, `length` where the room was spent, `tool_calls`, `thinking` amid a thought, or
    else the server's own word. `sent` is the text as it came, where `text` is not all of it. `reasoning`, `refusal` and
    `tool_calls` (JSON) are no part of `text`. Tokens are None where nobody tells. `served` is the model that the server
    says it was, where that is another name than was asked for. `call_id` is set by the ledger.
    """

    text: str
    tokens_in: int | None
    tokens_out: int | None
    finish: str = STOP
    call_id: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: str = ""
    sent: str = ""
    served: str = ""

    @property
    def cut(self) -> str:
        """How it broke off, such as "cut off at 60 tokens"; "" if it is whole."""
        if self.finish in (STOP, CALLS):
            return ""
        if self.finish == LENGTH and self.tokens_out:
            return f"cut off at {self.tokens_out} tokens"
        return "cut off" if self.finish == LENGTH else f"cut off ({self.finish})"

    def words(self, step: str) -> str:
        """Its text, whole or cut. Raises Unreadable where there is none, or where it breaks off amid a thought."""
        if self.text.strip() and not self.refusal and self.finish != THINKING:
            return self.text
        raise Unreadable(step, *self._wordless(), tokens=(self.tokens_in, self.tokens_out))

    def _wordless(self) -> tuple[str, str, str]:
        """Why there are no words, what there is instead, and what to do."""
        if self.refusal:
            return "the model refused", self.refusal, ""
        if self.finish == THINKING or (self.reasoning and self.finish == LENGTH):
            spent = f" after {self.tokens_out} tokens" if self.tokens_out else ""
            return "cut off while still thinking", f"{self.reasoning[-200:]} [still thinking{spent}]", NO_THINKING
        if self.reasoning:
            return "reasoning and no answer", self.reasoning, NO_THINKING
        if self.tool_calls:
            return "a tool call and no words", self.tool_calls, ""
        return f"empty answer{f', {self.cut}' if self.cut else ''}", self.sent, ""


def reply(
    sent: str,
    finish: str | None,
    tokens: Tokens,
    *,
    reasoning: str = "",
    refusal: str = "",
    tool_calls: str = "",
    call_id: str = "",
    served: str = "",
) -> Reply:
    """What a model sent, read: `sent` is the text as it came, `reasoning` what came apart from it already."""
    text, thought, thinking = parted(sent)
    apart = reasoning
    if thought and thought not in reasoning:  # a recorded reply has both together already
        apart = f"{reasoning}\n\n{thought}" if reasoning else thought
    end = THINKING if thinking else STOP if finish == STOP else ended(finish)
    return Reply(text, *tokens, end, call_id, apart, refusal, tool_calls, sent if sent != text else "", served)


def ended(finish: str | None) -> str:
    """How an answer ended, in our words where we know the server's."""
    word = (finish or "").casefold()
    if word in WHOLE:
        return STOP
    if word in NO_ROOM:
        return LENGTH
    return CALLS if word in CALLED else (finish or STOP)


LEAST_MASS = 0.1  # of the probability: less of it on the options, and the model wanted to say something else
NO_VERDICT = "the options hold too little of the probability"


class Choice(NamedTuple):
    """Each option's probability (they sum to 1), read from one forward pass.

    `mass` is the probability that the options had together before they were normalised: near 0, the model wanted to
    say something else, and the choice means nothing. `wanted` are the likeliest first tokens, whatever they are; they
    may be left out where the options hold most of the probability.
    """

    probabilities: dict[str, float]
    mass: float
    tokens_in: int | None
    call_id: str = ""
    wanted: Mapping[str, float] = MappingProxyType({})

    def expected(self) -> float:
        """Mean of options that are numbers, e.g. a rating from 1 to 5."""
        return sum(float(option) * p for option, p in self.probabilities.items())

    def meant(self, step: str, model: str, least: float = LEAST_MASS) -> Choice:
        """The choice, if the model meant to choose. Raises Unreadable, naming the model and what it wanted to say."""
        if self.mass >= least:
            return self
        options = ", ".join(self.probabilities)
        said = ", ".join(f"{token!r} ({p:.4g})" for token, p in self.wanted.items()) or "nothing that it told"
        raise Unreadable(
            step,
            NO_VERDICT,
            f"{model} wanted to say {said}; {options} hold {self.mass:.2g} together",
            f"{model} does not judge in one of these words: switch its thinking off (`thinking: false` under this "
            "model), give the method another prompt (`prompts:`), or name another model as `judge:`",
            (self.tokens_in, None),
        )


def choice(
    masses: Mapping[str, float], wanted: Mapping[str, float], tokens_in: int | None, call_id: str = ""
) -> Choice:
    """A choice from each option's probability among all that a model might have said."""
    mass = sum(masses.values())
    shares = {option: p / mass if mass > 0 else 0.0 for option, p in masses.items()}
    return Choice(shares, min(mass, 1.0), tokens_in, call_id, wanted)
