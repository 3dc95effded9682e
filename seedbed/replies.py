"""Reading what a model wrote. Unreadable is an outcome with a name, never a default and never silence."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

T = TypeVar("T", bound=BaseModel)


class Unreadable(Exception):
    """An answer that is not what was asked for: which step, why, and the raw text."""

    def __init__(self, step: str, why: str, raw: str, tokens_in: int = 0) -> None:
        super().__init__(f"{step}: {why}")
        self.step, self.why, self.raw, self.tokens_in = step, why, raw, tokens_in


def read(text: str, schema: type[T], step: str) -> T:
    """The JSON object in `text` as `schema`; fences and prose around it are tolerated, small slips mended.

    Raises:
        Unreadable: the answer is empty, holds no JSON object, breaks off, or has the wrong fields.
    """
    if not text.strip():
        raise Unreadable(step, "empty answer", text)
    try:
        return _storable(schema.model_validate_json(text), step, text)
    except ValidationError:
        start, end = text.find("{"), text.rfind("}")
    if start < 0:
        raise Unreadable(step, "no JSON object in the answer", text)
    if end < start:
        raise Unreadable(step, "the JSON breaks off", text)
    import json_repair  # only broken answers pay for its import

    try:
        return _storable(schema.model_validate(json_repair.loads(text[start : end + 1])), step, text)
    except (ValidationError, ValueError) as error:
        raise Unreadable(step, f"JSON of the wrong shape ({_first(error)})", text) from error


def _storable(found: T, step: str, text: str) -> T:
    """JSON can spell half a character (a lone surrogate), which no store, hash or file will take."""
    try:
        found.model_dump_json()
    except ValueError as error:
        raise Unreadable(step, "half a character in the answer", text) from error
    return found


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, problem['loc'])) or 'answer'}: {problem['msg']}"
    return str(error)
