"""The files of batches: those in our folder, and the answers that a provider sends. Neither is taken at its word.

What of ours is damaged is set aside under another name, and said; what of the provider's says nothing is counted.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from seedbed import private
from seedbed.engines.batch_api import ID, MOST_BYTES
from seedbed.folders import read_whole

_CALL = re.compile(r"[0-9a-f]{32}")

_log = logging.getLogger(__name__)


class Line(NamedTuple):
    """What a line of answers says of a call: the completion, or why there is none."""

    call: str
    answer: bytes
    why: str


class Fetched(NamedTuple):
    """The answers of a batch, and how many lines say nothing of any call."""

    lines: tuple[Line, ...]
    damaged: int


def write(path: Path, content: bytes) -> None:
    """The whole file or none, also when the power fails. Raises OSError."""
    part = path.with_suffix(".part")
    try:
        with private.opened(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def set_aside(path: Path, why: str) -> None:
    """Give a damaged file another name, and say so. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    _log.warning("%s is damaged (%s): set aside as %s", path, why, aside.name)


def call_line(call: str, body: bytes) -> bytes:
    """A call as a line of the file that is sent."""
    return b'{"custom_id":"%b","method":"POST","url":"/v1/chat/completions","body":%b}\n' % (call.encode(), body)


def read_calls(path: Path) -> tuple[set[str], str]:
    """The calls of a file that was to be sent, and what is wrong with it, or ""."""
    try:
        lines = read_whole(path, MOST_BYTES).splitlines()
    except OSError as error:
        return set(), error.strerror or str(error)
    calls = {call for line in lines if _CALL.fullmatch(call := _text_at(line, "custom_id"))}
    wrong = len(lines) - len(calls)
    return calls, f"{wrong} of {len(lines)} lines are no calls of ours" if wrong else "" if calls else "it is empty"


def read_id(path: Path) -> str:
    """The provider's id of a batch, as it was noted; "" where it was not, or the note is damaged. Raises OSError."""
    if not path.exists():
        return ""
    try:
        noted = read_whole(path, 1 << 10).decode()
    except (OSError, UnicodeDecodeError) as error:
        noted = f"unreadable: {error}"
    if ID.fullmatch(noted):
        return noted
    set_aside(path, f"{noted[:40]!r} is no id")
    return ""


def read_answers(path: Path) -> tuple[Fetched, bool]:
    """The answers that were fetched, and whether they are whole; damaged ones are set aside. Raises OSError."""
    if not path.exists():
        return Fetched((), 0), False
    try:
        found = answers_in(read_whole(path, MOST_BYTES))
    except OSError as error:
        set_aside(path, error.strerror or str(error))
        return Fetched((), 0), False
    if found.damaged or not found.lines:
        set_aside(path, f"{found.damaged} lines are no answers" if found.lines else "it holds no answer")
        return found, False
    return found, True


def answers_in(content: bytes) -> Fetched:
    """What a provider's lines say."""
    lines = [_answer(line) for line in content.splitlines() if line.strip()]
    return Fetched(tuple(filter(None, lines)), lines.count(None))


def _answer(line: bytes) -> Line | None:
    call, found = _text_at(line, "custom_id"), _loaded(line)
    if not call:
        return None
    response = found.get("response")
    response = response if isinstance(response, dict) else {}
    body, status = response.get("body"), response.get("status_code")
    if str(status) == "200":
        try:
            return Line(call, orjson.dumps(body), "")
        except orjson.JSONEncodeError:  # nested without end
            return None
    said = found.get("error") or (body.get("error") if isinstance(body, dict) else body) or response
    return Line(call, b"", f"HTTP {status or '?'}: {words(said)}")


def _loaded(line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _text_at(line: bytes, key: str) -> str:
    found = _loaded(line).get(key)
    return found if isinstance(found, str) else ""


def words(said: object) -> str:
    """What a provider says went wrong, on one line."""
    message = said.get("message") if isinstance(said, dict) else said
    return " ".join(str(message or said).split())[:200]


def first_error(batch: dict[str, Any]) -> str:
    """Why a batch failed, if it says so; "" else."""
    return next(_errors(batch.get("errors")), "")


def _errors(told: object) -> Iterator[str]:
    listed = told.get("data") if isinstance(told, dict) else told
    if isinstance(listed, list):
        yield from (words(error) for error in listed if error)
    elif told:
        yield words(told)
