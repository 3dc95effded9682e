"""How DuckDB is told of a file, so that the path means this file and says nothing of what is in it.

DuckDB makes much of a path: `*`, `?` and `[` are patterns, a folder called `key=value` becomes a column, and what
begins like `~`, `s3:` or `:memory:` is another place altogether.
"""

from __future__ import annotations

import os
from glob import escape
from pathlib import Path

AS_IT_IS = "hive_partitioning = false, union_by_name = false, filename = false"  # to every read_* of DuckDB


def literal(path: Path) -> str:
    """A path for DuckDB's readers (`read_json` and its like), to be given with `AS_IT_IS`."""
    return escape(str(path.absolute()))


def quoted(path: Path) -> str:
    """A path for `ATTACH`, as it stands between quotes; `unusable` says which cannot be."""
    return str(path.absolute()).replace("'", "''")


def unusable(path: Path) -> str:
    """What no file that DuckDB is to open as a database may have in its path; "" where there is nothing of it."""
    text = str(path.absolute())
    if "?" in text:
        return "a question mark"
    if "\\" in text and os.sep != "\\":
        return "a backslash"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "bytes that are no UTF-8"
    return ""
