"""Rows into the store, always in batches, by Arrow or from a file: 50 times a row-by-row insert (measured)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from seedbed.conversation_json import rest_json
from seedbed.journal_line import LONGEST
from seedbed.literal_path import AS_IT_IS, literal
from seedbed.records import Sample, Verdict
from seedbed.store.store import Store

Tables = dict[str, pa.Table]
_IDS = pa.list_(pa.string())

CALLS = {
    "call_id": "VARCHAR",
    "run_id": "VARCHAR",
    "step": "VARCHAR",
    "model": "VARCHAR",
    "revision": "VARCHAR",
    "prompt": "VARCHAR",
    "request": "VARCHAR",
    "response": "VARCHAR",
    "finish": "VARCHAR",
    "tokens_in": "INTEGER",
    "tokens_out": "INTEGER",
    "seconds": "DOUBLE",
    "usd": "DOUBLE",
    "status": "VARCHAR",
    "error": "VARCHAR",
    "created_at": "BIGINT",
    "reasoning": "VARCHAR",
    "refusal": "VARCHAR",
    "tool_calls": "VARCHAR",
    "served": "VARCHAR",
}
RARE = ("reasoning", "refusal", "tool_calls", "served")  # most calls have none of these
SAMPLES = pa.schema(
    [("run_id", pa.string()), ("sample_id", pa.string()), ("position", pa.int64())]
    + [(name, pa.string()) for name in ("kind", "method", "leaf")]
    + [("ordinal", pa.int32()), ("attempt", pa.int32())]
    + [(name, pa.string()) for name in ("status", "step", "reason", "question", "answer", "context")]
    + [("parents", _IDS), ("call_ids", _IDS), ("model", pa.string()), ("text_hash", pa.string())]
    + [("created_at", pa.timestamp("us")), ("rejected", pa.string()), ("error", pa.string())]
    + [("rest", pa.string()), ("derived", pa.string()), ("source", pa.string()), ("row_key", pa.uint64())]
)
VERDICTS = pa.schema(
    [(name, pa.string()) for name in ("run_id", "sample_id", "step", "curator")]
    + [("keep", pa.bool_()), ("score", pa.float64()), ("threshold", pa.float64())]
    + [("reason", pa.string()), ("call_ids", _IDS), ("transcript", pa.string())]
    + [("revision", pa.string()), ("model", pa.string())]
)


class CallRow(NamedTuple):
    """What came of one model call, in columns of `calls`; `created_at` in microseconds, UTC.

    `status` is `ok` for an answer, also one that cannot be read (then `error` says why), `refused` for a request that
    is turned down for good, `error` where nobody answered. Tokens are None where nobody tells.
    """

    call_id: str
    run_id: str
    step: str
    model: str
    revision: str
    response: str
    finish: str
    tokens_in: int | None
    tokens_out: int | None
    seconds: float
    usd: float | None
    status: str
    error: str
    created_at: int
    reasoning: str = ""
    refusal: str = ""
    tool_calls: str = ""
    served: str = ""


class Judged(NamedTuple):
    """A sample at its place in the plan, with everything that was said of it and the pairs that came of revising it.

    `key` is what exact duplicates are told by, None where nobody asked.
    """

    position: int
    sample: Sample
    verdicts: tuple[Verdict, ...]
    pairs: tuple[tuple[Sample, Verdict], ...] = ()
    key: int | None = None


def load_calls(connection: duckdb.DuckDBPyConnection, segment: Path, loaded_before: bool = False) -> int:
    """Append the calls of a journal's segment, in their order; the row number of the first.

    DuckDB reads the file itself: no Python object is made again of what was written from one. `loaded_before`
    leaves out what the store has already, where a process may have died between loading and removing the file.
    """
    [(first,)] = connection.execute("SELECT coalesce(max(rowid) + 1, 0) FROM base.calls").fetchall()
    connection.execute(
        "INSERT INTO base.calls FROM (SELECT * REPLACE (make_timestamp(created_at) AS created_at) "
        f"FROM read_json($path, format = 'newline_delimited', columns = $columns, {AS_IT_IS}, "
        f"compression = 'uncompressed', maximum_object_size = {LONGEST}))"
        + (" ANTI JOIN base.calls USING (call_id, created_at)" if loaded_before else ""),
        {"path": literal(segment), "columns": CALLS},
    )
    return int(first)


def served_before(store: Store, model: str, revision: str) -> list[str]:
    """The names that servers gave to a model in the calls that are recorded, where they gave it another one."""
    found = store.rows(
        "SELECT DISTINCT served FROM base.calls WHERE model = ? AND revision = ? AND served IS NOT NULL ORDER BY 1",
        [model, revision],
    )
    return [str(row["served"]) for row in found]


def judged_tables(run_id: str, judged: Sequence[Judged], judge: str = "") -> Tables:
    """The rows of `samples` and `verdicts`, made where they are: a thread would wrestle for the interpreter.

    `judge` is the model that gave the verdicts behind which there are calls.
    """
    now = microseconds()
    judged = [*judged, *(Judged(row.position, pair, (said,)) for row in judged for pair, said in row.pairs)]
    samples = [_sample_row(run_id, row, now) for row in judged]
    said = ((row.sample.sample_id, verdict) for row in judged for verdict in row.verdicts)
    return {"samples": _table(SAMPLES, samples), "verdicts": verdicts_table(run_id, said, judge)}


def verdicts_table(run_id: str, said: Iterable[tuple[str, Verdict]], judge: str = "") -> pa.Table:
    """The rows of `verdicts` for what was said of samples, each by its id."""
    verdicts = [
        (run_id, sample_id, v.step, v.curator, v.keep, v.score, v.threshold, v.reason)
        + (v.call_ids, v.transcript, v.revision.answer if v.revision else "", judge if v.call_ids else "")
        for sample_id, v in said
    ]
    return _table(VERDICTS, verdicts)


def add_tables(connection: duckdb.DuckDBPyConnection, tables: Tables) -> None:
    """Append rows to the tables of these names."""
    for name, rows in tables.items():
        connection.register("incoming", rows)
        connection.execute(f"INSERT INTO base.{name} SELECT * FROM incoming")
        connection.unregister("incoming")


def microseconds() -> int:
    """Now, UTC, as the store's timestamps count."""
    return time.time_ns() // 1000


def _sample_row(run_id: str, row: Judged, now: int) -> tuple[object, ...]:
    s = row.sample
    text = s.content
    return (
        (run_id, s.sample_id, row.position, s.kind, s.method, s.leaf, s.ordinal, s.attempt)
        + (s.status, s.step, s.reason, text.question, text.answer, text.context)
        + (s.parents, s.call_ids, s.model, s.text_hash, now, text.rejected, s.error)
        + (rest_json(text.rest), s.derived, s.source, row.key)
    )


def _table(schema: pa.Schema, rows: Sequence[Sequence[object]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)
