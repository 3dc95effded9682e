"""A scripted model: replies by step, from lists or functions, and a memory of what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from seedbed.engines import Choice, Messages, ModelCard, Reply, Sampling

Line = str | Reply
Odds = Mapping[str, float]


@dataclass(frozen=True)
class Call:
    """One call as the engine saw it. `options` is empty for a chat."""

    step: str
    messages: Messages
    ordinal: int = 0
    sampling: Sampling | None = None
    options: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join(turn["content"] for turn in self.messages)


@dataclass
class Scripted:
    """Fits Engine. A list is used up in order; a function gets the messages each time."""

    says: Mapping[str, list[Line] | Callable[[Messages], Line]] = field(default_factory=dict)
    chooses: Mapping[str, list[Odds] | Callable[[Messages], Odds]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    @property
    def card(self) -> ModelCard:
        return ModelCard("scripted", "scripted", "1", "none")

    @property
    def steps(self) -> list[str]:
        return [call.step for call in self.calls]

    async def chat(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        step: str,
        ordinal: int = 0,
        schema: type[BaseModel] | None = None,
    ) -> Reply:
        self.calls.append(Call(step, messages, ordinal, sampling))
        script = self.says[step]
        line = script(messages) if callable(script) else script.pop(0)
        if isinstance(line, Reply):
            return line
        return Reply(line, 1, 1, call_id=f"{step}-{len(self.calls)}")

    async def choose(self, messages: Messages, options: Sequence[str], *, step: str) -> Choice:
        self.calls.append(Call(step, messages, options=tuple(options)))
        script = self.chooses[step]
        odds = script(messages) if callable(script) else script.pop(0)
        shares = {option: odds.get(option, 0.0) for option in options}
        return Choice(shares, 1.0, 1, call_id=f"{step}-{len(self.calls)}")
