"""Kept samples as files: in a form of `exporters.forms`, for trainers and spreadsheets, each row with where it is from.

Beside the form's columns every row has its id, leaf, kind, method, model, side of the split, parents and scores, unless
a file is to be bare. Held-out rows go to a file of their own. A file appears whole or not at all, and the same rows
give the same bytes.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import pyarrow as pa

from exporters.files import Csv, JsonLines, Parquet, Writer
from exporters.forms import FORMS, Columns, Row, Unfit, columns_of, row_of
from seedbed.conversation_json import content_of
from seedbed.credentials import holds_key
from seedbed.kinds import KINDS
from seedbed.store.selection import Traits

Sides = Literal["apart", "train", "test", "all"]
SIDES: tuple[str, ...] = get_args(Sides)
WRITERS: Mapping[str, type[JsonLines | Parquet | Csv]] = {".jsonl": JsonLines, ".parquet": Parquet, ".csv": Csv}
LINEAGE: Columns = {
    **dict.fromkeys(("id", "leaf", "kind", "method", "model", "split", "source"), "text"),
    "scores": "scores",
}
_SHOWN = 5
_TEXTS = ("question", "answer", "context", "rejected", "rest")
_ORIGIN = {"id": "sample_id", "leaf": "leaf", "kind": "kind", "method": "method", "model": "model", "split": "split"}
_PLAIN = Traits()
_ROWS = 1000  # as Python objects at a time


class NoRows(ValueError):
    """There was no row at all."""


class NoneHeldOut(ValueError):
    """Held-out rows were asked for, and all are to train on."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How rows are written. `traits` are those of all that might be: they say which columns a file needs.

    `bare` leaves out where rows are from; `passages`, if false, the texts that questions are about; `reasoning` puts a
    model's reasoning beside its words.
    """

    form: str = "messages"
    bare: bool = False
    reasoning: bool = False
    passages: bool = True
    traits: Traits = _PLAIN

    @property
    def columns(self) -> Columns:
        """The file's columns, in order."""
        return {**({} if self.bare else LINEAGE), **columns_of(self.form, self.traits)}

    @property
    def loose(self) -> bool:
        """Whether a message may have more than role and content."""
        return bool(self.traits.tools) or self.reasoning


@dataclass(slots=True)
class Written:
    """What came of the rows: how many are in the file and in the one of held-out rows, and which are in neither.

    `passed_over` are those to train on where held-out ones were asked for. `left_out` counts by reason those that the
    form cannot hold, `others` by kind those of kinds that it is not for.
    """

    rows: int = 0
    held_out: int = 0
    passed_over: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)

    def told(self) -> list[str]:
        """What is not in the files, and why."""
        by_form = Counter[str]()
        for kind, n in self.others.items():
            by_form[KINDS[kind].forms[0]] += n
        reasons = [f"{n:,} x {reason}" for reason, n in self.left_out.most_common()]
        left = (
            [f"{self.left_out.total():,} left out that the form cannot hold: {', '.join(reasons)}"] if reasons else []
        )
        return [*left, *(f"{n:,} others with --form {form}" for form, n in by_form.most_common())]


def forms_of(kinds: Iterable[str], suffix: str) -> list[str]:
    """The forms that some row of these kinds fits and that such a file can hold, the usual one first."""
    fitting = dict.fromkeys(form for kind in kinds for form in KINDS[kind].forms)
    return [form for form in fitting if suffix != ".csv" or FORMS[form].tabular]


def beside(path: Path) -> Path:
    """Where the held-out rows go that are not to be in a file: `rows.test.jsonl` beside `rows.jsonl`."""
    return path.with_name(f"{path.stem}.test{path.suffix}")


def export(batches: Iterable[pa.Table], path: Path, manner: Manner, sides: Sides = "all") -> Written:
    """Write the samples that fit the form to `path`, and with `apart` the held-out ones beside it; replace both whole.

    The suffix chooses the file format. Each batch has the columns of `version_batches`, and `scores` unless `bare`.

    Raises:
        ValueError: the form or the suffix is unknown, they do not go together, or there is no row to write.
        OSError: a file cannot be written; what was there before still is.
    """
    _check(path, manner)
    written, parts = Written(), list[_Part]()
    try:
        files = {"": _Part(path, manner)}
        parts.append(files[""])
        for row, split in _rows(batches, manner, written):
            side = "test" if split == "test" and sides == "apart" else ""
            if sides in ("train", "test") and split != sides:
                written.held_out += split == "test"
                written.passed_over += split != "test"
                continue
            if side not in files:
                files[side] = _Part(beside(path), manner)
                parts.append(files[side])
            files[side].add(row)
        written.rows = files[""].rows
        written.held_out += files["test"].rows if "test" in files else 0
        if not written.rows:
            raise _nothing(written, manner.form)
        for part in parts:
            part.close()
        for part in parts:
            part.appear()
    finally:
        for part in parts:
            part.vanish()
    return written


def _check(path: Path, manner: Manner) -> None:
    if manner.form not in FORMS:
        raise ValueError(f"unknown form {manner.form!r}: use {_either(FORMS)}")
    if path.suffix not in WRITERS:
        raise ValueError(f"cannot write {path.name!r}: the name must end in {_either(WRITERS)}")
    if path.suffix == ".csv" and not FORMS[manner.form].tabular:
        tabular = [name for name, form in FORMS.items() if form.tabular]
        raise ValueError(
            f"a spreadsheet cannot hold {manner.form}: use {_either(tabular)}, or write .jsonl or .parquet"
        )
    if manner.reasoning and not FORMS[manner.form].conversational:
        raise ValueError(f"{manner.form} has no place for reasoning: leave out --reasoning, or use --form messages")


def _either(names: Collection[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _nothing(written: Written, form: str) -> ValueError:
    if n := written.held_out:
        return ValueError(f"nothing to export: all {n:,} rows are held out. Lower --held-out, or use --split all")
    if written.passed_over:
        return NoneHeldOut("nothing to export: no row is held out")
    if written.left_out or written.others:
        return ValueError(f"nothing to export as {form}: {'; '.join(written.told())}")
    return NoRows("nothing to export: no sample is kept; `seedbed status` shows why they were dropped")


class _Part:
    """A file under another name; it takes its own when all of it is on the disk."""

    def __init__(self, path: Path, manner: Manner) -> None:
        self.rows = 0
        self._path, self._part = path, path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        self._file: BinaryIO = self._part.open("xb")
        self._writer: Writer = WRITERS[path.suffix](self._file, manner.columns, manner.loose)

    def add(self, row: Row) -> None:
        self._writer.add(row)
        self.rows += 1

    def close(self) -> None:
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def appear(self) -> None:
        self._part.replace(self._path)

    def vanish(self) -> None:
        """Leave nothing behind where it did not appear."""
        for shut in (self._writer.close, self._file.close):
            with suppress(OSError, ValueError):  # a full disk, or shut already
                shut()
        self._part.unlink(missing_ok=True)


def without_keys(batches: Iterable[pa.Table], keys: Sequence[str]) -> Iterator[pa.Table]:
    """The same batches, none with a key in use. Raises ValueError at the first that has one, naming the samples."""
    for batch in batches:
        texts = [name for name in _TEXTS if name in batch.column_names]
        rows = batch.select(["sample_id", *texts]).to_pylist() if keys else []
        if found := [row["sample_id"] for row in rows if _holds_any(row, keys)]:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise ValueError(
                f"a key that is in use stands in the samples {', '.join(found[:_SHOWN])}{more}. Drop or edit them in "
                "`seedbed review`, then `seedbed refilter`, and export the new version"
            )
        yield batch


def _holds_any(row: Mapping[str, str | None], keys: Sequence[str]) -> bool:
    text = "\n".join(row.get(name) or "" for name in _TEXTS).encode()
    return any(holds_key(text, key) for key in keys)


def _rows(batches: Iterable[pa.Table], manner: Manner, written: Written) -> Iterator[tuple[Row, str]]:
    """The rows that the form can hold, each with its side of the split; the others are counted."""
    for sample in _samples(batches, manner.bare):
        if manner.form not in KINDS[sample["kind"]].forms:
            written.others[sample["kind"]] += 1
            continue
        content = content_of(sample)
        try:
            row = row_of(content if manner.passages else content.without_passages(), manner.form, manner.reasoning)
        except Unfit as why:
            written.left_out[str(why)] += 1
            continue
        yield (row if manner.bare else {**_lineage(sample), **row}), sample["split"]


def _samples(batches: Iterable[pa.Table], bare: bool) -> Iterator[dict[str, Any]]:
    wanted = (*_TEXTS, "kind", "split", *(() if bare else (*_ORIGIN.values(), "parents", "scores")))
    for batch in _ahead(batches):
        found = batch.select([name for name in dict.fromkeys(wanted) if name in batch.column_names])
        for start in range(0, found.num_rows, _ROWS):
            yield from found.slice(start, _ROWS).to_pylist()


def _ahead(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same, each read by a thread while the one before it is written."""
    reading = iter(batches)
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, reading, None)
        while (batch := following.result()) is not None:
            following = thread.submit(next, reading, None)
            yield batch


def _lineage(sample: Mapping[str, Any]) -> Row:
    origin = {name: sample[column] for name, column in _ORIGIN.items()}
    return {**origin, "source": ", ".join(sample["parents"] or ()), "scores": sample["scores"]}
