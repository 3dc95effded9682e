"""A line of the journal: a call as JSON, and before all else a checksum of it, by which damage is known.

    {"crc":"5e2b07c1","call_id":"9f…","run_id":…}

The checksum is of the object without it. DuckDB reads such lines as they are and passes over the first field. Lines
without one are of journals that Seedbed 0.1.0 wrote: what they hold is looked at instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from zlib import crc32

import orjson

from seedbed.engines import EngineError

LONGEST = 128 * 2**20  # bytes: 16 MiB of prompt and 16 of answer, written as JSON at its worst
LONGEST_PROMPT = 16 * 2**20

_OPENED = crc32(b"{")
_SUM = b'{"crc":"%08x",'
_REST = len(_SUM % 0)
_BEGINS = re.compile(rb'(?=\{"(?:crc|call_id)":")')  # of a line; inside of one its quotes would be escaped
_TEXTS = ("run_id", "step", "model", "revision", "prompt", "request", "response", "finish", "status", "error")
_COUNTS = ("tokens_in", "tokens_out")
_CALL_ID = re.compile(r"[0-9a-f]{24}")


def line_of(call: Mapping[str, object]) -> bytes:
    """A call as a line. Raises EngineError where it is too long ever to be read again."""
    written = orjson.dumps(call)
    if len(written) > LONGEST - _REST:
        raise EngineError(f"the call takes {len(written) / 2**20:.0f} MiB to record, and 128 MiB are the most")
    return b'{"crc":"%08x",%b\n' % (crc32(written), written[1:])  # as `_SUM` has it, in one go


def check_prompt(prompt: bytes) -> None:
    """Raise EngineError if a call with this prompt could not be recorded, before it is paid for."""
    if len(prompt) > LONGEST_PROMPT:
        raise EngineError(
            f"the prompt is of {len(prompt) / 2**20:.0f} MiB, more than any model reads (16 MiB at most): "
            "give it shorter documents"
        )


def is_whole(line: bytes) -> bool:
    """Whether a line, with or without its end, is a call as it was written."""
    line = line.rstrip(b"\n")
    if line.startswith(b'{"crc":"'):
        return line[:_REST] == _SUM % crc32(memoryview(line)[_REST:], _OPENED)
    return line.startswith(b'{"call_id":"') and _is_call(line)


def sorted_out(line: bytes) -> tuple[list[bytes], bytes]:
    """The calls in what stands on one line, whose end may be damaged too, and the rest of it."""
    whole, rest = list[bytes](), b""
    for part in _BEGINS.split(line):
        found = next((some for some in (part, part.rstrip(b"\n")[:-1]) if is_whole(some)), b"")
        if found:
            whole.append(found.rstrip(b"\n") + b"\n")
        else:
            rest += part
    return whole, rest


def _is_call(line: bytes) -> bool:
    try:
        call = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return (
        _CALL_ID.fullmatch(str(call.get("call_id"))) is not None
        and all(isinstance(call.get(name), str) for name in _TEXTS)
        and all(type(call.get(name)) is int and abs(call[name]) < 2**31 for name in _COUNTS)
        and type(call.get("created_at")) is int
        and abs(call["created_at"]) < 2**58
        and type(call.get("seconds")) in (int, float)
        and type(call.get("usd")) in (int, float, type(None))
    )
