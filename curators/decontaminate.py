"""Decontamination: a sample that shares a passage with a benchmark is dropped, and the passage is kept beside it.

The idea is GPT-3's (arXiv 2005.14165, appendix C): thirteen words in a row that also stand in a test set are no
chance. Case, punctuation and white space do not count, so that a lightly edited question is still found. No model is
asked, and nothing is fetched: the benchmarks are files of yours.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import (
    BeforeValidator,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
)

from seedbed.engines import Engines
from seedbed.faults import fault
from seedbed.folders import matching, read_whole
from seedbed.nested import texts_in
from seedbed.normal_form import nfkc
from seedbed.records import Content, Frozen, Sample, Verdict

STEP = "decontaminate"
SHORTEST = 8  # words of a benchmark's text, at least, where it is shorter than the passage that is looked for
MOST_BYTES = 1 << 30  # of a benchmark's file, also when it is unpacked; it is held in memory while it is read
_SCAFFOLD = 10  # a passage in more texts of one file than this is the file's own wording, such as an instruction

Hashes = npt.NDArray[np.uint64]
Owners = npt.NDArray[np.uint16]


class Benchmark(Frozen):
    """A file of a benchmark. Its content counts, not its place: the path is told only to who asks for places."""

    name: str
    sha256: str
    path: Path

    @model_serializer(mode="wrap")
    def _told(self, told: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, object]:
        facts: dict[str, object] = told(self)
        return facts if (info.context or {}).get("places") else {k: v for k, v in facts.items() if k != "path"}


def _found(value: object, info: ValidationInfo) -> object:
    """The files that the patterns stand for, from the recipe's folder, each read once to see that it can be."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return tuple(_again(Benchmark.model_validate(item)) for item in value)
    if not isinstance(value, list | tuple) or not all(isinstance(pattern, str) for pattern in value):
        raise fault("this is no list of files", "Write for example [benchmarks/*.jsonl]")
    folder = Path((info.context or {}).get("folder", "."))
    paths = list(dict.fromkeys(path for pattern in value for path in _matching(folder, pattern)))
    names = [path.name for path in paths]
    return tuple(
        Benchmark(
            name=path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}",
            sha256=_checked(path),
            path=path,
        )
        for path in paths
    )


def _again(known: Benchmark) -> Benchmark:
    """A file that a run was told before, if it is there as it was."""
    if not known.path.is_file() or _checked(known.path) != known.sha256:
        raise fault(f"{known.name} is not there as it was", f"Put it back as {known.path}")
    return known


def _matching(folder: Path, pattern: str) -> list[Path]:
    try:
        found = matching(pattern, folder)
    except ValueError as error:
        raise fault(f"{pattern!r} is no file pattern ({error})", "Write for example benchmarks/*.jsonl") from error
    if found.problems:
        told = "; ".join(f"{problem.file}: {problem.what}" for problem in found.problems)
        raise fault(told, found.problems[0].write)
    if not found.files:
        raise fault(f"no file matches {pattern!r} in {folder.resolve()}", "Correct the path, or take it out")
    return [path.resolve() for path in found.files]


def _checked(path: Path) -> str:
    """The hash of a benchmark's file, if it is one."""
    if _kind(path) not in READERS:
        raise fault(f"{path.name} is no file of texts that is known", f"Use {', '.join(READERS)}, or these with .gz")
    try:
        content = read_whole(path, MOST_BYTES)
        usable = any(len(_words(text)) >= SHORTEST for text in _texts_of(path, content))
    except OSError as error:
        raise fault(f"{path.name} cannot be read: {error.strerror or error}", "Correct the file") from error
    except (EOFError, ValueError, csv.Error, zlib.error) as error:
        raise fault(f"{path.name} cannot be read: {str(error).splitlines()[0]}", "Correct the file") from error
    if not usable:
        raise fault(f"{path.name} has no text of {SHORTEST} words or more", "Take the file out")
    return hashlib.sha256(content).hexdigest()


class Decontaminate(Frozen):
    """Which benchmarks a sample must not repeat, and how much of one is a repetition."""

    against: Annotated[
        tuple[Benchmark, ...],
        BeforeValidator(_found),
        WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
        Field(
            min_length=1,
            description="Files of benchmarks, from the recipe's folder, * and ** allowed: .jsonl, .json, .csv, "
            ".parquet, .txt (a text a line), also with .gz. Every text in them is compared.",
        ),
    ]
    words: int = Field(
        default=13,
        ge=5,
        le=100,
        description="Words in a row that make a repetition. A benchmark's text of fewer words, but "
        f"{SHORTEST} at least, is looked for as a whole.",
    )


async def decontaminate(sample: Sample, engines: Engines, options: Decontaminate) -> Verdict:
    """Drop a sample of which any text shares a passage with a benchmark; the passage is the transcript."""
    return compared(sample.content, options)


_CLEAN = Verdict(step=STEP, curator=STEP, keep=True)


def compared(content: Content, options: Decontaminate) -> Verdict:
    """What the comparison with the benchmarks says of a content."""
    index = _index(options)
    for text in content.texts():
        if match := index.find(text):
            name, passage = match
            reason = f"shares a passage with {name}"
            return Verdict(step=STEP, curator=STEP, keep=False, reason=reason, transcript=passage)
    return _CLEAN


@dataclass(frozen=True, slots=True)
class Index:
    """Hashes of the passages of each length in words, sorted, with the number of the file that each is from."""

    names: tuple[str, ...]
    passages: dict[int, tuple[Hashes, Owners]]

    def find(self, text: str) -> tuple[str, str] | None:
        """The first of the longest passages that a benchmark has too, as far as it goes, and the benchmark's name."""
        words = _words(text)
        match = None
        for length, grams in enumerate(_grams(_codes(words), max(self.passages, default=0)), start=1):
            if length in self.passages:
                known, owners = self.passages[length]
                at = np.minimum(np.searchsorted(known, grams), len(known) - 1)
                hits = known[at] == grams
                if hits.any():
                    first = int(hits.argmax())
                    match = self.names[owners[at[first]]], " ".join(words[first : _end(hits, first) + length - 1])
        return match


def _end(hits: npt.NDArray[np.bool_], first: int) -> int:
    """Where the hits that begin at `first` end."""
    return first + int(np.append(hits[first:], False).argmin())


@lru_cache(maxsize=4)
def _index(options: Decontaminate) -> Index:
    """Built once a process, whoever asks first."""
    by_length: dict[int, list[tuple[Hashes, Owners]]] = {}
    for number, benchmark in enumerate(options.against):
        texts = _texts_of(benchmark.path, read_whole(benchmark.path, MOST_BYTES))
        for length, hashes in _passages(texts, options.words).items():
            by_length.setdefault(length, []).append((hashes, np.full(len(hashes), number, dtype=np.uint16)))
    passages = {}
    for length, parts in by_length.items():
        hashes, first = np.unique(np.concatenate([part[0] for part in parts]), return_index=True)
        passages[length] = hashes, np.concatenate([part[1] for part in parts])[first]
    return Index(tuple(benchmark.name for benchmark in options.against), passages)


def _passages(texts: Iterable[str], length: int) -> dict[int, Hashes]:
    """Hashes of the passages of a file's texts by their length: `length` words, or a shorter text as a whole."""
    grams: dict[int, list[Hashes]] = {}
    seen = set[int]()
    for text in texts:
        if (known := hash(text)) in seen:  # a passage with many questions stands in many rows, and is one text
            continue
        seen.add(known)
        words = _words(text)
        if len(words) >= min(SHORTEST, length):
            size = min(length, len(words))
            *_, hashes = _grams(_codes(words), size)
            grams.setdefault(size, []).append(np.unique(hashes[_telling(words, size)]))
    found = {}
    for size, parts in grams.items():
        hashes, texts_with_it = np.unique(np.concatenate(parts), return_counts=True)
        hashes = hashes[texts_with_it <= _SCAFFOLD]
        if len(hashes):
            found[size] = hashes
    return found


def _telling(words: Sequence[str], length: int) -> npt.NDArray[np.bool_]:
    """Which passages have different words enough to tell anything: a row of zeros, for one, does not."""
    starts = range(len(words) - length + 1)
    return np.array([3 * len(set(words[at : at + length])) >= length for at in starts], dtype=np.bool_)


# Chinese and Japanese put no spaces between words: a character counts as one.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


def _words(text: str) -> list[str]:
    return _WORD.findall(nfkc(text).casefold())


@lru_cache(maxsize=1 << 17)
def _code(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest())


def _codes(words: Sequence[str]) -> Hashes:
    return np.array([_code(word) for word in words], dtype=np.uint64)


_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no word's bits are lost


def _grams(codes: Hashes, longest: int) -> Iterator[Hashes]:
    """64-bit hashes of each 1, 2, … `longest` words in a row: a polynomial in the words' codes, modulo 2^64."""
    grams = codes
    for length in range(1, min(longest, len(codes)) + 1):
        if length > 1:
            grams = grams[:-1] * _BASE + codes[length - 1 :]
        yield grams


def _kind(path: Path) -> str:
    """The suffix that says how to read a file, .gz aside."""
    return Path(path.name.removesuffix(".gz")).suffix


def _texts_of(path: Path, content: bytes) -> Iterator[str]:
    """Every text in a file's content. Raises OSError or ValueError, with the row, when it cannot be read."""
    file = io.BytesIO(_unpacked(content) if path.suffix == ".gz" else content)
    for number, value in enumerate(READERS[_kind(path)](file), start=1):
        try:
            yield from texts_in(value)
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from error


def _unpacked(content: bytes, most: int = MOST_BYTES) -> bytes:
    with gzip.open(io.BytesIO(content)) as file:
        unpacked = file.read(most + 1)
    if len(unpacked) > most:
        raise ValueError(f"unpacked it is larger than {most >> 20} MiB: split it")
    return unpacked


def _parquet(file: BinaryIO) -> Iterator[object]:
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
            yield from batch.to_pylist()
    except RecursionError as error:
        raise ValueError("its columns are nested too deep") from error


def _json_lines(file: BinaryIO) -> Iterator[object]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from error


def _lines(file: BinaryIO) -> Iterator[str]:
    return iter(io.TextIOWrapper(file, encoding="utf-8-sig", newline=None))


READERS: dict[str, Callable[[BinaryIO], Iterator[Any]]] = {
    ".jsonl": _json_lines,
    ".json": lambda file: iter([orjson.loads(file.read())]),
    ".csv": lambda file: csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline="")),
    ".parquet": _parquet,
    ".txt": _lines,
}
