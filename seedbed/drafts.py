"""A sample on its way: what there is of it by the time that a model fails it was paid for, and is kept."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from seedbed.engines import EngineError, Reply
from seedbed.records import Content, Draft, Verdict
from seedbed.replies import Unreadable

_NOTHING = Content()


class Unfinished(Exception):
    """What was made of a sample, and what kept it from being finished."""

    def __init__(self, draft: Draft, problem: Unreadable | EngineError) -> None:
        super().__init__(str(problem))
        self.draft, self.problem = draft, problem


@dataclass(slots=True)
class Making:
    """What there is of a sample so far. As a context: where a model fails it, that goes along, as Unfinished.

    with Making("instruction", parents) as made:
        reply = await model.chat(…)
        made.heard(reply)
        made.content = Content(question=reply.words("question"))
    return made.draft()
    """

    kind: str
    parents: tuple[str, ...] = ()
    content: Content = _NOTHING
    verdicts: tuple[Verdict, ...] = ()
    call_ids: tuple[str, ...] = ()
    author: str = ""

    def heard(self, *replies: Reply) -> None:
        """These were paid for."""
        self.call_ids += tuple(reply.call_id for reply in replies if reply.call_id)

    def judged(self, verdict: Verdict) -> bool:
        """Add what a check says of it; whether it stands."""
        self.verdicts += (verdict,)
        return verdict.keep

    def draft(self) -> Draft:
        """It as it is now."""
        return Draft(self.content, self.kind, self.verdicts, self.parents, self.call_ids, self.author)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Unreadable | EngineError):
            raise Unfinished(self.draft(), error) from error
