"""The front matter of a card, which the Hub and `datasets` read.

It names every file of every split, so that no other file of the repository is ever read as data. Keys: the Hub's
specification of data set cards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from exporters.facts import Facts, Part
from exporters.forms import FORMS
from exporters.tree import LINEAGE, schema_of_config

if TYPE_CHECKING:
    from datasets import DatasetInfo

SPLITS = ("train", "test")
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")


def front_matter(facts: Facts, parts: Sequence[Part]) -> str:
    """It as YAML."""
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    configs = list(dict.fromkeys(part.config for part in parts))
    made = facts.found < facts.published  # by models, at least some of it
    tasks = ["text-generation", *(["question-answering"] if "knowledge" in facts.kinds else [])]
    card = DatasetCardData(
        license=facts.license or None,
        language=list(facts.languages) or None,
        pretty_name=facts.pretty_name,
        task_categories=tasks,
        size_categories=[SIZES[min(len(SIZES) - 1, max(0, len(str(facts.published)) - 3))]],
        tags=[*(["synthetic"] if made else []), "seedbed", *_tags(configs)],
        annotations_creators=[*(["machine-generated"] if made else []), *(["found"] if facts.found else [])],
        source_datasets=["original"] if made else None,
        configs=[_config(name, parts, default=name == configs[0]) for name in configs],
    )
    DatasetInfosDict({name: _info(name, parts) for name in configs}).to_dataset_card_data(card)
    return str(card.to_yaml())


def _tags(configs: Iterable[str]) -> Iterator[str]:
    yield from dict.fromkeys(tag for name in configs if name != LINEAGE for tag in FORMS[name].tags)


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
        features=Features.from_arrow_schema(schema_of_config(name, mine[0].traits)),
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
