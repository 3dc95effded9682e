"""A source: the files of one name in a recipe, as one row of rows, counted and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from seedbed.sources.raw import Raw
from seedbed.sources.readers import File, count_rows, read_file

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of files, one file after the other. `revision` is the commit of a data set of the Hub, "" of files here.

    `left_out` are files beside them that hold no rows. `known` is the number of rows, where somebody told it. Counts
    and hashes read all files anew each time: keep what you were told. All of it raises OSError where a file is gone.
    """

    name: str
    files: tuple[File, ...]
    revision: str = ""
    left_out: tuple[str, ...] = ()
    known: int | None = None

    def count(self) -> int:
        """How many rows there are, those that cannot be read included."""
        return sum(map(count_rows, self.files)) if self.known is None else self.known

    def digest(self) -> str:
        """A hash of names and contents, or of names and commit, as 32 hexadecimal digits."""
        total = hashlib.blake2b(f"{self.name}\0{self.revision}\0".encode("utf-8", "surrogateescape"), digest_size=16)
        for file in self.files:
            total.update(f"{file.name}\0".encode("utf-8", "surrogateescape"))
            if not self.revision:
                total.update(_hash(file))
        return total.hexdigest()

    def rows(self, start: int = 0, lazily: bool = False) -> Iterator[Raw]:
        """The rows from number `start` on, one by one; `lazily` leaves lines of JSON as text, for `readers.parsed`."""
        number = 0
        for file in self.files:
            if number < start and number + (held := count_rows(file)) <= start:
                number += held
                continue
            passed = max(start - number, 0)
            number += passed
            for found in read_file(replace(file, lazily=lazily), passed):
                yield Raw(number, file.name, *found)
                number += 1


def _hash(file: File) -> bytes:
    total = hashlib.blake2b(digest_size=16)
    with file.open() as content:
        while chunk := content.read(_CHUNK):
            total.update(chunk)
    return total.digest()
