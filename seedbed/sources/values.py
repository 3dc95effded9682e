"""Values of Arrow tables as JSON has them: dates and decimals as the text that stands for them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING

from seedbed.nested import MOST_DEPTH

if TYPE_CHECKING:
    import pyarrow as pa


class Foreign(ValueError):
    """A value that is none of JSON's and that no text stands for."""


def is_foreign(kind: pa.DataType, depth: int = 0) -> bool:
    """Whether an Arrow type holds values that JSON has none of, or is nested deeper than rows may be."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return is_foreign(kind.value_type, depth)
    if types.is_struct(kind) or types.is_list(kind) or types.is_large_list(kind):
        fields = [kind.field(n) for n in range(kind.num_fields)]
        return depth > MOST_DEPTH or any(is_foreign(field.type, depth + 1) for field in fields)
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)
    numbers = types.is_boolean(kind) or types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind)
    return not (texts or numbers)


def as_json(value: object, depth: int = 0) -> object:
    """The value with what JSON has none of as text. Raises Foreign for bytes, and where it is nested too deep."""
    if depth > MOST_DEPTH:
        raise Foreign(f"values are nested more than {MOST_DEPTH} deep")
    match value:
        case None | str() | bool() | int() | float():
            return value
        case bytes():
            raise Foreign("bytes, which are no text")
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case Mapping():
            return {str(name): as_json(item, depth + 1) for name, item in value.items()}
        case list() | tuple():
            return [as_json(item, depth + 1) for item in value]
    return str(value)
