"""A recipe's sources as they are understood, without a model: all rows counted, what does not fit named, some shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from flows.methods import Methods
from flows.plan import Plot
from flows.screen import Screen, line
from seedbed.recipe import Recipe
from seedbed.records import Draft, Leaf, Unit
from seedbed.sources.columns import UNASSIGNED
from seedbed.sources.misfit import Misfit
from seedbed.sources.raw import Raw

Row = dict[str, object]
SHOWN, LEAVES_SHOWN, PLACES_SHOWN, TEXT_SHOWN = 10, 10, 3, 300


@dataclass
class Misfits:
    """Rows that do not fit for one reason, with the first of them as (file, line, what is wrong)."""

    n: int = 0
    first: list[tuple[str, int, str]] = field(default_factory=list)


@dataclass
class Understood:
    """All rows of a source: those that fit by kind and leaf, the others by reason."""

    source: str
    revision: str
    leaf: str = ""
    left_out: tuple[str, ...] = ()
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    leaves: Counter[str] = field(default_factory=Counter)
    misfits: dict[str, Misfits] = field(default_factory=dict)

    @property
    def fit(self) -> int:
        """Rows that are taken in."""
        return sum(self.kinds.values())

    def facts(self) -> Row:
        """It as plain values."""
        odd = [
            {
                "reason": reason,
                "rows": one.n,
                "first": [{"file": at[0], "line": at[1], "what": at[2]} for at in one.first],
            }
            for reason, one in self.misfits.items()
        ]
        counts: Row = {"rows": self.rows, "fit": self.fit, "kinds": dict(self.kinds), "leaves": dict(self.leaves)}
        told: Row = {"from": self.source, "revision": self.revision, "left_out": list(self.left_out)}
        return {**told, **counts, "misfits": odd}


def sources_of(recipe: Recipe, leaves: tuple[Leaf, ...], methods: Methods) -> list[Plot]:
    """The recipe's sources of rows, as the places of a plan."""
    named = [leaf for leaf in leaves if leaf.source]
    return [
        Plot(step.name, leaf, methods.generators[step.name], step.options, 0, "")
        for step in recipe.generate
        for leaf in methods.generators[step.name].leaves(named, step.options)
        if leaf.source
    ]


def understood(plot: Plot) -> Understood:
    """Read a source to its end."""
    source = plot.leaf.source
    column = getattr(plot.options, "leaf", None) or ""
    found = Understood(source.name, source.revision, column, source.left_out) if source else Understood("", "")
    for raw, draft in _read(plot):
        found.rows += 1
        if isinstance(draft, Draft):
            found.kinds[draft.kind] += 1
            found.leaves[draft.leaf] += 1
        else:
            odd = found.misfits.setdefault(draft.reason, Misfits())
            odd.n += 1
            if len(odd.first) < PLACES_SHOWN:
                odd.first.append((raw.file, raw.line, draft.details))
    return found


def _read(plot: Plot) -> Iterator[tuple[Raw, Draft | Misfit]]:
    source, make = plot.leaf.source, plot.generator.at_once
    for raw in source.rows() if source and make else ():
        try:
            yield raw, make(Unit("", plot.method, plot.leaf, raw.number, 0, 0, raw), plot.options)  # type: ignore[misc]
        except Misfit as misfit:
            yield raw, misfit


def show(console: Screen, found: Understood) -> None:
    """Print what became of a source's rows."""
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in found.kinds.most_common()) or "none"
    revision = f" at {found.revision}" if found.revision else ""
    console.print(line((found.source, "bold"), f"{revision}: {found.rows:,} rows, {found.fit:,} fit: {kinds}"))
    leaves = [f"{leaf} ({n:,})" for leaf, n in found.leaves.most_common(LEAVES_SHOWN)]
    more = len(found.leaves) - len(leaves)
    if leaves:
        console.print(f"leaves: {', '.join(leaves)}{f' and {more:,} more' if more > 0 else ''}")
    if found.left_out:
        console.print(f"not read, for they hold no rows: {', '.join(found.left_out)}")
    if found.leaf and found.leaves.keys() == {UNASSIGNED}:
        console.print(f"no row says anything in the column {found.leaf}, which was to name its leaf", style="bold")
    for reason, odd in sorted(found.misfits.items(), key=lambda item: -item[1].n):
        console.print(f"{odd.n:,} do not fit: {reason}", style="bold")
        for _, _, what in odd.first:
            console.print(f"  {what}")


def first_rows(plot: Plot, n: int = SHOWN) -> list[Row]:
    """The first rows of a source as they are understood, or why they do not fit."""
    return [_told(raw, draft) for raw, draft in islice(_read(plot), n)]


def _told(raw: Raw, draft: Draft | Misfit) -> Row:
    where: Row = {"file": raw.file, "line": raw.line}
    if isinstance(draft, Misfit):
        return {**where, "misfit": draft.reason, "what": draft.details}
    content = draft.content
    turns = [{"role": turn.role, "text": turn.text} for turn in content.turns]
    responses = [
        {"text": one.text} | ({"reasoning": one.reasoning} if one.reasoning else {}) for one in content.responses
    ]
    told: Row = {"kind": draft.kind, "leaf": draft.leaf, "turns": turns, "responses": responses}
    more: Row = {"tools": list(content.tools), "label": content.label, "facts": dict(content.facts)}
    return {**where, **told, **{name: value for name, value in more.items() if value not in (None, [], {})}}


def show_rows(console: Screen, plot: Plot) -> None:
    """Print the first rows of a source as they are understood."""
    console.heading(f"{plot.leaf.path}, the first rows as they are understood")
    for row in first_rows(plot):
        where = f"{row['file']}, line {row['line']}: "
        if "misfit" in row:
            console.print(line((where, "dim"), ("does not fit", "bold"), f": {row['what']}"))
            continue
        console.print(line((where, "dim"), (str(row["kind"]), "bold"), f" on leaf {row['leaf']}"))
        for part in ("turns", "responses"):
            for one in row[part]:  # type: ignore[attr-defined]  # `_told` made it
                console.print(line((f"  {one.get('role', 'response'):9} ", "dim"), _short(one["text"])))
        for name in ("tools", "label", "facts"):
            if name in row:
                console.print(line((f"  {name:9} ", "dim"), _short(str(row[name]))))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}… ({len(text):,} characters)"
