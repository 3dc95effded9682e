"""Where rows come from: a file, a folder of files, a pattern, or a data set of the Hub; opened, counted, hashed.

    source = open_source("chats/*.jsonl", folder)
    for raw in source.rows(): …

Nothing is guessed from names: a folder called `key=value` is a folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from seedbed.folders import Matches, astray, hidden_part, matching
from seedbed.sources.hub import HUB, open_hub
from seedbed.sources.raw import MOST_BYTES
from seedbed.sources.readers import READERS, File, ending, header_of
from seedbed.sources.source import Source
from seedbed.yamlfile import BadInput, Problem

ENDINGS = f"{', '.join(READERS)}, and with .gz behind those of texts"
_WILD = frozenset("*?[")
_SHOWN = 5
_CORRECT = "Correct the path: it is taken from the recipe's folder"


def open_source(spec: str, folder: Path) -> Source:
    """The rows of a file, a folder, a pattern such as `chats/*.jsonl`, or `hf://datasets/…`; paths are from `folder`.

    Raises:
        BadInput: there is no such file, it is of no kind that is read, or a link leads out of where it lies; on the
            Hub there is no such data set, or it cannot be reached.
    """
    if spec.startswith(HUB):
        return open_hub(spec)
    if hidden := hidden_part(spec):
        raise _bad(spec, f"{hidden} begins with a dot, and such files are not read", "Put a copy elsewhere")
    named = folder / spec
    try:
        found, asked = _found(spec, folder, named)
    except ValueError as error:
        raise _bad(spec, f"this is no pattern: {error}", "Write one such as chats/*.jsonl") from error
    paths = [path for path in found.files if asked or ending(path.name)]
    problems = [*found.problems, *filter(None, map(_fault, paths))]
    if not paths and not problems:
        problems.append(_nothing(named, found.files))
    if problems:
        raise BadInput(*problems)
    name = PurePath(os.path.normpath(spec)).as_posix()
    left_out = [_place(path, folder) for path in found.files if path not in set(paths)]
    return Source(name, tuple(_local(path, folder) for path in paths), left_out=tuple(left_out))


def _local(path: Path, folder: Path) -> File:
    return File(_place(path, folder), lambda: path.open("rb"))


def _place(path: Path, folder: Path) -> str:
    """A file as it is called from the folder that the source was named in."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _found(spec: str, folder: Path, named: Path) -> tuple[Matches, bool]:
    """The files, and whether each was asked for, as those of a folder are not."""
    if not named.exists() and _WILD & set(spec):
        return matching(spec, folder), True
    if problem := astray(spec, folder):
        return Matches([], [problem]), True
    return (matching("**/*", named), False) if named.is_dir() else (Matches([named]), True)


def _nothing(named: Path, others: Sequence[Path]) -> Problem:
    """The problem where no file is found that holds rows."""
    if others:
        what = f"no file in it holds rows: {', '.join(path.name for path in others[:_SHOWN])}"
        return Problem(str(named), 0, what, f"Put files there that end in {ENDINGS}")
    return Problem(str(named), 0, "there is no such file", _CORRECT)


def _fault(path: Path) -> Problem | None:
    """Why a file is not read at all, if it is not."""
    try:
        return _unreadable(path)
    except OSError as error:
        return Problem(str(path), 0, f"it cannot be read: {error.strerror or error}", "Correct the file")


def _unreadable(path: Path) -> Problem | None:
    if not path.is_file():
        what = "there is no plain file of that name" if path.exists() else "there is no such file"
        return Problem(str(path), 0, what, _CORRECT)
    kind = ending(path.name)
    if not kind:
        return Problem(str(path), 0, f"no file of rows ends in {path.suffix!r}", f"Use one of {ENDINGS}")
    if kind == ".json" and path.stat().st_size > MOST_BYTES:
        return Problem(str(path), 0, f"it is larger than {MOST_BYTES >> 20:,} MiB", "Write it as JSON lines (.jsonl)")
    return _HEADS[kind](path) if kind in _HEADS else None


def _csv_head(path: Path) -> Problem | None:
    """The problem with the names of a CSV file's columns."""
    names = header_of(_local(path, path.parent))
    twice = next((name for n, name in enumerate(names) if name in names[:n]), None)
    if twice is None:
        return None
    return Problem(str(path), 1, f"two columns are called {twice!r}", "Give each column a name of its own")


def _parquet_head(path: Path) -> Problem | None:
    """The problem with a Parquet file's foot, where it says what is in it."""
    from pyarrow import ArrowException, parquet

    try:
        parquet.read_metadata(path)
    except (ArrowException, OSError) as error:
        what = f"it cannot be read: {str(error).splitlines()[0]}"
        return Problem(str(path), 0, what, "Correct the file: it may be cut off")
    return None


def _bad(spec: str, what: str, write: str) -> BadInput:
    return BadInput(Problem(spec, 0, what, write))


_HEADS = {".csv": _csv_head, ".parquet": _parquet_head}
