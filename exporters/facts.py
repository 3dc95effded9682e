"""What a published tree tells of itself, as plain frozen facts: its card and its manifest are written from these.

Whoever composes the rooms fills them in; nothing here knows the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seedbed.store.selection import Traits

UNKNOWN = "unknown"  # a licence that nobody has named
_PLAIN = Traits()


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of a tree: `size` in bytes as a file, `held` as `datasets` counts them in memory.

    `traits` are those of its config's rows.
    """

    path: str
    config: str
    split: str
    rows: int
    size: int
    held: int
    sha256: str
    traits: Traits = _PLAIN


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model behind the data: what it was used for, and how many of the published rows have an answer of it."""

    name: str
    revision: str
    licence: str
    roles: tuple[str, ...]
    rows: int
    embedded: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that a step left out for one reason, of those that it judged; none are left out where `rows` is 0."""

    step: str
    judged: int
    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """What was asked of a leaf of the taxonomy and what came of it; no target where pairs came of revisions."""

    name: str
    method: str
    target: int | None
    made: int
    kept: int
    dropped: int
    failed: int
    main_reason: str


@dataclass(frozen=True, slots=True)
class Judge:
    """How far a judge can be trusted: `agreement` with people over `n` decisions, and its lean to place and length.

    `drawn_agreement` is over those `drawn_n` of them that were no choice of doubtful samples.
    """

    curator: str
    model: str
    judged: int
    n: int
    agreement: float | None
    kappa: float | None
    compared: int
    flip_rate: float | None
    length_bias: float | None
    drawn_n: int = 0
    drawn_agreement: float | None = None


@dataclass(frozen=True, slots=True)
class People:
    """What people looked at: of the published rows, and how many rows they dropped."""

    reviewed: int
    edited: int
    turned: int
    dropped: int
    reviewers: int


@dataclass(frozen=True, slots=True)
class Decontamination:
    """One decontaminating step: against which files, over how many words, and what it found.

    `published` rows passed it; of these, `changed_after` were edited by people or revised since.
    """

    step: str
    files: tuple[str, ...]
    words: int
    checked: int
    published: int
    changed_after: int
    found: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """A version, as it is to be published in `repo`. `judge_wrote` is true where a model judged its own words.

    `measured` is how many rows told the languages, 0 where they were given. `found` of the rows were taken in as they
    were; models made the others.
    """

    repo: str
    license: str
    languages: tuple[str, ...]
    pretty_name: str
    version: str
    parent: str
    recipe_name: str
    recipe: Mapping[str, object]
    thresholds: Mapping[str, float]
    created: str
    run_ids: tuple[str, ...]
    held_out: float
    published: int
    candidates: int
    teachers: tuple[Teacher, ...]
    judge_wrote: bool
    funnel: tuple[LeftOut, ...]
    leaves: tuple[Leaf, ...]
    judges: tuple[Judge, ...]
    people: People
    decontamination: tuple[Decontamination, ...]
    kinds: frozenset[str]
    seedbed: str
    measured: int = 0
    found: int = 0
