"""A conversation in token ids, as the model's chat template writes it: what is read of it, and what is learned.

Templates need not mark what the assistant says. An answer begins where the turns before it, opened for an answer, and
the turns with the answer part, as TRL 1.16 cuts a completion from its prompt; it ends with what the template writes of
its turn. What a template leaves out, or writes anew as a conversation grows, is found here and never trained on.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from jinja2 import TemplateError

from seedbed.conversation import Content
from seedbed.errors import InputError
from seedbed.messages import Messages, prompt_of, response_of
from trainer.options import Training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

APART = "learned turn by turn, for the model's template writes earlier turns anew"
BENT = "the model's template opens an answer otherwise than it writes one"
REWRITTEN = "the model's template writes the turns before an answer anew"


class Unwritable(Exception):
    """A template cannot write a conversation, or not all of it; the message is short enough to count rows by."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One sequence to learn from, and the parts (from, to) of it that carry loss."""

    ids: array[int]  # four bytes a token: those of all rows are there at once
    learned: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A row in token ids: all before the last answer, that answer, and of a pair the rejected one.

    These are measured. `lessons` are what an SFT learns from. `remark` says what of a row is otherwise than usual.
    """

    prompt: list[int]
    answer: list[int]
    rejected: list[int]
    lessons: tuple[Lesson, ...] = ()
    remark: str = ""

    @property
    def length(self) -> int:
        """Tokens of the conversation with the longer answer."""
        whole = len(self.prompt) + max(len(self.answer), len(self.rejected))
        return max(whole, *(len(lesson.ids) for lesson in self.lessons)) if self.lessons else whole


@dataclass(frozen=True, slots=True)
class Template:
    """A tokenizer's chat template, with the tools that one conversation offers."""

    tokenizer: PreTrainedTokenizerBase
    tools: list[dict[str, Any]] | None

    def ids(self, messages: Messages, opened: bool = False) -> list[int]:
        """The messages in token ids, opened for an answer or closed. Raises Unwritable, and InputError without one."""
        if not self.tokenizer.chat_template:
            raise InputError(
                f"the model {self.tokenizer.name_or_path} has no chat template, so it cannot be told how a request "
                "looks. Start from an instruct model, or put a chat_template.jinja in its folder"
            )
        try:
            ids = self.tokenizer.apply_chat_template(
                messages,
                tools=self.tools,  # type: ignore[arg-type]  # dicts are among what it takes, in a list of its own type
                add_generation_prompt=opened,
                tokenize=True,
                return_dict=False,
            )
        except (TemplateError, TypeError) as error:
            raise Unwritable(f"the model's template refuses it: {str(error).partition(chr(10))[0][:80]}") from error
        return cast("list[int]", ids)  # one conversation gives one list


class Written(NamedTuple):
    """A conversation up to an answer and with it, and where in it the answer begins."""

    ids: list[int]
    start: int
    bent: bool  # an end of the opening is not in it


def tokenize(content: Content, training: Training, tokenizer: PreTrainedTokenizerBase, passages: bool) -> Tokens:
    """A conversation's tokens for a training; `passages` says whether an SFT learns turns with a context too.

    Raises:
        InputError: the tokenizer has no chat template.
        Unwritable: the template refuses the conversation, or leaves a part of it out.
    """
    asked = prompt_of(content, training.reasoning)
    pair = training.objective == "dpo"
    sides = [response_of(one, training.reasoning) for one in content.responses[: 2 if pair else 1]]
    template = Template(tokenizer, [dict(tool) for tool in content.tools] or None)
    tokens = _of_pair(template, asked, sides) if pair else _of_conversation(template, [*asked, *sides[0]])
    for side, answer in zip(sides, (tokens.answer, tokens.rejected), strict=False):
        for part in _left_out(template, [*asked, *side], tokens.prompt + answer):
            raise Unwritable(f"the model's template has no place for {part}")
    if pair or not passages:
        return tokens
    told = [n for n, turn in enumerate(content.turns) if turn.context]
    return _with_words(template, [*asked, *sides[0]], told, tokens)


def _of_pair(template: Template, asked: Messages, sides: Sequence[Messages]) -> Tokens:
    chosen, rejected = (_written(template, asked, side) for side in sides)
    at = min(chosen.start, rejected.start)
    remark = BENT if chosen.bent or rejected.bent else ""
    return Tokens(chosen.ids[:at], chosen.ids[at:], rejected.ids[at:], remark=remark)


def _of_conversation(template: Template, said: Messages) -> Tokens:
    """One lesson with every answer in it; one for each where the template does not keep what it wrote before.

    What an assistant says before any user's turn answers nothing, and is only read.
    """
    first = next(n for n, message in enumerate(said) if message["role"] == "user")
    answers = [n for n, message in enumerate(said) if message["role"] == "assistant" and n > first]
    parts = [_written(template, said[:n], said[n : n + 1]) for n in answers]
    last, bent = parts[-1], any(part.bent for part in parts)
    tokens = Tokens(last.ids[: last.start], last.ids[last.start :], [], remark=BENT if bent else "")
    if all(last.ids[: len(part.ids)] == part.ids for part in parts):
        together = tuple((part.start, len(part.ids)) for part in parts)
        return replace(tokens, lessons=(Lesson(array("i", last.ids), together),))
    lessons = tuple(Lesson(array("i", part.ids), ((part.start, len(part.ids)),)) for part in parts)
    return replace(tokens, lessons=lessons, remark=APART)


def _written(template: Template, before: Messages, answer: Messages) -> Written:
    """What the template makes of an answer. Raises Unwritable where the two renderings part before the answer."""
    head, ids = template.ids(before, opened=True), template.ids([*before, *answer])
    start = _shared(head, ids)
    bent = start < len(head)
    if bent and start < _shared(head, template.ids(before)):
        raise Unwritable(REWRITTEN)
    return Written(ids, start, bent)


def _left_out(template: Template, said: Messages, whole: list[int]) -> Iterator[str]:
    """The parts of a conversation without which the template writes the very same."""
    ways = {
        "tools": (replace(template, tools=None), said),
        "calls of tools": (template, _less(said, "tool_calls")),
        "words beside calls of tools": (template, _emptied(said, [m for m in said if "tool_calls" in m])),
        "system turns": (template, _emptied(said, [m for m in said if m["role"] == "system"])),
        "tool turns": (template, _emptied(said, [m for m in said if m["role"] == "tool"])),
    }
    for part, (other, less) in ways.items():
        if (other, less) != (template, said) and _same(whole, other, less):
            yield part
    thought = 1 + max((n for n, message in enumerate(said) if "reasoning_content" in message), default=-1)
    upto = said[:thought]  # templates may drop the reasoning of turns before the last request
    if upto and _same(template.ids(upto), template, _less(upto, "reasoning_content")):
        yield "reasoning"


def _same(ids: list[int], template: Template, messages: Messages) -> bool:
    try:
        return template.ids(messages) == ids
    except Unwritable:  # the template misses what was taken away
        return False


def _less(said: Messages, key: str) -> Messages:
    return [{name: value for name, value in message.items() if name != key} for message in said]


def _emptied(said: Messages, these: Messages) -> Messages:
    return [{**message, "content": ""} if message in these else message for message in said]


def _with_words(template: Template, said: Messages, turns: Sequence[int], tokens: Tokens) -> Tokens:
    """The tokens with the words of these turns learned too, as LAB's `unmask` has it (arXiv 2403.01081)."""
    *others, whole = tokens.lessons
    words = [_words(template, said, n, whole.ids.tolist()) for n in turns]
    return replace(tokens, lessons=(*others, replace(whole, learned=(*words, *whole.learned))))


def _words(template: Template, said: Messages, turn: int, ids: list[int]) -> tuple[int, int]:
    """Where a turn's words stand in the conversation: what goes away where the turn is empty."""
    bare = template.ids([*said[:turn], {**said[turn], "content": ""}, *said[turn + 1 :]])
    start = _shared(bare, ids)
    return start, len(ids) - _shared(bare[start:][::-1], ids[start:][::-1])


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
