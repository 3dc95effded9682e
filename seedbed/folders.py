"""Files in a folder that a user named: which of them a pattern finds, what leads out of it, and how one is read whole.

A user's word goes: `..`, absolute paths, and a name that is a hard link, which is the file itself. What nobody wrote
down is not followed: a link in the folder (a cloned repository may hold one to a private key) is read only where it
stays in it, and nothing is read that may have no end. Names that begin with a dot are left out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePath

from seedbed.yamlfile import Problem

HERE = "Put a copy there, or name the other folder itself"
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Matches:
    """What a pattern found: files, sorted, and what could not be looked at or leads out of the folder."""

    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_whole(path: Path, most: int) -> bytes:
    """The bytes of a plain file of at most `most` bytes; a pipe or a device is never waited for.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger. Its `strerror` says which, and what to do.
    """
    with open(path, "rb", opener=_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, no plain file: put one there", str(path))
        content = b"" if status.st_size > most else file.read(most + 1)  # it may grow meanwhile
    if max(status.st_size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB: split it", str(path))
    return content


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def leads_to(file: Path, folder: Path) -> str:
    """Where a file really is, if a link on the way leads out of the folder; else ""."""
    # Not Path.resolve, which raises on links that go round in circles.
    real = os.path.realpath(file)
    return "" if Path(real).is_relative_to(os.path.realpath(folder)) else real


def out_of(file: Path, folder: Path) -> Problem | None:
    """The problem with a file that a link leads out of the folder to."""
    target = leads_to(file, folder)
    what = f"this is a link that leads out of {folder}, to {target}, and such links are not followed"
    return Problem(str(file), 0, what, HERE) if target else None


def hidden_part(path: str) -> str:
    """The first name in a path that begins with a dot, as those of keys and histories do; "" if there is none."""
    return next((name for name in PurePath(path).parts if is_hidden(name)), "")


def is_hidden(name: str) -> bool:
    """Whether a name begins with a dot."""
    return name.startswith(".") and name not in (".", "..")


def astray(path: str, folder: Path) -> Problem | None:
    """The problem with a path, as a user's file in `folder` names it, in which a link leads out of where it lies.

    Of an absolute path only the last name is looked at: the folders before it are its author's word.
    """
    named, here = PurePath(os.path.normpath(path)), folder
    steps: Sequence[str] = named.parts
    if named.is_absolute():
        here, steps = Path(named).parent, (named.name,)
    for step in steps:
        if step != os.pardir and (problem := out_of(here / step, here)):
            return problem
        here = here / step
    return None


def matching(pattern: str, folder: Path) -> Matches:
    """The files that a pattern such as `handbook/**/*.md` finds from `folder`; `**` enters no link.

    Raises:
        ValueError: it is no pattern.
    """
    parts = PurePath(pattern).parts
    at = next((n for n, part in enumerate(parts) if _WILD & set(part)), len(parts) - 1)
    head, tail = parts[: max(at, 0)], parts[max(at, 0) :]
    if not tail or tail[-1] in ("..", PurePath(pattern).anchor):
        raise ValueError("it names no file")
    if ".." in tail:
        raise ValueError("it goes up by .. behind a *: write .. before it")
    if tail[-1] == "**":
        tail = (*tail, "*")
    named, found = folder.joinpath(*head), Matches()
    if not PurePath(pattern).is_absolute() and (problem := astray(str(PurePath(*head)), folder)):
        return Matches([], [problem])
    files = sorted(set(_search(named, tail, found.problems)))
    return Matches(files, list(dict.fromkeys(found.problems)))


def _search(named: Path, tail: Sequence[str], problems: list[Problem]) -> Iterator[Path]:
    """Files below `named`, level by level of the pattern; without recursion, for folders may be nested however deep."""
    waiting, seen = [(named, 0)], set[tuple[Path, int]]()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        for path, at in _onward(*place, named, tail, problems):
            if at == len(tail):
                yield path
            else:
                waiting.append((path, at))


def _onward(
    folder: Path, at: int, named: Path, tail: Sequence[str], problems: list[Problem]
) -> Iterator[tuple[Path, int]]:
    """What part `at` of the pattern finds in one folder, and which part comes next there."""
    part, last = tail[at], at == len(tail) - 1
    if part == "**":
        yield folder, at + 1
    for entry in entries_of(folder, problems):
        path = folder / entry.name
        if not _fits(entry.name, part) or is_folder(entry) == last:
            continue
        if entry.is_symlink() and (problem := out_of(path, named)):
            problems.append(problem)
        elif part != "**":
            yield path, at + 1
        elif not entry.is_symlink():  # one that stays in the folder leads to what is found where it is
            yield path, at


def _fits(name: str, part: str) -> bool:
    return fnmatch(name, part) and (not is_hidden(name) or name == part)


def entries_of(folder: Path, problems: list[Problem]) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing where there is none, and a problem more where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        what = f"the folder cannot be read ({error.strerror})"
        problems.append(Problem(str(folder), 0, what, "Make it readable, or take it out"))
        return []


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that goes round in circles
        return False
