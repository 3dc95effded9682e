"""A verdict's transcript as lines for people: a debate's turns, a pair's comparisons, what came of a revision."""

from __future__ import annotations

from collections.abc import Iterator

from seedbed.transcripts import Transcript, read


def lines(transcript: str) -> list[str]:
    """The transcript told line by line; one that is none of ours is its own words."""
    told = read(transcript)
    if told is None:
        return [transcript]
    votes = (f"{vote.yes:.2f} for yes: {vote.review}" for vote in told.votes)
    return [*votes, *_pair(told), *_debate(told), *_revision(told)]


def _pair(told: Transcript) -> Iterator[str]:
    for n, candidate in enumerate(told.candidates):
        rated = f", rated {told.scores[n]:.2f}" if n < len(told.scores) else ""
        part = (told.role(n) or "not used") + rated
        yield f"answer {n + 1} by {candidate.model or 'unknown'} ({part}): {candidate.text}"
    for one in told.comparisons:
        yield (
            f"answer {one.a + 1} is the better of {one.a + 1} and {one.b + 1}: "
            f"{one.in_front:.2f} when it comes first, {one.behind:.2f} when second"
        )


def _debate(told: Transcript) -> Iterator[str]:
    for opinion in told.opinions:
        yield f"{opinion.model} before: good {opinion.orders[0]:.2f}, not faulty {opinion.orders[1]:.2f}"
    for turn in told.turns:
        yield f"round {turn.round}, {turn.side}: {turn.text}"
    if told.turns and told.orders:
        yield f"the judge for it: {told.orders[0]:.2f} and {told.orders[1]:.2f} with the sides changed"
    if told.decisive:
        yield f"decided by: {told.decisive}"


def _revision(told: Transcript) -> Iterator[str]:
    if told.critique:
        yield told.critique
    found = told.revision
    if found is None:
        return
    orders = f" ({found.orders[0]:.2f} and {found.orders[1]:.2f} in the two orders)" if found.orders else ""
    scored = told.before is not None and told.after is not None
    after = f", score {told.before:.2f} before and {told.after:.2f} after" if scored else ""
    yield f"revision {found.outcome}{orders}{after}: {found.revised}"
