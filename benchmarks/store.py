"""How fast the store takes rows: samples with verdicts by Arrow, against DuckDB's defaults with the same batches.

    python benchmarks/store.py

A row is a sample of 1.8 KB with two verdicts. Runs commit what two seconds bring, here eight Arrow tables of a thousand
rows at a time. The default is a plain DuckDB connection that appends the same tables, each in a transaction of its own,
checkpoints as it likes, and stays open.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import duckdb

from benchmarks.goals import Measured, at_least, script
from seedbed.records import Content, Sample, Verdict
from seedbed.store import Store
from seedbed.store.rows import Judged, Tables, add_tables, judged_tables
from seedbed.store.schema import MIGRATIONS

BATCH, TOGETHER = 1000, 8


def batches(rows: int) -> list[Tables]:
    """The rows as Arrow tables, made before the clock starts."""
    found = list[Tables]()
    said = (
        Verdict(step="rules", curator="rules", keep=True),
        Verdict.scored("critique", "critique", 4.5, 3.5, "", "c"),
    )
    for first in range(0, rows, BATCH):
        judged = list[Judged]()
        for n in range(first, first + BATCH):
            content = Content(question=f"question {n} " * 20, answer=f"answer {n} " * 110)
            sample = Sample(
                sample_id=f"{n:020x}",
                kind="instruction",
                method="skills",
                leaf="a/b",
                ordinal=n,
                attempt=0,
                content=content,
                status="kept",
            )
            judged.append(Judged(n, sample, said))
        found.append(judged_tables("run", judged))
    return found


def ours(folder: Path, found: list[Tables]) -> float:
    """Rows a second through the store."""
    store, began = Store(folder), time.perf_counter()
    for first in range(0, len(found), TOGETHER):
        with store.writing() as db:
            for tables in found[first : first + TOGETHER]:
                add_tables(db, tables)
    store.close()
    return len(found) * BATCH / (time.perf_counter() - began)


def default(folder: Path, found: list[Tables]) -> float:
    """Rows a second through a plain connection."""
    folder.mkdir()
    with duckdb.connect(str(folder / "plain.duckdb")) as db:
        for _, statements in MIGRATIONS:
            db.execute(statements)
        began = time.perf_counter()
        for tables in found:
            db.begin()
            add_tables(db, tables)
            db.commit()
        db.checkpoint()
        return len(found) * BATCH / (time.perf_counter() - began)


def goals(rows: int = 200_000, repeats: int = 5) -> list[Measured]:
    """The goal, measured: one of the two figures must hold."""
    found, speeds, ratios = batches(rows), list[float](), list[float]()
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            speeds.append(ours(Path(folder) / "ours", found))
            ratios.append(speeds[-1] / default(Path(folder) / "default", found))
    return [
        at_least(f"store, {rows:,} rows by Arrow", 25_000, speeds, "rows/s", digits=0),
        at_least("or that against DuckDB's defaults", 3.0, ratios, "x"),
    ]


if __name__ == "__main__":
    script(__doc__, goals, rows=200_000, repeats=5)
