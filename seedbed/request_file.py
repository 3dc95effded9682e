"""Requests from a file, with the answers that it has to them, if any: JSON lines, JSON, CSV or Parquet.

The names of the columns are those in use: Seedbed's and TRL's own exports, AlpacaEval's outputs, plain prompt lists.
Rows with the same request are one request with several answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from seedbed.folders import out_of
from seedbed.literal_path import AS_IT_IS, literal
from seedbed.records import Answer, Request
from seedbed.yamlfile import BadInput, Problem

MOST_BYTES = 1 << 30  # its rows are held in memory
READERS = {
    ".jsonl": f"read_json_auto(?, format = 'newline_delimited', {AS_IT_IS})",
    ".json": f"read_json_auto(?, {AS_IT_IS})",
    ".csv": f"read_csv_auto(?, {AS_IT_IS})",
    ".parquet": f"read_parquet(?, {AS_IT_IS})",
}
QUESTIONS = ("question", "instruction", "prompt", "messages")
CONTEXTS = ("context", "input")
ANSWERS = ("answer", "output", "response", "completion")
AUTHORS = ("model", "generator", "author")

Row = Mapping[str, object]


def read_requests(path: Path) -> tuple[Request, ...]:
    """The requests of a file in its order, each once.

    Raises:
        BadInput: there is no such file, it cannot be read, or a row holds no request; the row is named.
    """
    rows = _rows(path)
    columns = tuple(rows[0]) if rows else ()
    if not rows or not any(name in columns for name in QUESTIONS):
        seen = f"its columns are {', '.join(columns)}" if rows else "it has no row"
        raise _bad(path, f"no requests in it: {seen}", f"Name the column of the requests {' or '.join(QUESTIONS)}")
    found: dict[tuple[str, str], list[Answer]] = {}
    for number, row in enumerate(rows, start=1):
        question, context = _question(path, number, row), _text(row, CONTEXTS)
        answers = found.setdefault((question, context), [])
        if answer := _answer(row):
            answers.append(Answer(answer, _text(row, AUTHORS)))
    return tuple(Request(question, context, tuple(answers)) for (question, context), answers in found.items())


def _rows(path: Path) -> list[dict[str, object]]:
    reader = READERS.get(path.suffix)
    if reader is None:
        raise _bad(path, f"no file of requests ends in {path.suffix!r}", f"Use one of {', '.join(READERS)}")
    if problem := out_of(path, path.parent):
        raise BadInput(problem)
    if not path.is_file():
        what = "there is no plain file of that name" if path.exists() else "there is no such file"
        raise _bad(path, what, "Correct the path: it is taken from the recipe's folder")
    if path.stat().st_size > MOST_BYTES:
        raise _bad(path, f"it is larger than {MOST_BYTES >> 20:,} MiB", "Split it")
    try:
        with duckdb.connect() as connection:
            connection.execute("SET enable_progress_bar = false")
            table = connection.sql(f"SELECT * FROM {reader}", params=[literal(path)]).to_arrow_table()
    except (duckdb.Error, ValueError) as error:  # Arrow's, where values are nested too deep
        raise _bad(path, f"it cannot be read: {str(error).splitlines()[0]}", "Correct the file") from error
    rows: list[dict[str, object]] = table.to_pylist()
    return rows


def _question(path: Path, number: int, row: Row) -> str:
    value = next((row[name] for name in QUESTIONS if row.get(name)), None)
    if isinstance(value, list):
        asked = [turn.get("content") for turn in value if isinstance(turn, dict) and turn.get("role") == "user"]
        if len(asked) != 1:
            what = f"row {number} is a chat with {len(asked)} turns of a user"
            raise _bad(path, what, "Leave only chats of one turn: candidates are answers to one request")
        [value] = asked
    if not isinstance(value, str) or not value.strip():
        raise _bad(path, f"row {number} has no request", "Give every row one, or take the row out")
    return value.strip()


def _answer(row: Row) -> str:
    chat = row.get("completion") or row.get("messages")
    if isinstance(chat, list):
        said = [turn.get("content") for turn in chat if isinstance(turn, dict) and turn.get("role") == "assistant"]
        return str(said[-1] or "") if said else ""
    return _text(row, ANSWERS)


def _text(row: Row, names: tuple[str, ...]) -> str:
    value = next((row[name] for name in names if row.get(name)), "")
    return value.strip() if isinstance(value, str) else ""


def _bad(path: Path, what: str, write: str) -> BadInput:
    return BadInput(Problem(str(path), 0, what, write))
