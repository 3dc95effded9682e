"""Rows into the store, always as Arrow batches: 50 times a row-by-row insert (measured)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import pyarrow as pa

from seedbed.records import Sample, Verdict

_IDS = pa.list_(pa.string())

CALLS = pa.schema(
    [(name, pa.string()) for name in ("call_id", "run_id", "step", "model", "revision")]
    + [(name, pa.string()) for name in ("prompt", "request", "response", "finish")]
    + [
        ("tokens_in", pa.int32()),
        ("tokens_out", pa.int32()),
        ("seconds", pa.float64()),
        ("usd", pa.float64()),
    ]
    + [("status", pa.string()), ("error", pa.string()), ("created_at", pa.timestamp("us"))]
)
SAMPLES = pa.schema(
    [("run_id", pa.string()), ("sample_id", pa.string()), ("position", pa.int64())]
    + [(name, pa.string()) for name in ("kind", "method", "leaf")]
    + [("ordinal", pa.int32()), ("attempt", pa.int32())]
    + [(name, pa.string()) for name in ("status", "step", "reason", "question", "answer", "context")]
    + [("parents", _IDS), ("call_ids", _IDS), ("model", pa.string()), ("text_hash", pa.string())]
    + [("created_at", pa.timestamp("us"))]
)
VERDICTS = pa.schema(
    [(name, pa.string()) for name in ("run_id", "sample_id", "step", "curator")]
    + [("keep", pa.bool_()), ("score", pa.float64()), ("threshold", pa.float64())]
    + [("reason", pa.string()), ("call_ids", _IDS), ("transcript", pa.string())]
)


class CallRow(NamedTuple):
    """One model call as it is recorded, in the columns of `calls`; `created_at` in microseconds, UTC."""

    call_id: str
    run_id: str
    step: str
    model: str
    revision: str
    prompt: str
    request: str
    response: str
    finish: str
    tokens_in: int
    tokens_out: int
    seconds: float
    usd: float | None
    status: str
    error: str
    created_at: int


class Judged(NamedTuple):
    """A sample at its place in the plan, with everything that was said of it."""

    position: int
    sample: Sample
    verdicts: tuple[Verdict, ...]


def add_calls(connection: duckdb.DuckDBPyConnection, calls: Sequence[CallRow]) -> int:
    """Append calls; the row number of the first, for the ledger's index. Rows keep their order."""
    [(first,)] = connection.execute("SELECT coalesce(max(rowid) + 1, 0) FROM base.calls").fetchall()
    _insert(connection, "calls", CALLS, calls)
    return int(first)


def add_judged(connection: duckdb.DuckDBPyConnection, run_id: str, judged: Sequence[Judged]) -> None:
    """Append samples and their verdicts."""
    now = microseconds()
    samples = [_sample_row(run_id, row, now) for row in judged]
    verdicts = [
        (run_id, row.sample.sample_id, v.step, v.curator, v.keep, v.score, v.threshold, v.reason)
        + (v.call_ids, v.transcript)
        for row in judged
        for v in row.verdicts
    ]
    _insert(connection, "samples", SAMPLES, samples)
    _insert(connection, "verdicts", VERDICTS, verdicts)


def microseconds() -> int:
    """Now, UTC, as the store's timestamps count."""
    return time.time_ns() // 1000


def _sample_row(run_id: str, row: Judged, now: int) -> tuple[object, ...]:
    s = row.sample
    text = s.content
    return (
        (run_id, s.sample_id, row.position, s.kind, s.method, s.leaf, s.ordinal, s.attempt)
        + (s.status, s.step, s.reason, text.question, text.answer, text.context)
        + (s.parents, s.call_ids, s.model, s.text_hash, now)
    )


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, schema: pa.Schema, rows: Sequence[Sequence[object]]
) -> None:
    if not rows:
        return
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)]
    connection.register("incoming", pa.table(columns, schema=schema))
    connection.execute(f"INSERT INTO base.{table} SELECT * FROM incoming")
    connection.unregister("incoming")
