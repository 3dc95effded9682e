"""The rows of one file, lazily: JSON lines, JSON, CSV, Parquet. Types are those that stand there, none is guessed.

What cannot be read is a row with a problem, and the reading goes on behind it as far as it can. No file is held in
memory as a whole but one of JSON, which is one value.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO, cast

import orjson

from seedbed.sources.raw import MOST_BYTES, MOST_ROW, Found, Raw, Row, Rows
from seedbed.sources.values import Foreign, as_json, is_foreign
from seedbed.yamlfile import kind

if TYPE_CHECKING:
    import pyarrow as pa

_TOO_LONG = f"it is longer than {MOST_ROW >> 20} MiB"
_TOO_DEEP = "its values are nested without end"
_BOM = b"\xef\xbb\xbf"
_BATCH = 1000  # rows of Parquet in memory
CUT_OFF = (EOFError, zlib.error, gzip.BadGzipFile)
_SPACE = re.compile(r"[ \t\r\n]*")
_SCAN = json.JSONDecoder(parse_float=str, parse_int=str)  # says where a value ends; Python reads no 5,000 digits


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: its name, whose ending says how, and how it is opened, wherever it is.

    `lazily`: lines of JSON are left as text, for `parsed` to read elsewhere.
    """

    name: str
    open: Callable[[], BinaryIO]
    lazily: bool = False


def read_file(file: File, start: int = 0) -> Rows:
    """The rows of a file, from number `start` on. Raises OSError where the file cannot be read at all."""
    return READERS[ending(file.name)](file, start)


def ending(name: str) -> str:
    """The ending that says how a file is read: `.csv`, also of `a.csv.gz`; "" where none is known."""
    name = name.lower()
    bare = name.removesuffix(".gz")
    found = PurePath(bare).suffix
    return found if found in READERS and (bare == name or found != ".parquet") else ""


@contextmanager
def opened(file: File) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where it is packed."""
    with file.open() as raw:
        yield cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if file.name.lower().endswith(".gz") else raw


def count_rows(file: File) -> int:
    """How many rows a file has, those that cannot be read included. Raises OSError."""
    with opened(file) as content:
        if ending(file.name) == ".parquet":
            from pyarrow import parquet

            return int(parquet.read_metadata(content).num_rows)
        if ending(file.name) == ".jsonl":
            return sum(1 for _ in _lines(content))
    return sum(1 for _ in read_file(file))


def header_of(file: File) -> Sequence[str]:
    """The first row of a CSV file, none where it is empty."""
    with opened(file) as content:
        return next(_Cells(content), (0, [], ""))[1]


def _json_lines(file: File, start: int) -> Rows:
    with opened(file) as content:
        for line, text, problem in islice(_lines(content), start, None):
            if problem:
                yield Found(line, problem=problem)
            else:
                yield Found(line, text=text) if file.lazily else _parsed(line, text)


def _parsed(line: int, text: bytes) -> Found:
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Found(line, problem=_why(error, text))
    if type(row) is not dict:
        return Found(line, problem=f"it is {kind(row)}, not an object with a value for each column")
    return Found(line, row, "", text)


def parsed(raw: Raw) -> Raw:
    """A row that was left as text, read."""
    if raw.row or raw.problem or not raw.text:
        return raw
    return Raw(raw.number, raw.file, *_parsed(raw.line, raw.text))


def _why(error: json.JSONDecodeError, text: bytes) -> str:
    try:
        text.decode()
    except UnicodeDecodeError as broken:
        return f"it is not UTF-8: byte 0x{text[broken.start]:02x} at byte {broken.start + 1} of the line"
    if "depth" in error.msg:
        return _TOO_DEEP
    return f"it is no JSON: {error.msg}, at column {error.colno}"


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes, str]]:
    """The lines that are not blank, with their numbers; or the problem with one: too long, or cut off."""
    number = 0
    try:
        while text := file.readline(MOST_ROW):
            number += 1
            whole = text.endswith(b"\n") or len(text) < MOST_ROW
            if number == 1:
                text = text.removeprefix(_BOM)
            if not whole:
                _pass_by(file)
                yield number, b"", _TOO_LONG
            elif not text.isspace():
                yield number, text, ""
    except CUT_OFF as error:
        yield number + 1, b"", f"the packed file is damaged from here on: {error}"


def _pass_by(file: BinaryIO) -> None:
    """Go on to the end of a line."""
    while (text := file.readline(MOST_ROW)) and not text.endswith(b"\n"):
        pass


def _json(file: File, start: int) -> Rows:
    """The rows of a list. A file that is none is read as JSON lines, which many call .json."""
    with opened(file) as content:
        head = content.read(1 << 16).removeprefix(_BOM).lstrip()
    if head[:1] != b"[":
        yield from _json_lines(file, start)
        return
    try:
        with opened(file) as content:
            whole = content.read(MOST_BYTES + 1)
        text = whole.decode("utf-8-sig") if len(whole) <= MOST_BYTES else ""
    except (*CUT_OFF, UnicodeDecodeError) as error:
        yield Found(1, problem=f"the file cannot be read: {error}")
        return
    if not text:
        yield Found(1, problem=f"the file is larger than {MOST_BYTES >> 20:,} MiB: write it as JSON lines")
        return
    yield from islice(_items(text), start, None)


def _items(text: str) -> Rows:
    """The items of a list, each parsed by itself. What is no JSON ends it: nobody knows where it would go on."""
    line, counted, at = 1, 0, _next(text, text.index("[") + 1)
    while text[at : at + 1] != "]":
        line, counted = line + text.count("\n", counted, at), at
        try:
            _, end = _SCAN.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            why = _TOO_DEEP if isinstance(error, RecursionError) else "it is no JSON, or the list is cut off"
            yield Found(line, problem=f"{why}; what follows cannot be read")
            return
        yield _parsed(line, text[at:end].encode("utf-8", "surrogatepass"))
        behind = _next(text, end)
        at = _next(text, behind + 1) if text[behind : behind + 1] == "," else behind
        if at == behind and text[at : at + 1] != "]":
            yield Found(line, problem="behind it the list lacks a comma, or is cut off; what follows cannot be read")
            return
    if _next(text, at + 1) < len(text):
        yield Found(line, problem="behind the list is more, which cannot be read")


def _next(text: str, at: int) -> int:
    """Where the next sign is that is no white space."""
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _csv(file: File, start: int) -> Rows:
    """Every cell is text as it stands; an empty one is absent."""
    with opened(file) as content:
        cells = _Cells(content)
        _, names, problem = next(cells, (1, [], ""))
        if problem or len(set(names)) < len(names):
            yield Found(1, problem=problem or "two columns have one name, so that no row can be read")
            return
        for line, row, fault in islice(cells, start, None):
            if not fault and len(row) != len(names):
                fault = f"it has {len(row)} cells where the first row names {len(names)} columns"
            if fault:
                yield Found(line, problem=fault)
            else:
                yield Found(line, {name: cell or None for name, cell in zip(names, row, strict=True)})


class _Cells(Iterator[tuple[int, list[str], str]]):
    """The rows of a CSV file: the line each begins on, its cells, and what is wrong with it, "" if nothing is."""

    def __init__(self, file: BinaryIO) -> None:
        csv.field_size_limit(MOST_ROW)  # Python's own is 128 KiB
        self._file, self._line, self._problem, self._held = file, 0, "", 0
        self._rows = csv.reader(self._texts(), strict=True)

    def __next__(self) -> tuple[int, list[str], str]:
        while True:
            begin, self._problem, self._held = self._line + 1, "", 0
            try:
                cells = next(self._rows)
            except csv.Error as error:
                unclosed = "; a quote is opened and never closed, so that all behind it is one row"
                return begin, [], f"it is no CSV: {error}{unclosed if 'end of data' in str(error) else ''}"
            if cells or self._problem:
                return begin, cells, self._problem

    def _texts(self) -> Iterator[str]:
        try:
            while text := self._file.readline(MOST_ROW):
                self._line, self._held = self._line + 1, self._held + len(text)
                if self._held > MOST_ROW:
                    raise csv.Error(f"{_TOO_LONG}, as where a quote is not closed; what follows cannot be read")
                if len(text) == MOST_ROW and not text.endswith(b"\n"):
                    _pass_by(self._file)
                    self._problem, text = _TOO_LONG, b"\n"
                yield self._decoded(text.removeprefix(_BOM) if self._line == 1 else text)
        except CUT_OFF as error:
            self._line += 1
            self._problem = f"the packed file is damaged from here on: {error}"
            yield ""

    def _decoded(self, text: bytes) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            self._problem = f"line {self._line} is not UTF-8: byte 0x{text[error.start]:02x}"
            return text.decode(errors="replace")


def _parquet(file: File, start: int) -> Rows:
    from pyarrow import ArrowException, parquet

    line, rows = 0, 1
    try:
        with opened(file) as content, parquet.ParquetFile(content) as table:
            rows = table.metadata.num_rows
            groups = list(range(table.num_row_groups))
            while groups and line + table.metadata.row_group(groups[0]).num_rows <= start:
                line += table.metadata.row_group(groups.pop(0)).num_rows
            for batch in table.iter_batches(_BATCH, groups):
                yield from islice(_of_batch(batch, line), max(start - line, 0), None)
                line += batch.num_rows
    except (ArrowException, OSError) as error:
        if getattr(error, "errno", None):  # the file is gone, or out of reach; Arrow's own errors have no number
            raise
        why = f"the file is damaged from here on: {str(error).splitlines()[0]}"
        yield from (
            Found(lost, problem=why) for lost in range(max(line, start) + 1, rows + 1)
        )  # as many as it tells of


def _of_batch(batch: pa.RecordBatch, line: int) -> Rows:
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            yield Found(line + 1, problem="a text of it is not UTF-8")
        else:
            yield from (found for n in range(batch.num_rows) for found in _of_batch(batch.slice(n, 1), line + n))
        return
    foreign = [field.name for field in batch.schema if is_foreign(field.type)]
    for number, row in enumerate(rows, start=line + 1):
        yield plain_row(number, row, foreign) if foreign else Found(number, row)


def plain_row(number: int, row: Row, foreign: Sequence[str]) -> Found:
    """A row of Arrow with the values of these columns as JSON has them."""
    told = dict[str, object]()
    for name in foreign:
        try:
            told[name] = as_json(row[name])
        except Foreign as error:
            return Found(number, problem=f"column {name}: {error}")
    return Found(number, {**row, **told})


READERS: Mapping[str, Callable[[File, int], Rows]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
