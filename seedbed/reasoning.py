"""What a model thinks aloud, told from what it says, however its template marks the one.

Marks in use: <think> and its kin in angle, square and other brackets, in any case, paired, only closed (the template
opened the block) or only opened (the room was spent before the answer); <|START_THINKING|> and its like; the channels
of the Harmony format. Between backticks a mark is text: there somebody writes about marks.
"""

from __future__ import annotations

import re

from seedbed.reasoning_marks import NAMES

_MARK = re.compile(
    rf"<\s?(?P<a>/?)\s?{NAMES}(?:\s[^<>]{{0,200}})?/?>"
    r"|\[(?P<b>/?)(?-i:think|THINK|THINKING|REASONING)\]"  # [Thinking] may be a stage direction
    rf"|[\u25c1\u3008](?P<c>/?){NAMES}[\u25b7\u3009]"
    r"|<\|(?P<d>end_of_|end_|/)?(?:begin_of_|start_|begin_)?(?:thought|thinking|think|reasoning)\|>"
    r"|<\|channel>thought\b|(?P<e><channel\|>)|<unused94>thought\b|(?P<f><unused95>)",
    re.IGNORECASE,
)
_EDGES = re.compile(r"<\|(?:begin|end|start)_(?:of_)?(?:solution|response|answer)\|>", re.IGNORECASE)
_WRAPPERS = ("answer", "final_answer", "response", "solution", "output")
_CHANNEL = re.compile(r"(?:<\|start\|>\s?\w{0,40})?<\|channel\|>\s?(\w{1,40})[^<]{0,200}<\|message\|>")
_END_OF_MESSAGE = re.compile(r"<\|(?:end|return|call)\|>|<\|start\|>assistant")
_BARE_CHANNELS = "assistantfinal"  # what is left of "<|start|>assistant<|channel|>final" without special tokens


def parted(text: str) -> tuple[str, str, bool]:
    """What a text says, what it thinks, and whether it ends amid a thought; white space around each trimmed."""
    if "<|channel|>" in text:
        return _of_channels(text)
    if text.startswith("analysis") and _BARE_CHANNELS in text:
        thought, _, said = text.removeprefix("analysis").partition(_BARE_CHANNELS)
        return said.strip(), thought.strip(), False
    if "<" in text or "[" in text or "\u25c1" in text or "\u3008" in text:
        return _of_marks(text)
    return text.strip(), "", False


def _of_marks(text: str) -> tuple[str, str, bool]:
    said, thoughts, at, thinking, code = list[str](), list[str](), 0, False, _Backticks()
    for mark in _MARK.finditer(text):
        before = text[at : mark.start()]
        closes = mark.lastgroup is not None and bool(mark[mark.lastgroup])
        if thinking:
            if not closes:  # a thought may speak of the mark that began it
                continue
            thoughts.append(before)
            thinking = False
        elif code.read(before):
            said.append(text[at : mark.end()])
        elif mark[0].endswith("/>"):  # a block with nothing in it
            said.append(before)
        elif closes:  # its block was opened in the prompt: all so far was a thought
            thoughts.append("".join([*said, before]))
            said = []
        else:
            said.append(before)
            thinking = True
        at = mark.end()
    (thoughts if thinking else said).append(text[at:])
    words = "".join(said)
    if thoughts:
        words = _unwrapped(_EDGES.sub("", words).strip())
    return words.strip(), "\n\n".join(filter(None, (thought.strip() for thought in thoughts))), thinking


def _unwrapped(words: str) -> str:
    """An answer without the marks around it that stand beside those of the thought."""
    for name in _WRAPPERS:
        if words.lower().startswith(f"<{name}>") and words.lower().endswith(f"</{name}>"):
            return words[len(name) + 2 : -len(name) - 3]
    return words


class _Backticks:
    """Whether the text that was read so far ends inside code: a fence, or backticks within a line."""

    def __init__(self) -> None:
        self._fences = self._ticks = 0

    def read(self, more: str) -> bool:
        self._fences += more.count("```")
        line = more.rsplit("\n", 1)
        self._ticks = line[-1].count("`") + (0 if len(line) > 1 else self._ticks)
        return self._fences % 2 == 1 or self._ticks % 2 == 1


def _of_channels(text: str) -> tuple[str, str, bool]:
    """The Harmony format: channel `final` is said, what stands in any other is thought."""
    parts = _CHANNEL.split(text)
    told = [(name, _END_OF_MESSAGE.sub("", body).strip()) for name, body in zip(parts[1::2], parts[2::2], strict=True)]
    before = _END_OF_MESSAGE.sub("", parts[0]).strip()
    said = [body for name, body in told if name == "final"]
    thoughts = [body for name, body in told if name != "final"]
    if said:
        return "\n\n".join(said), "\n\n".join(filter(None, [before, *thoughts])), False
    return before, "\n\n".join(filter(None, thoughts)), bool(told)
