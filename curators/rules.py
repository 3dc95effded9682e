"""Rules: cheap checks without a model, the first gate that a sample meets.

The idea: every check names one thing that went wrong and is sure of it; what is merely poor the judges weigh.
Phrases are English; a sample in another language meets the checks of form, tokens, loops and language.
Substring tests stand before slow searches, because this gate reads every sample that was ever made.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from curators.languages import foreign
from seedbed.engines import Engines
from seedbed.reasoning_marks import has_reasoning_mark
from seedbed.records import Content, Frozen, Sample, Verdict

LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]


class Rules(Frozen):
    """What passes the cheap checks. Chinese and Japanese characters count as a word each."""

    min_words: int = Field(default=1, ge=0, description="Shortest answer kept, in words.")
    max_words: int = Field(default=400, ge=1, description="Longest answer kept, in words.")
    max_question_words: int = Field(default=200, ge=1, description="Longest question kept, in words.")
    languages: tuple[LanguageCode, ...] = Field(
        default=("en",),
        description="Languages kept, as ISO codes such as en or zh; empty keeps any language.",
    )

    @model_validator(mode="after")
    def _can_keep_something(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is over max_words {self.max_words}: nothing would be kept")
        return self


_VISIBLE = re.compile(r"[^\s\u00ad\u200b-\u200f\u2060-\u2064\ufe0f\ufeff]")


def empty(content: Content, options: Rules) -> str | None:
    """Nothing to read: white space and invisible characters only."""
    if not _VISIBLE.search(content.question):
        return "empty question"
    if _VISIBLE.search(content.answer) or any(one.tool_calls for one in content.responses[:1]):
        return None
    return "empty answer"


_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def _words(text: str) -> int:
    spaced = len(text.split())
    return spaced if text.isascii() else max(spaced, len(_UNSPACED.findall(text)))


def _longer(text: str, limit: int) -> bool:
    """Whether it has more words than that; its size answers for most texts without a split."""
    smallest = limit + 1 if not text.isascii() else 2 * limit + 1
    return len(text) >= smallest and _words(text) > limit


def length(content: Content, options: Rules) -> str | None:
    """Too short or too long."""
    short = options.min_words > 1 and not _longer(content.answer, options.min_words - 1)
    if short and not any(one.tool_calls for one in content.responses[:1]):
        return f"answer under {options.min_words} words"
    if _longer(content.answer, options.max_words):
        return f"answer over {options.max_words} words"
    if _longer(content.question, options.max_question_words):
        return f"question over {options.max_question_words} words"
    return None


_AI = (
    r"(?:as|being|since i'm|because i'm|i'm|i am) (?:just |only |simply )?an? "
    r"(?:(?:(?:responsible|respectful|helpful|ethical|honest|harmless),?(?: and)? )+(?:assistant|ai)"
    r"|ai|a\.i\.|artificial intelligence|(?:large )?language model|(?:virtual|digital) assistant|chatbot)"
    r"(?: language| model| assistant| system| chatbot| program)*"
)
_SORRY = (
    r"(?:no, )?(?:(?:(?:i'm|i am|we're|we are) )?(?:so |very |really |truly |terribly )?(?:sorry|afraid)"
    r"|unfortunately|regrettably|(?:i |we )?(?:sincerely )?apologi[sz]e|(?:my )?apologies)"
)
_CANNOT = (
    r"(?:i|we) ?(?:can't|cannot|can not|could not|won't|will not"
    r"|(?:am|'m|are|'re) (?:unable|not able|not willing|not going|not in a position) to)"
)
# What an assistant declines to do: people in stories and letters cannot attend, believe or recommend enough.
_DECLINED = (
    r"(?:assist|help(?! but\b| \w+ing\b)|provid|fulfil|satisfy|comply|answer|respond|engage|generat|creat"
    r"|produc|discuss|support|offer|participat|promot|condone|facilitat|disclos|access|browse|process|perform"
    r"|complete (?:this|that|your)|continue (?:with|this)|(?:see|view|open) (?:the|any|your) \w+"
    r"|(?:do|write|make|share|say|give you) (?:that|this|such|any|jokes|advice)\b|tell you (?:how|that))"
)
_LACKING = (
    r"i (?:do not|don't) (?:currently |actually )?have (?:(?:the |any )?(?:ability|capability|capacity) to"
    r"|(?:direct |real-time )?access to|(?:any )?(?:personal )?(?:opinion|feeling|belief|preference)s?\b)"
)
_OWN_LIMITS = r"\bi(?:'m| am| have| lack| do| don't| can't| cannot| can not| will not| won't| must)\b"
_CURLY = re.compile("[\u2018\u2019\u02bc\uff07]")
_REFUSAL = re.compile(
    rf"(?:{_SORRY}[,.:;!\u2013\u2014 -]+)?(?:but |however,? |that )?"
    rf"(?:{_AI}\b[^.]{{0,80}}?{_OWN_LIMITS}"
    rf"|(?:i'm|i am) (?:just |only |simply )an? (?:ai|language model)\b"
    rf"|{_CANNOT} (?:\w+ly )?{_DECLINED}"
    rf"|(?:i|we) (?:must|have to|need to) (?:\w+ly )?(?:decline|refuse)\b"
    rf"|{_LACKING}"
    rf"|i(?:'m| am) not (?:programmed|designed|comfortable|equipped|allowed|permitted|capable)\b"
    rf"|(?:your|this|that) (?:request|prompt|question) (?:violates|goes against)\b"
    rf"|it(?:'s| is| would be) (?:not appropriate|inappropriate) for me\b)"
)


def refusal(content: Content, options: Rules) -> str | None:
    """The answer opens by declining, in the voice of an assistant."""
    opening = " ".join(content.answer[:160].lower().split())
    if not opening.isascii():
        opening = _CURLY.sub("'", opening)
    return "refusal" if _REFUSAL.match(opening.lstrip("\"'*_#>- \u201c")) else None


def _earlier(content: Content) -> tuple[str, ...]:
    """The words of a conversation's other turns: a trainer reads them too, and learns those of the assistant."""
    rest = content.rest
    if rest is None:
        return ()
    turns = (*rest.before, *rest.after)
    thoughts = (*(turn.reasoning for turn in turns), *(one.reasoning for one in rest.responses))
    return (*(turn.content for turn in turns), *filter(None, thoughts))


_SPECIAL = re.compile(
    r"<[|\uff5c][\w\u2581 -]{1,40}[|\uff5c]>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|</s><s>|\A\s*<s>|</s>\s*\Z"
)
_ROLE = re.compile(r"^(?:Human|Assistant):", re.MULTILINE)
# Who asks for a dialogue or a quiz gets labels that are no leak.
_WANTS_DIALOGUE = re.compile(r"dialog|conversation|chat|script|transcript|scene\b|interview", re.IGNORECASE)
_WANTS_QUESTIONS = re.compile(r"question|quiz|q&a|faq|interview|trivia|riddle|flash ?card|exam\b", re.IGNORECASE)


def role_tokens(content: Content, options: Rules) -> str | None:
    """Marks of a model's reasoning, special tokens of a chat template, or a turn under another role."""
    if any(map(has_reasoning_mark, (content.question, content.answer, content.rejected, *_earlier(content)))):
        return "reasoning marks"
    for text in (content.question, content.answer, content.rejected, *_earlier(content)):
        if (">" in text or "INST]" in text) and _SPECIAL.search(text):
            return "special tokens"
        if ("Human:" in text or "Assistant:" in text) and _ROLE.search(text):
            opens = _ROLE.match(content.question)
            return "role labels" if opens or not _WANTS_DIALOGUE.search(content.question) else None
    return None


# The delimiters of `seedbed.prompts.fence` have 20 hexadecimal digits, those in older prompts 8.
_SCAFFOLD = re.compile(
    r"^[ \t]*(?:\[(?:system|user|assistant)\][ \t]*$|~(?:[0-9a-f]{20}|[0-9a-f]{8})[ \t]*$"
    r"|[#]{3}[ ](?:Instruction:?|Response:|(?:Human|Assistant|User|System):?)[ \t]*$)"
    r"|(?<![\w~/])~(?=[0-9]{0,19}[a-f])(?:[0-9a-f]{20}|[0-9a-f]{8})\b",
    re.MULTILINE,
)
_ANNOUNCED = re.compile(
    r"\A\W*(?:(?:sure|certainly|of course|okay)[,.! ]*)?here(?: is|'s|\u2019s) (?:an?|the|your|another|one)\b"
    r"[\w ,-]{0,40}\b(?:question|instruction|task|problem|prompt|example)\b[^\n:]{0,40}:",
    re.IGNORECASE,
)
_NEXT = re.compile(r"Here(?: is|'s|\u2019s) (?:a|another|the) (?:(?:new|next) )?(?:question|instruction|task):")
_TURN = re.compile(r"^(?:Question|Instruction)(?: ?\d+)?:", re.MULTILINE)
_SPEAKS_OF_ANSWERS = re.compile(r"answer|respon|question", re.IGNORECASE)
_ANSWERED = re.compile(r"(?<=\n)(?:Answer|Response)(?: ?\d+)?:[ \t]*\S")


def leaked_prompt(content: Content, options: Rules) -> str | None:
    """Fragments of a prompt's scaffolding, or turns that go on where the text should have ended."""
    question, answer = content.question, content.answer
    if _scaffold(question) or _ANNOUNCED.match(question):
        return "leaked prompt text in the question"
    if _answered(question):
        return "answer inside the question"
    if _scaffold(answer):
        return "leaked prompt text in the answer"
    if _goes_on(answer) and not _WANTS_QUESTIONS.search(question):
        return "further turns in the answer"
    return None


def _scaffold(text: str) -> bool:
    bracketed = "[" in text and ("[user]" in text or "[assistant]" in text or "[system]" in text)
    marked = bracketed or "~" in text or ("#" in text and "### " in text)
    return marked and _SCAFFOLD.search(text) is not None


def _answered(question: str) -> bool:
    """A question that speaks of answers, or shows worked ones, may hold an answer."""
    label = _ANSWERED.search(question) if "Answer" in question or "Response" in question else None
    return label is not None and not _SPEAKS_OF_ANSWERS.search(question, 0, label.start())


def _goes_on(answer: str) -> bool:
    labels = "Question" in answer or "Instruction" in answer
    return bool((labels and _TURN.search(answer)) or ("Here" in answer and _NEXT.search(answer)))


def echo(content: Content, options: Rules) -> str | None:
    """The answer says the question, or the whole prompt, over again."""
    answer = content.answer
    for asked in (content.question, content.prompt()):
        near = abs(len(asked) - len(answer)) <= 8 + len(answer) // 8
        # The first letters differ for nearly every pair, and cost little to compare.
        if near and _folded(asked[:40])[:8] == _folded(answer[:40])[:8] and _folded(asked) == _folded(answer):
            return "answer repeats the question"
    return None


def _folded(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold())) or text


_TIMES, _SHARE, _RUNS = 6, 0.5, 20


def repetition(content: Content, options: Rules) -> str | None:
    """The answer goes round: one line many times, or half of its runs of five words seen before."""
    answer = content.answer
    lines = answer.split("\n")
    if len(lines) - len(set(lines)) >= _TIMES - 1 and _repeats_a_line(lines):
        return "repeated line"
    words: list[str] | str = answer.split()
    if len(answer) > 20 * len(words):
        words = answer  # no spaces to speak of: Chinese, or one character without end
    runs = len(words) - 4
    # Every repeated run repeats its last word too, so few repeated words rule a loop out without the runs.
    if runs < _RUNS or len(words) - len(set(words)) < _SHARE * runs:
        return None
    distinct = len(set(zip(words, words[1:], words[2:], words[3:], words[4:], strict=False)))
    return "repeated words" if runs - distinct >= _SHARE * runs else None


def _repeats_a_line(lines: list[str]) -> bool:
    """Short lines (brackets, table rules) and a song's refrain may come back."""
    counted = Counter(line for line in lines if len(line) >= 12 and any(map(str.isalpha, line)))
    times = max(counted.values(), default=0)
    return times >= _TIMES and 4 * times >= len(lines)


# A form feed may part two pages; amid a formula, or before what is left of a command, it is LaTeX that JSON ate.
_BROKEN = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffd\ufffe\uffff]"
    r"|(?<=[$({\[=_^+*\\])\x0c|\x0c(?:(?:rac|orall|lat|rown)(?![a-z])|[a-z]{1,20}[{\\^])"
)


def broken_characters(content: Content, options: Rules) -> str | None:
    """Control characters, lone surrogates and what a wrong decoding leaves."""
    for text in filter(None, (content.question, content.answer, content.context, content.rejected, *_earlier(content))):
        plain = text.replace("\n", "").isprintable() and "\ufffd" not in text
        if not plain and _BROKEN.search(text):
            return "broken characters"
    return None


_ASKS_FOR_LANGUAGE = re.compile(
    r"translat|\b(?:in|into|to|from) (?:arabic|chinese|mandarin|dutch|english|french|german|greek|hebrew"
    r"|hindi|italian|japanese|korean|latin|polish|portuguese|russian|spanish|swedish|turkish|ukrainian|vietnamese)\b",
    re.IGNORECASE,
)


def language(content: Content, options: Rules) -> str | None:
    """Another language than asked for; an answer may be in the one that its question asks for."""
    if not options.languages:
        return None
    if found := foreign(content.question, options.languages):
        return f"question in {found}"
    found = foreign(content.answer, options.languages)
    return f"answer in {found}" if found and not _ASKS_FOR_LANGUAGE.search(content.question) else None


def earlier_turns(content: Content, options: Rules) -> str | None:
    """What an assistant said earlier is learned as its last answer is: something, no refusal, in a language kept."""
    for turn in (*content.rest.before, *content.rest.after) if content.rest else ():
        if turn.role != "assistant":
            continue
        if not turn.tool_calls and not _VISIBLE.search(turn.content):
            return "empty answer in an earlier turn"
        said = Content(content.question, turn.content)
        if refusal(said, options):
            return "refusal in an earlier turn"
        if options.languages and (found := foreign(turn.content, options.languages)):
            return f"earlier turn in {found}"
    return None


FORMAL = (empty, broken_characters, role_tokens)
CHECKS = (
    *(empty, broken_characters, length, refusal, role_tokens, leaked_prompt, echo, repetition, language),
    earlier_turns,
)


async def rules(sample: Sample, engines: Engines, options: Rules) -> Verdict:
    """The first check that fails gives the reason; no model is asked."""
    return ruled(sample.content, options)


_PASSED = Verdict(step="rules", curator="rules", keep=True)


def ruled(content: Content, options: Rules) -> Verdict:
    """What the checks say of a content."""
    for check in FORMAL if content.label is False else CHECKS:  # one labelled as bad is there to be bad
        if reason := check(content, options):
            return Verdict(step="rules", curator="rules", keep=False, reason=reason)
    return _PASSED
