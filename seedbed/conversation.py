"""What a sample says: a conversation up to a point, and one or more responses to it.

The usual case is one request and one answer, so its four texts are fields of their own: judges, people and SQL see
them, and a store of millions of them holds nothing else. `rest` is what a conversation has beside: it is None in the
usual case, and no text stands in two places. Whole turns and responses are put together when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self, TypedDict, get_args

import orjson

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


class Message(TypedDict):
    """One turn of a chat, as models are asked."""

    role: str
    content: str


class ToolCall(NamedTuple):
    """A call of a tool. `arguments` are as they came: an object, or the text that a model wrote for one."""

    name: str
    arguments: object
    id: str = ""


class Turn(NamedTuple):
    """One turn. `context` is the text that a user's turn is about; `name` is the tool that a tool's turn is of."""

    role: Role
    content: str = ""
    context: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str = ""
    tool_call_id: str = ""

    @property
    def text(self) -> str:
        """Its words for one who reads: after the context, and before the calls of tools."""
        said = f"{self.context}\n\n{self.content}" if self.context else self.content
        return _with_calls(said, self.tool_calls)


class Response(NamedTuple):
    """One response: its words, who gave it ("" where nobody says), and its reasoning, which is no part of them."""

    content: str = ""
    author: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def text(self) -> str:
        """Its words for one who reads, before the calls of tools."""
        return _with_calls(self.content, self.tool_calls)

    @property
    def turn(self) -> Turn:
        """It as the assistant's next turn."""
        return Turn("assistant", self.content, reasoning=self.reasoning, tool_calls=self.tool_calls)


_NO_RESPONSE = Response()


@dataclass(frozen=True, slots=True)
class Rest:
    """What a conversation has beside its four texts.

    `before` are the turns before the last one of a user, `after` those that follow it: calls of tools and what came of
    them. `responses` hold author, reasoning and calls of the first two responses, whose words stand in the texts, and
    further ones whole. `facts` is open: what a method knows of the row, under the method's name.
    """

    before: tuple[Turn, ...] = ()
    after: tuple[Turn, ...] = ()
    responses: tuple[Response, ...] = ()
    tools: tuple[Mapping[str, object], ...] = ()
    facts: Mapping[str, object] | None = None
    label: bool | None = None


_NOTHING = Rest()


@dataclass(frozen=True, slots=True)
class Content:
    """A conversation with its responses. `context` is the text that the question is about, empty for most tasks.

    `question` is the last turn of a user, `answer` the first response and `rejected` the second: of a preference the
    answers that were chosen and rejected, of a correction the answer as it was and as it was corrected.
    """

    question: str = ""
    answer: str = ""
    context: str = ""
    rejected: str = ""
    rest: Rest | None = None

    @classmethod
    def of(
        cls,
        turns: Sequence[Turn],
        responses: Sequence[Response] = (),
        tools: Sequence[Mapping[str, object]] = (),
        facts: Mapping[str, object] | None = None,
        label: bool | None = None,
    ) -> Self:
        """A conversation of these turns and the responses to it. Raises ValueError where no turn is a user's."""
        at = max((n for n, turn in enumerate(turns) if turn.role == "user"), default=-1)
        if at < 0:
            raise ValueError("no turn of a user")
        texts = [response.content for response in responses[:2]]
        bare = [one._replace(content="") if n < 2 else one for n, one in enumerate(responses)]
        rest = Rest(
            tuple(turns[:at]),
            tuple(turns[at + 1 :]),
            tuple(bare) if any(one != _NO_RESPONSE for one in bare) else (),
            tuple(tools),
            facts or None,
            label,
        )
        answer, rejected = [*texts, "", ""][:2]
        asked = turns[at]
        return cls(asked.content, answer, asked.context, rejected, None if rest == _NOTHING else rest)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns before the responses."""
        asked = Turn("user", self.question, self.context)
        return (*self.rest.before, asked, *self.rest.after) if self.rest else (asked,)

    @property
    def responses(self) -> tuple[Response, ...]:
        """The responses, none where there is nothing of one."""
        texts = (self.answer, self.rejected)
        beside = self.rest.responses if self.rest else ()
        found = [
            beside[n]._replace(content=texts[n]) if n < len(beside) else Response(texts[n])
            for n in (0, 1)
            if n < len(beside) or texts[n] or (n == 0 and self.rejected)
        ]
        return (*found, *beside[2:])

    @property
    def tools(self) -> tuple[Mapping[str, object], ...]:
        """The tools that were offered, as JSON schemas."""
        return self.rest.tools if self.rest else ()

    @property
    def facts(self) -> Mapping[str, object]:
        """What methods know of the row, under their names."""
        return (self.rest.facts or {}) if self.rest else {}

    @property
    def label(self) -> bool | None:
        """Whether the answer is as it should be; None where nobody says."""
        return self.rest.label if self.rest else None

    @property
    def single(self) -> bool:
        """Whether it is one request, without other turns and without tools."""
        return self.rest is None or not (self.rest.before or self.rest.after or self.rest.tools)

    def prompt(self) -> str:
        """What was asked, as one text: the context, if any, and the question; else all turns, laid out."""
        if not self.single:
            return "\n\n".join(self._told())
        return f"{self.context}\n\n{self.question}" if self.context else self.question

    def replies(self) -> tuple[str, str]:
        """The first two responses as texts to read, calls of tools in words; "" where there is none."""
        if self.rest is None or not self.rest.responses:
            return self.answer, self.rejected
        texts = [one.text for one in self.responses[:2]]
        first, second = [*texts, "", ""][:2]
        return first, second

    def texts(self) -> Iterator[str]:
        """Every text of it, for who looks for something in any of them."""
        yield from filter(None, (self.question, self.answer, self.context, self.rejected))
        if self.rest:
            for turn in (*self.rest.before, *self.rest.after, *(one.turn for one in self.rest.responses)):
                yield from filter(None, (turn.text, turn.reasoning))

    def laid_out(self) -> str:
        """All of it for a judge to read, each part under its name."""
        answer, rejected = self.replies()
        answers = {"Answer 1": answer, "Answer 2": rejected} if rejected else {"Answer": answer}
        if not self.single:
            parts = {"Conversation": f"\n{self.prompt()}"}
        else:
            parts = {"Text": self.context, "Request": self.question} if self.context else {"Request": self.question}
        return "\n".join(f"{name}: {text}" for name, text in (parts | answers).items())

    def answered(self, answer: str) -> Self:
        """The same with another first answer: the reasoning and the calls of tools before it were not of this one."""
        beside = (_NO_RESPONSE, *self.rest.responses[1:]) if self.rest else ()
        return replace(self, answer=answer, rest=self._beside(beside))

    def preferred(self, answer: str) -> Self:
        """A pair: this answer before the one that it has."""
        beside = (_NO_RESPONSE, *self.rest.responses[:1]) if self.rest else ()
        return replace(self, answer=answer, rejected=self.answer, rest=self._beside(beside))

    def alone(self) -> Self:
        """The same with its first response only."""
        return replace(self, rejected="", rest=self._beside(self.rest.responses[:1] if self.rest else ()))

    def second(self) -> Self:
        """The same with its second response only."""
        beside = self.rest.responses[1:2] if self.rest else ()
        return replace(self, answer=self.rejected, rejected="", rest=self._beside(beside))

    def without_passages(self) -> Self:
        """The same without the texts that its turns are about."""
        rest = self.rest
        if rest:
            before, after = (tuple(turn._replace(context="") for turn in turns) for turns in (rest.before, rest.after))
            rest = replace(rest, before=before, after=after)
        return replace(self, context="", rest=rest)

    def _beside(self, responses: tuple[Response, ...]) -> Rest | None:
        """The rest with these responses, of which nothing is kept that tells nothing."""
        told = responses if any(one != _NO_RESPONSE for one in responses) else ()
        rest = replace(self.rest, responses=told) if self.rest else None
        return None if rest == _NOTHING else rest

    def _told(self) -> Iterator[str]:
        if self.tools:
            yield "Tools:\n" + "\n".join(orjson.dumps(tool).decode() for tool in self.tools)
        for turn in self.turns:
            yield f"{turn.name or turn.role}: {turn.text}" if turn.role == "tool" else f"{turn.role}: {turn.text}"


def _with_calls(text: str, calls: Sequence[ToolCall]) -> str:
    told = [f"[calls {call.name}({told_arguments(call.arguments)})]" for call in calls]
    return "\n".join(filter(None, (text, *told)))


def told_arguments(arguments: object) -> str:
    """The arguments of a call as text: as they came, or as JSON."""
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
