"""The card of a data set (README.md), written from the facts of its version: nothing in it is filled in by hand.

Every text from outside goes through `plain`: a row, a reason or a leaf's name is shown, and does nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from exporters.facts import UNKNOWN, Decontamination, Facts, Judge, Leaf, Part, Teacher
from exporters.forms import FORMS
from exporters.front_matter import front_matter
from exporters.tree import LINEAGE

FILE = "README.md"
LEAVES_SHOWN = 300
TEXT_SHOWN = 160

WHERE_FROM = "where each row comes from: `config`, `row`, `sample_id`, leaf, method, model, scores, review"


def write_card(facts: Facts, parts: Sequence[Part]) -> str:
    """The whole card: YAML front matter, then the body."""
    return f"---\n{front_matter(facts, parts)}\n---\n\n" + "\n\n".join(_body(facts, parts)) + "\n"


_MARKUP = re.compile(r"([\\`*_\[\]|~$#!])")
_UNSEEN = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def plain(text: str) -> str:
    """A text from outside as Markdown and HTML show it: one line of at most `TEXT_SHOWN` characters, no markup."""
    kept = "".join(" " if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") else sign for sign in text)
    line = " ".join(_UNSEEN.sub("", kept).split())
    line = line if len(line) <= TEXT_SHOWN else f"{line[: TEXT_SHOWN - 1]}…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", line).replace("://", "\\://").replace("@", "&#64;")


def _word(name: str) -> str:
    """A name inside a code block, where nothing can be escaped."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)


def _body(facts: Facts, parts: Sequence[Part]) -> Iterator[str]:
    yield f"# {plain(facts.pretty_name)}"
    before = f", made from {plain(facts.parent)}" if facts.parent else ""
    yield (
        f"{_counted(facts)}: version {plain(facts.version)} of the recipe "
        f"{plain(facts.recipe_name)}{before}, frozen on {facts.created}. Grown, weeded and documented with Seedbed "
        f"{plain(facts.seedbed)}; everything below is written from its store."
    )
    yield from _contents(facts, parts)
    yield from _making(facts)
    yield from _teachers(facts.teachers)
    yield from _funnel(facts)
    yield from _coverage(facts.leaves)
    yield from _judges(facts)
    yield from _people(facts)
    yield from _decontamination(facts)
    yield from _limits(facts)
    yield from _reproduction(facts)


def _counted(facts: Facts) -> str:
    if not facts.found:
        return f"{facts.published:,} synthetic samples"
    others = facts.published - facts.found
    made = f", the {others:,} others are synthetic" if others else ""
    return f"{facts.published:,} samples, of which {facts.found:,} were taken in as they were{made}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _contents(facts: Facts, parts: Sequence[Part]) -> Iterator[str]:
    counted: dict[tuple[str, str], int] = {}
    for part in parts:
        counted[part.config, part.split] = counted.get((part.config, part.split), 0) + part.rows
    yield "## What is in it"
    held = (
        f"About {facts.held_out:.0%} is held out as `test`. What a row is about (its passage, else its request) "
        "decides on its side, so that it is the same in every version, and rows about the same stand together."
        if facts.held_out
        else "No row is held out."
    )
    rows = [(f"`{config}`", split, f"{n:,}", _what(config)) for (config, split), n in counted.items()]
    yield _table(("config", "split", "rows", "what"), rows)
    yield from _traits(parts)
    yield (
        f"Chats and pairs are in TRL's formats. {held} A row of `lineage` tells of row `row` (from 0) of config "
        "`config`, in the split of the same name."
    )
    yield from _languages(facts)
    load = f'rows = load_dataset("{facts.repo}", "{parts[0].config}")'
    yield f"```python\nfrom datasets import load_dataset\n\n{load}\n```"


def _what(config: str) -> str:
    return WHERE_FROM if config == LINEAGE else FORMS[config].what


def _traits(parts: Sequence[Part]) -> Iterator[str]:
    for config, traits in {part.config: part.traits for part in parts}.items():
        told = [f"{traits.turns:,} have several turns or a system prompt"] if traits.turns else []
        told += [f"{traits.tools:,} have tools, offered (`tools`) or called"] if traits.tools else []
        if told:
            yield f"Of the rows of `{config}`, {' and '.join(told)}."


def _languages(facts: Facts) -> Iterator[str]:
    if facts.measured:
        found = ", ".join(facts.languages) or "none could be told"
        yield f"Languages, as measured on {facts.measured:,} rows spread over it: {found}."


def _making(facts: Facts) -> Iterator[str]:
    yield "## How it was made"
    yield (
        f"Grown by {_steps(facts.recipe.get('generate'))}; then curated, in this order, by "
        f"{_steps(facts.recipe.get('curate'))}. The recipe with its prompts is in `manifest.json`."
    )
    if facts.thresholds:
        cuts = ", ".join(f"{plain(step)} at least {cut:g}" for step, cut in facts.thresholds.items())
        yield f"This version holds under other thresholds than the recipe's: {cuts}."


def _steps(steps: object) -> str:
    names = (
        [plain(str(step.get("name"))) for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    )
    return ", ".join(names) or "nothing"


def _teachers(teachers: Sequence[Teacher]) -> Iterator[str]:
    yield "## Models"
    rows = [
        (plain(one.name), plain(one.revision) or "-", plain(one.licence), ", ".join(one.roles), f"{one.rows:,}")
        for one in teachers
    ]
    yield _table(("model", "revision", "licence", "used as", "rows it answered"), rows)
    yield "The licence of the data set stands above; what a model's licence asks of its words is for you to look up."


def _funnel(facts: Facts) -> Iterator[str]:
    yield "## What was left out"
    gone = facts.candidates - facts.published
    yield f"{facts.candidates:,} made = {facts.published:,} published + {gone:,} left out, and for these reasons:"
    rows = [
        (plain(one.step), f"{one.judged:,}" if one.judged else "-", f"{one.rows:,}", plain(one.reason))
        for one in facts.funnel
    ]
    yield _table(("step", "rows it saw", "left out", "reason"), rows)


def _coverage(leaves: Sequence[Leaf]) -> Iterator[str]:
    yield "## Coverage"
    short = [(leaf, leaf.target - leaf.kept) for leaf in leaves if leaf.target is not None and leaf.target > leaf.kept]
    rows = [
        (
            *(plain(leaf.name), plain(leaf.method), "-" if leaf.target is None else leaf.target, leaf.made, leaf.kept),
            *(leaf.dropped, leaf.failed, max(0, (leaf.target or 0) - leaf.kept), plain(leaf.main_reason)),
        )
        for leaf in leaves[:LEAVES_SHOWN]
    ]
    head = ("leaf", "method", "wanted", "made", "kept", "dropped", "failed", "short", "main reason against")
    yield _table(head, rows)
    if len(leaves) > LEAVES_SHOWN:
        yield f"And {len(leaves) - LEAVES_SHOWN:,} leaves more; config `lineage` has the leaf of every row."
    if short:
        yield f"{len(short):,} of {len(leaves):,} leaves lack {sum(n for _, n in short):,} rows of what was wanted."


def _judges(facts: Facts) -> Iterator[str]:
    yield "## Judges"
    if not facts.judges:
        yield "No model judged these rows."
        return
    rows = [
        (
            *(plain(one.curator), plain(one.model), f"{one.judged:,}"),
            _agreement(one),
            _number(one.kappa),
            f"{one.flip_rate:.0%} of {one.compared:,}" if one.flip_rate is not None else "-",
            _number(one.length_bias),
        )
        for one in facts.judges
    ]
    head = ("step", "model", "judged", "agrees with people", "kappa", "flips on swap", "length bias")
    yield _table(head, rows)
    yield (
        "Over everything that these judges judged in the store that this version is from. Agreement is over samples "
        "that people came upon at random or leaf by leaf; where it says `not drawn`, they were chosen otherwise, such "
        "as for being doubtful, and it tells nothing of the others. Kappa is Cohen's, over all that were compared: "
        "agreement beyond chance. Flips on swap: verdicts that changed when the two answers changed places. Length "
        "bias: correlation of a score (or preference) with the length of the answer."
    )


def _agreement(one: Judge) -> str:
    if one.drawn_agreement is not None:
        return f"{one.drawn_agreement:.0%} of {one.drawn_n:,}"
    return f"{one.agreement:.0%} of {one.n:,}, not drawn" if one.agreement is not None else "not compared with people"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _people(facts: Facts) -> Iterator[str]:
    yield "## People"
    people = facts.people
    if not people.reviewed and not people.dropped:
        yield "Nobody has reviewed these rows."
        return
    share = people.reviewed / facts.published if facts.published else 0
    reviewers = f"{people.reviewers} reviewer{'' if people.reviewers == 1 else 's'}"
    yield (
        f"{people.reviewed:,} of {facts.published:,} published rows ({share:.1%}) were reviewed, by {reviewers}: "
        f"{people.edited:,} edited, {people.turned:,} pairs turned round. People dropped {people.dropped:,} more rows."
    )


def _decontamination(facts: Facts) -> Iterator[str]:
    yield "## Decontamination"
    if not facts.decontamination:
        yield "Not checked: these rows were compared with no benchmark."
    for one in facts.decontamination:
        yield _one_decontamination(one, facts.published)


def _one_decontamination(one: Decontamination, published: int) -> str:
    files = ", ".join(map(plain, one.files)) or "no file"
    told = (
        f"{plain(one.step)} compared {one.checked:,} rows with {files}, looking for {one.words} words in a row in "
        f"common; {one.published:,} of {published:,} published rows passed it."
    )
    if one.found:
        told += " Found and left out: " + ", ".join(f"{plain(reason)} ({n:,})" for reason, n in one.found) + "."
    else:
        told += " It found none."
    if one.published < published:
        told += f" {published - one.published:,} published rows were not checked."
    if one.changed_after:
        told += f" {one.changed_after:,} published rows were changed after the check, by people or by a revision."
    return told + " A text that says the same in other words is not found this way."


def _limits(facts: Facts) -> Iterator[str]:
    yield "## Limits"
    limits = list[str]()
    if facts.found < facts.published:
        limits.append("The texts are a model's: they may be wrong, biased or alike, also where a judge kept them.")
    if facts.found:
        limits.append(
            f"Who wrote the {facts.found:,} rows that were taken in is not recorded, nor under which licence."
        )
    if facts.judge_wrote:
        limits.append("A model judged what it had written itself; judges favour their own words.")
    if facts.judges and not any(one.n for one in facts.judges):
        limits.append("No judge was compared with people: how far to trust their verdicts is not known.")
    for one in facts.teachers:
        if one.embedded:
            limits.append(
                f"{plain(one.name)} is Seedbed's embedded model. It is too small to make or judge good data: "
                "this data set shows that everything works, and is no training data."
            )
    unknown = [plain(one.name) for one in facts.teachers if one.licence == UNKNOWN]
    if unknown:
        limits.append(f"The licence of {', '.join(unknown)} is not recorded: look it up before you use the data.")
    limits.append("Licences of the taxonomy's examples, documents and request files are not recorded.")
    yield "\n".join(f"- {limit}" for limit in limits)


def _reproduction(facts: Facts) -> Iterator[str]:
    yield "## How to reproduce it"
    cuts = "".join(f" {_word(step)}={cut:g}" for step, cut in facts.thresholds.items())
    lines = [
        "seedbed run recipe.yaml          # manifest.json has the recipe; name servers for its models",
        *([f"seedbed refilter {_word(facts.recipe_name)}{cuts}"] if facts.parent or cuts else []),
        f"seedbed push {_word(facts.version)} {facts.repo}",
    ]
    yield "```bash\n" + "\n".join(lines) + "\n```"
    yield (
        f"Seedbed {plain(facts.seedbed)}, run {', '.join(map(plain, facts.run_ids))}. From the store of this run the "
        "same bytes come out again, without a model call. Elsewhere the same recipe asks the same questions, but a "
        "model may answer otherwise; reviews by people cannot be run again. `manifest.json` has the SHA-256 of every "
        "file."
    )
