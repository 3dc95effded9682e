"""A built tree looked at as a stranger would: loaded with `datasets`, read by TRL, its card parsed, its texts searched.

The idea: whatever a trainer or the Hub's viewer would stumble over is found here, before anything is sent. Every row is
counted, compared and searched for secrets; TRL's functions, which are slow, get some hundred rows of each split.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from exporters import card, manifest
from exporters.facts import Part
from exporters.forms import FORMS
from exporters.tree import LINEAGE, schema_of_config
from exporters.trl_rows import read_by_trl
from seedbed.credentials import ESCAPE, SECRET_TEXT, secrets_in, spellings
from seedbed.nested import texts_in
from seedbed.reasoning_marks import REASONING, has_reasoning_mark

if TYPE_CHECKING:
    from datasets import Dataset

TRL_ROWS = 256  # of each split, spread over it
_SHOWN = 5
_BATCH = 1000
Splits = Mapping[tuple[str, str], "Dataset"]  # by config and split


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found: `problems` must be mended before a push, `notes` tell what was looked at or could not be."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]


def inspect(folder: Path, parts: Sequence[Part], known_secrets: Sequence[str] = ()) -> Inspection:
    """Look at a tree. `parts` is what was written from the store; `known_secrets` must be nowhere in it."""
    from datasets.exceptions import DatasetsError

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".loaded-") as cache, _no_progress_bars():
        try:
            loaded = _load(folder, parts, Path(cache))
        except (DatasetsError, ValueError) as error:
            return Inspection((f"datasets does not load the tree: {type(error).__name__}: {error}",), ())
        problems = [*_card_problems(folder, parts), *_counts(loaded, parts)]
        for name in (card.FILE, manifest.FILE):
            if secrets_in((folder / name).read_text(encoding="utf-8"), known_secrets):
                problems.append(f"{name} holds what looks like a secret: find where it comes from in the recipe")
        for (config, split), rows in loaded.items():
            secret = [row for row, text in _suspects(rows, known_secrets) if secrets_in(text, known_secrets)]
            problems += _told(loaded, (config, split), secret, "hold what looks like a secret: drop or edit them")
            if config != LINEAGE:
                useless = list(_unusable(rows))
                problems += _told(loaded, (config, split), useless, "have an empty text, or two equal answers")
                marked = list(_reasoning(rows))
                what = "hold marks of a model's reasoning, such as <think>: drop or edit them"
                problems += _told(loaded, (config, split), marked, what)
        notes = [f"loaded with datasets: {len(loaded)} splits, {sum(part.rows for part in parts):,} rows"]
        trained = {key: rows for key, rows in loaded.items() if key[0] != LINEAGE}
        read = {f"{config}/{split}": _spread(rows) for (config, split), rows in trained.items() if _of_trl(config)}
        found, note = read_by_trl(read)
    return Inspection((*problems, *found), (*notes, note))


def _load(folder: Path, parts: Sequence[Part], cache: Path) -> Splits:
    """Every config and split, through the card's own front matter, as a stranger would load them."""
    from datasets import load_dataset

    found = {}
    for config in dict.fromkeys(part.config for part in parts):
        for split, rows in load_dataset(str(folder), config, cache_dir=str(cache)).items():
            found[config, str(split)] = rows
    return found


def _counts(loaded: Splits, parts: Sequence[Part]) -> Iterator[str]:
    from datasets import Features

    traits = {part.config: part.traits for part in parts}
    for config, split in sorted({(part.config, part.split) for part in parts} | loaded.keys()):
        wanted = sum(part.rows for part in parts if (part.config, part.split) == (config, split))
        rows = loaded.get((config, split))
        if rows is None or rows.num_rows != wanted:
            yield f"{config}/{split}: {rows.num_rows if rows else 'no'} rows were loaded, the store has {wanted}"
        elif rows.features != Features.from_arrow_schema(schema_of_config(config, traits[config])):
            yield f"{config}/{split}: the columns were loaded as {rows.features}"


def _card_problems(folder: Path, parts: Sequence[Part]) -> Iterator[str]:
    """The front matter, read with the Hub's own parser."""
    from huggingface_hub import DatasetCard

    data = DatasetCard((folder / card.FILE).read_text(encoding="utf-8")).data
    told = data.to_dict()  # type: ignore[no-untyped-call]  # untyped there
    listed = [path for config in told.get("configs", []) for file in config["data_files"] for path in file["path"]]
    if sorted(listed) != sorted(part.path for part in parts):
        yield f"{card.FILE} lists other files than were written"
    if not told.get("license"):
        yield (
            "no license is given: write `license:`, such as apache-2.0 or cc-by-4.0, in a file of options and name it "
            "with --options (recipes/publish.yaml is one to start from)"
        )


def _suspects(rows: Dataset, known: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Row number and text of what may hold a secret; a search in Arrow rules nearly everything out."""
    start = 0
    for batch in rows.data.table.to_batches(max_chunksize=_BATCH):
        if any(_suspicious(texts, known) for column in batch.columns for texts in _strings(column)):
            for at, row in enumerate(batch.to_pylist()):
                yield from ((start + at, text) for text in texts_in(row))
        start += batch.num_rows


def _suspicious(texts: pa.Array, known: Sequence[str]) -> bool:
    found = [
        pc.match_substring_regex(texts, pattern) for pattern in (SECRET_TEXT.pattern, *([ESCAPE] if known else []))
    ]
    found += [pc.match_substring(texts, spelled) for key in known for spelled in spellings(key)]
    return any(pc.any(hits).as_py() for hits in found)


def _strings(column: pa.Array) -> Iterator[pa.Array]:
    """The texts of a column, however deep in lists and structs."""
    if isinstance(column.type, pa.BaseExtensionType):  # JSON
        yield column.storage
    elif pa.types.is_string(column.type):
        yield column
    elif pa.types.is_list(column.type):
        yield from _strings(column.flatten())
    elif pa.types.is_struct(column.type):
        for part in column.flatten():
            yield from _strings(part)


def _of_trl(config: str) -> bool:
    return FORMS[config].conversational


def _unusable(rows: Dataset) -> Iterator[int]:
    """Rows that TRL would train on without a word: an empty text, or a pair of the same answer."""
    start = 0
    for batch in rows.data.table.to_batches(max_chunksize=_BATCH):
        said = dict(_said(batch))
        for at, texts in said.values():
            empty = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
            yield from (start + n for n in at.filter(empty).to_pylist())
        if "chosen" in said:  # one turn each, so that the texts stand row by row
            same = pc.indices_nonzero(pc.equal(said["chosen"][1], said["rejected"][1]))
            yield from (start + n for n in same.to_pylist())
        start += batch.num_rows


def _reasoning(rows: Dataset) -> Iterator[int]:
    """Rows with marks of a model's reasoning: a trainer would teach a model to write them."""
    start = 0
    for batch in rows.data.table.to_batches(max_chunksize=_BATCH):
        for _, (at, texts) in _said(batch):
            hits = pc.indices_nonzero(pc.match_substring_regex(texts, REASONING.pattern, ignore_case=True))
            found = zip(at.take(hits).to_pylist(), texts.take(hits).to_pylist(), strict=True)
            yield from (start + n for n, text in found if has_reasoning_mark(text))
        start += batch.num_rows


def _said(batch: pa.RecordBatch) -> Iterator[tuple[str, tuple[pa.Array, pa.Array]]]:
    """By column that holds texts or turns: the row of each of them, and what it says; a call of a tool says itself."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_string(column.type):
            yield name, (pa.array(range(batch.num_rows)), column)
        elif pa.types.is_list(column.type) and name != "tools":
            turns = pc.list_flatten(column)
            loose = isinstance(turns.type, pa.BaseExtensionType)
            texts = pa.array(map(_text, turns.storage.to_pylist())) if loose else pc.struct_field(turns, "content")
            yield name, (pc.list_parent_indices(column), texts)


def _text(turn: str) -> str:
    told = orjson.loads(turn)
    return str(told["content"] or told.get("tool_calls") or "")


def _told(loaded: Splits, where: tuple[str, str], rows: Sequence[int], what: str) -> Iterator[str]:
    """The samples at these rows of a split, by their ids."""
    if not rows:
        return
    config, split = where
    wanted = sorted(set(rows))
    lineage = loaded[LINEAGE, split].data.table.combine_chunks()
    if config == LINEAGE:
        ids = lineage["sample_id"].take(wanted)
    else:
        mine = pc.and_(pc.equal(lineage["config"], config), pc.is_in(lineage["row"], pa.array(wanted, pa.int64())))
        ids = lineage["sample_id"].filter(mine)
    shown = ", ".join(ids.to_pylist()[:_SHOWN])
    more = f" and {len(wanted) - _SHOWN} more" if len(wanted) > _SHOWN else ""
    yield f"{config}/{split}: {len(wanted)} samples {what}: {shown}{more}"


def _spread(rows: Dataset) -> list[dict[str, object]]:
    found: list[dict[str, object]] = rows.select(range(0, rows.num_rows, -(-rows.num_rows // TRL_ROWS))).to_list()
    return found


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
