"""The card of a data set (README.md), written from the facts of its version: nothing in it is filled in by hand.

The front matter names every file of every split, so that no other file of the repository is ever read as data. In the
body every text from outside goes through `plain`: a row, a reason or a leaf's name is shown, and does nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from exporters.facts import UNKNOWN, Decontamination, Facts, Leaf, Part, Teacher
from exporters.tree import LINEAGE, schema_of_config

if TYPE_CHECKING:
    from datasets import DatasetInfo

FILE = "README.md"
SPLITS = ("train", "test")
LEAVES_SHOWN = 300
TEXT_SHOWN = 160

WHAT = {
    "messages": "chats of one turn: `messages`",
    "prompt-completion": "chats of one turn, cut in two: `prompt`, `completion`",
    "preference": "pairs of answers to one prompt: `prompt`, `chosen`, `rejected`",
    LINEAGE: "where each row comes from: `config`, `row`, `sample_id`, leaf, method, model, scores, review",
}
TAGS = {"messages": ("sft",), "prompt-completion": ("sft",), "preference": ("preference", "dpo", "rlhf")}
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")


def write_card(facts: Facts, parts: Sequence[Part]) -> str:
    """The whole card: YAML front matter, then the body."""
    return f"---\n{front_matter(facts, parts)}\n---\n\n" + "\n\n".join(_body(facts, parts)) + "\n"


def front_matter(facts: Facts, parts: Sequence[Part]) -> str:
    """What the Hub and `datasets` read, as YAML; keys after the Hub's specification of data set cards."""
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    configs = list(dict.fromkeys(part.config for part in parts))
    tasks = ["text-generation", *(["question-answering"] if "knowledge" in facts.kinds else [])]
    card = DatasetCardData(
        license=facts.license or None,
        language=list(facts.languages),
        pretty_name=facts.pretty_name,
        task_categories=tasks,
        size_categories=[SIZES[min(len(SIZES) - 1, max(0, len(str(facts.published)) - 3))]],
        tags=["synthetic", "seedbed", *dict.fromkeys(tag for name in configs for tag in TAGS.get(name, ()))],
        annotations_creators=["machine-generated"],
        source_datasets=["original"],
        configs=[_config(name, parts, default=name == configs[0]) for name in configs],
    )
    DatasetInfosDict({name: _info(name, parts) for name in configs}).to_dataset_card_data(card)
    return str(card.to_yaml())


def _info(name: str, parts: Sequence[Part]) -> DatasetInfo:
    from datasets import DatasetInfo, Features
    from datasets.splits import SplitDict, SplitInfo

    mine = [part for part in parts if part.config == name]
    splits = SplitDict()
    for split in SPLITS:
        found = [part for part in mine if part.split == split]
        if found:
            splits[split] = SplitInfo(split, sum(part.held for part in found), sum(part.rows for part in found))
    return DatasetInfo(
        features=Features.from_arrow_schema(schema_of_config(name)),
        splits=splits,
        download_size=sum(part.size for part in mine),
        dataset_size=sum(part.held for part in mine),
    )


def _config(name: str, parts: Sequence[Part], default: bool) -> dict[str, object]:
    files = [
        {"split": split, "path": paths}
        for split in SPLITS
        if (paths := [part.path for part in parts if (part.config, part.split) == (name, split)])
    ]
    return {"config_name": name, "data_files": files, **({"default": True} if default else {})}


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
        f"{facts.published:,} synthetic samples: version {plain(facts.version)} of the recipe "
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


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _contents(facts: Facts, parts: Sequence[Part]) -> Iterator[str]:
    counted: dict[tuple[str, str], int] = {}
    for part in parts:
        counted[part.config, part.split] = counted.get((part.config, part.split), 0) + part.rows
    yield "## What is in it"
    held = (
        f"{facts.held_out:.0%} of the prompts are held out as `test`, spread over the leaves."
        if facts.held_out
        else "No prompt is held out."
    )
    rows = [(f"`{config}`", split, f"{n:,}", WHAT[config]) for (config, split), n in counted.items()]
    yield _table(("config", "split", "rows", "what"), rows)
    yield (
        f"The formats are those of TRL. {held} Rows with the same prompt are in the same split. A row of `lineage` "
        "tells of row `row` (from 0) of config `config`, in the split of the same name."
    )
    load = f'rows = load_dataset("{facts.repo}", "{parts[0].config}")'
    yield f"```python\nfrom datasets import load_dataset\n\n{load}\n```"


def _making(facts: Facts) -> Iterator[str]:
    yield "## How it was made"
    yield (
        f"Generated by {_steps(facts.recipe.get('generate'))}; then curated, in this order, by "
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
            f"{one.agreement:.0%} of {one.n:,}" if one.agreement is not None else "not compared with people",
            _number(one.kappa),
            f"{one.flip_rate:.0%} of {one.compared:,}" if one.flip_rate is not None else "-",
            _number(one.length_bias),
        )
        for one in facts.judges
    ]
    head = ("step", "model", "judged", "agrees with people", "kappa", "flips on swap", "length bias")
    yield _table(head, rows)
    yield (
        "Over everything that these judges judged in the store that this version is from. Kappa is Cohen's: agreement "
        "beyond chance. Flips on swap: verdicts that changed when the two answers changed places. Length bias: "
        "correlation of a score (or preference) with the length of the answer."
    )


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
    limits = ["The texts are a model's: they may be wrong, biased or alike, also where a judge kept them."]
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
