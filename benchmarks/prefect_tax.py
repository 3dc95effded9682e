"""What Prefect adds: the same run with its page at a server and without, in turn, from first call to last answer.

python benchmarks/prefect_tax.py --records 20000
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.goals import Measured, at_most, script
from benchmarks.mock_server import running
from benchmarks.overhead import child, span
from benchmarks.prefect_server import serving


def goals(records: int = 20_000, repeats: int = 5) -> list[Measured]:
    """The goal, measured."""
    found = list[float]()
    with tempfile.TemporaryDirectory() as folder, running() as base_url, serving() as prefect:
        os.environ |= prefect.environment
        for repeat in range(repeats):
            seconds = dict[str, float]()
            for kind in ("pipeline", "tracked"):
                home = Path(folder) / f"{kind}-{repeat}"
                child(kind, base_url, str(home), str(records))
                seconds[kind] = span(home)[1]
            found.append((seconds["tracked"] / seconds["pipeline"] - 1) * 100)
    return [at_most(f"Prefect's tax at {records:,} rows", 5.0, found, "% of the wall time", digits=1)]


if __name__ == "__main__":
    script(__doc__, goals, records=20_000, repeats=5)
