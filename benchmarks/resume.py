"""How long a run that goes on takes to its first new call, with a million calls recorded, and in how much memory.

    python benchmarks/resume.py
    python benchmarks/resume.py --calls 100000

The store holds a run that was stopped after some 60,000 calls and, beside it, calls of other runs up to the number
asked for. The same command then runs until it has made one new call: its budget is spent with the first. Beside it, the
same with the stopped run's calls alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.goals import Measured, at_most, script
from benchmarks.mock_server import running
from benchmarks.overhead import child
from seedbed.store import Store

OWN_CALLS = 60_000
OTHERS = """
INSERT INTO base.calls BY NAME
SELECT md5(n::VARCHAR)[1:24] AS call_id, 'other' AS run_id, 'answer' AS step, 'mock' AS model,
       'unspecified' AS revision, repeat('prompt ', 60) AS prompt, '{}' AS request, repeat('word ', 60) AS response,
       'stop' AS finish, 90 AS tokens_in, 60 AS tokens_out, 1.0 AS seconds, 'ok' AS status, '' AS error,
       now() AT TIME ZONE 'UTC' AS created_at
FROM range(?) r(n)
"""


def goals(calls: int = 1_000_000, repeats: int = 5) -> list[Measured]:
    """The goal, measured."""
    with tempfile.TemporaryDirectory() as folder, running() as base_url:
        home = Path(folder) / "home"
        child("stopped", base_url, str(home), str(OWN_CALLS))
        few = child("stopped", base_url, str(home), "0")
        store = Store(home)
        own = int(str(store.rows("SELECT count(*) AS n FROM calls")[0]["n"]))
        with store.writing() as db:
            db.execute(OTHERS, [max(calls - own, 0)])
        store.close()
        found = [child("stopped", base_url, str(home), "0") for _ in range(repeats)]
        after = int(str(Store(home).rows("SELECT count(*) AS n FROM calls WHERE run_id <> 'other'")[0]["n"]))
    if after - own != repeats:
        raise SystemExit(f"{repeats} runs made {after - own} new calls, not one each")
    more = [facts["peak_mib"] / few["peak_mib"] for facts in found]
    seconds = [facts["wall"] for facts in found]
    return [
        at_most(f"to the first new call, {calls:,} calls recorded, {own:,} of them this run's", 2.0, seconds, "s"),
        at_most(f"peak memory of that, against {own:,} recorded ({few['peak_mib']:.0f} MiB)", 1.3, more, "x"),
    ]


if __name__ == "__main__":
    script(__doc__, goals, calls=1_000_000, repeats=5)
