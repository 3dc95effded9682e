"""The exact tree of a data set, built in a folder before anything is sent: what is here is what is published.

    data/<config>/<split>-00000-of-00001.parquet   the columns of the config's type and nothing else
    data/lineage/<split>-….parquet                 where each of those rows comes from, by `config`, `split` and `row`
    README.md  manifest.json                       written from the store, see card.py and manifest.py

Trainers guess a data set's type from its columns, so lineage is a config of its own. The same samples give the same
bytes, and memory holds one row group a file. Row groups are small, with a page index: the Hub's viewer reads a page of
100 rows and refuses groups that are large in memory.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from exporters.facts import Part
from exporters.files import as_table, schema_of
from exporters.forms import Columns, Row, Unfit, columns_of, row_of
from seedbed.conversation_json import content_of
from seedbed.errors import InputError
from seedbed.kinds import KINDS
from seedbed.store.selection import Traits

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetWriter

LINEAGE = "lineage"
DATA = "data"
TEXTS = ("question", "context", "answer", "rejected", "rest")
PLAIN = ("sample_id", "run_id", "leaf", "method", "kind", "model", "review")

_GROUP = 1000  # rows of a row group
_GROUP_BYTES = 32 << 20  # of text in a row group; the viewer refuses groups of about 300 MB in memory
_SHARD_BYTES = 500_000_000  # of a file
_PLAIN_CHATS: Mapping[str, Traits] = {}


def columns_of_config(config: str, traits: Traits) -> Columns:
    """The columns of any config of a tree whose rows have these traits."""
    if config != LINEAGE:
        return columns_of(config, traits)
    return {"config": "text", "row": "number", **dict.fromkeys(PLAIN, "text"), "scores": "scores"}


def schema_of_config(config: str, traits: Traits) -> pa.Schema:
    """These columns in Arrow, with the features of `datasets` in it."""
    return schema_of(columns_of_config(config, traits), loose=bool(traits.tools))


def config_of(kind: str, form: str) -> str:
    """Where rows of a kind go, if chats go as `form`: each kind that this is no form of has its usual one."""
    return form if form in KINDS[kind].forms else KINDS[kind].forms[0]


def write_data(
    samples: Iterable[pa.Table],
    form: str,
    folder: Path,
    shard_bytes: int = _SHARD_BYTES,
    traits: Mapping[str, Traits] = _PLAIN_CHATS,
) -> tuple[Part, ...]:
    """Write the samples under `data/` of a folder, chats as `form` and all other kinds as their usual one.

    Each table has the texts, `PLAIN`, `scores` and `split`; `traits` are those of all rows, by kind. Files come back by
    config (the lineage last), split and number; there are none if there is no sample.

    Raises:
        InputError: a row cannot be held by its form; the message names it.
    """
    splits: dict[tuple[str, str], _Split] = {}

    def of(config: str, split: str) -> _Split:
        if (config, split) not in splits:
            mine = Traits.of(one for kind, one in traits.items() if config_of(kind, form) == config)
            splits[config, split] = _Split(folder, config, split, shard_bytes, mine)
        return splits[config, split]

    for sample in _samples(samples):
        config = config_of(sample["kind"], form)
        rows, lineage = of(config, sample["split"]), of(LINEAGE, sample["split"])
        origin = {name: sample[name] for name in (*PLAIN, "scores")}
        try:
            row = row_of(content_of(sample), config)
        except Unfit as why:
            raise InputError(
                f"sample {sample['sample_id']} cannot be published as {config}: it has {why}. Drop it in a review, "
                "then `seedbed refilter`, and publish the new version"
            ) from why
        lineage.add({"config": config, "row": rows.rows, **origin}, 0)
        rows.add(row, sum(len(sample.get(name) or "") for name in TEXTS))
    parts = [part for split in splits.values() for part in split.close()]
    return tuple(
        sorted(parts, key=lambda part: (part.config == LINEAGE, part.config, part.split != "train", part.path))
    )


def _samples(tables: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
    for table in tables:
        for start in range(0, table.num_rows, _GROUP):
            yield from table.slice(start, _GROUP).to_pylist()


@contextmanager
def appearing(folder: Path, ours: Collection[str] = ()) -> Iterator[Path]:
    """A folder to fill under another name; it takes its name when the block ends well, on the disk and whole.

    A folder that has the name already gives way to it, if all that it holds is `ours`, by path.

    Raises:
        InputError: it holds anything else, which stays as it is; before the block and, should it come meanwhile, after.
    """
    _only(folder, ours)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    part.mkdir()
    try:
        yield part
        for path in sorted(part.rglob("*"), reverse=True):
            _to_disk(path)
        _to_disk(part)
        _only(folder, ours)
        if folder.exists():
            old = part.with_suffix(".old")
            folder.replace(old)
            part.replace(folder)
            shutil.rmtree(old)
        else:
            part.replace(folder)
        _to_disk(folder.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _only(folder: Path, ours: Collection[str]) -> None:
    """Refuse a folder with a file that nobody listed: whoever put it there would lose it."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir())
    strange = [name for path in found if (name := path.relative_to(folder).as_posix()) not in ours]
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise InputError(
            f"{folder} holds files that are not Seedbed's: {', '.join(strange[:3])}{more}. Building there would remove "
            "them: move them away, or name a new folder with --out"
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class _Shard:
    """A file that is being written; `held` counts the bytes of its rows in memory."""

    path: Path
    file: BinaryIO
    writer: ParquetWriter
    rows: int = 0
    held: int = 0


class _Split:
    """One split of one config: the file that is open, and the rows that wait for their row group to be full."""

    def __init__(self, folder: Path, config: str, split: str, shard_bytes: int, traits: Traits) -> None:
        self.config, self.split, self.rows = config, split, 0
        self._folder, self._shard_bytes = folder / DATA / config, shard_bytes
        self._folder.mkdir(parents=True, exist_ok=True)
        self._traits = traits
        self._columns, self._loose = columns_of_config(config, traits), bool(traits.tools)
        self._schema = schema_of(self._columns, self._loose)
        self._waiting: list[Row] = []
        self._bytes = 0
        self._done: list[_Shard] = []
        self._open: _Shard | None = None

    def add(self, row: Row, weight: int) -> None:
        """Take a row whose texts have `weight` characters."""
        self._waiting.append(row)
        self._bytes += weight
        self.rows += 1
        if len(self._waiting) >= _GROUP or self._bytes >= _GROUP_BYTES:
            self._write_group()

    def close(self) -> Iterator[Part]:
        """Write what waits, and give the files their names, which tell how many there are."""
        if self._waiting:
            self._write_group()
        self._close_shard()
        for number, shard in enumerate(self._done):
            name = f"{self.split}-{number:05d}-of-{len(self._done):05d}.parquet"
            path = shard.path.replace(self._folder / name)
            yield Part(
                path=f"{DATA}/{self.config}/{name}",
                config=self.config,
                split=self.split,
                rows=shard.rows,
                size=path.stat().st_size,
                held=shard.held,
                sha256=sha256_of(path),
                traits=self._traits,
            )

    def _write_group(self) -> None:
        shard = self._open = self._open or self._new_shard()
        table = as_table(self._waiting, self._columns, self._loose)
        shard.writer.write_table(table, row_group_size=table.num_rows)
        shard.rows += table.num_rows
        shard.held += table.nbytes
        self._waiting, self._bytes = [], 0
        if shard.file.tell() >= self._shard_bytes:
            self._close_shard()

    def _new_shard(self) -> _Shard:
        import pyarrow.parquet

        path = self._folder / f"{self.split}-{len(self._done)}.part"
        file = path.open("xb")
        writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd", write_page_index=True)
        return _Shard(path, file, writer)

    def _close_shard(self) -> None:
        if self._open:
            self._open.writer.close()
            self._open.file.close()
            self._done.append(self._open)
            self._open = None


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name != "posix":  # only there a folder has a handle
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
