"""What a verdict's transcript tells, read back for people: votes, a pair's comparisons, a debate, a revision.

Curators write transcripts as JSON, models' words in it as strings. Whoever reads one must not trust that: a curator
of another package may leave raw model text there, and that text may be JSON too. What has another shape is no
transcript of ours, and is shown as the words that it is.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

Orders = tuple[float, float]


class _Told(BaseModel):
    """Of what a transcript tells, what people read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Vote(_Told):
    """One vote: P(yes), and the review before it."""

    yes: float
    review: str


class Opinion(_Told):
    """What a model said before any debate: asked, and asked the other way round."""

    model: str
    orders: Orders


class Turn(_Told):
    """One argument of a debate; `struck` are its quotes that the text does not have."""

    round: int
    side: str
    text: str
    struck: tuple[str, ...] = ()


class Candidate(_Told):
    """One of the answers that a pair was chosen from."""

    text: str
    model: str


class Compared(_Told):
    """Two candidates, by number, and the probability that the first is better, in both orders."""

    a: int
    b: int
    in_front: float
    behind: float


class Attempt(_Told):
    """What came of a try to revise; `orders` are None where it was not judged."""

    revised: str
    outcome: str
    orders: Orders | None = None


class Transcript(_Told):
    """All that any curator tells; a step has what concerns it. `orders` are of a ruling, or of what was revised."""

    votes: tuple[Vote, ...] = ()
    critique: str | None = None
    critique_after: str | None = None
    opinions: tuple[Opinion, ...] = ()
    turns: tuple[Turn, ...] = ()
    orders: Orders | None = None
    decisive: str = ""
    candidates: tuple[Candidate, ...] = ()
    chosen: int | None = None
    rejected: int | None = None
    comparisons: tuple[Compared, ...] = ()
    scores: tuple[float, ...] = ()
    attempt: Attempt | None = None
    revised: str | None = None
    outcome: str = ""
    before: float | None = None
    after: float | None = None

    @property
    def revision(self) -> Attempt | None:
        """The try to revise, if there was one: a debate's, or a critique's own."""
        if self.attempt or self.revised is None:
            return self.attempt
        return Attempt(revised=self.revised, outcome=self.outcome, orders=self.orders)

    def role(self, number: int) -> str:
        """Whether a candidate is the chosen or the rejected one; "" if neither."""
        return {self.chosen: "chosen", self.rejected: "rejected"}.get(number, "")


_OURS: TypeAdapter[Transcript | tuple[Vote, ...]] = TypeAdapter(Transcript | tuple[Vote, ...])
_NOTHING = Transcript()


def read(text: str) -> Transcript | None:
    """The transcript in a text; None where that is something else, to be shown as it stands."""
    try:
        found = _OURS.validate_json(text)
    except ValidationError:
        return None
    told = found if isinstance(found, Transcript) else Transcript(votes=found)
    return None if told == _NOTHING else told
