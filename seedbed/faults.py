"""What is wrong with a mapping from a YAML file, in our words: pydantic finds it, we say where and what to write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from seedbed.yamlfile import Value, Where, nearest

Fault = tuple[Where, str, str]  # where, what is wrong, what to write
Advice = Mapping[tuple[type[BaseModel] | None, str], str]  # what to write, by a model and the name of its field


def fault(what: str, write: str) -> PydanticCustomError:
    """The error that a validator of ours raises: what is wrong, and what to write instead."""
    return PydanticCustomError("seedbed", "{what}. {write}", {"what": what, "write": write})


def read_options(
    given: dict[str, Value], where: Where, model: type[BaseModel], folder: Path, faults: list[Fault]
) -> BaseModel | None:
    """The options that a mapping gives, files in them taken from `folder`; None where faults were found and added."""
    names = {field.alias or name for name, field in model.model_fields.items()} | model.model_fields.keys()
    unknown = set() if model.model_config.get("extra") == "allow" else given.keys() - names
    faults += [((*where, key), f"unknown key {key!r}", nearest(key, names)) for key in unknown]
    known = {key: item for key, item in given.items() if key not in unknown}
    try:
        return model.model_validate(known, context={"folder": folder})
    except ValidationError as error:
        for detail in error.errors():
            owner = model if len(detail["loc"]) == 1 else None
            place, what, write = fault_of(detail, detail["loc"], owner, {})
            faults.append(((*where, *place), what, write))
        return None


def fault_of(detail: ErrorDetails, where: Where, owner: type[BaseModel] | None, advice: Advice) -> Fault:
    """What pydantic says, in our words; `owner` is the model that the last key belongs to, where it is known."""
    name = str(where[-1]) if where else "the value"
    fields = owner.model_fields if owner else {}
    told = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return where, f"{name} is missing", f"Add `{name}: …`"
        case "extra_forbidden":
            return where, f"unknown key {name!r}", nearest(name, fields)
        case "seedbed":
            return where, f"{name}: {told['what']}", str(told["write"])
        case "value_error":
            return where, f"{name}: {told['error']}", "Correct it"
    what = re.sub(r"^(Input|String|Value|List|Tuple)\b", name, detail["msg"])
    default = fields[name].default if name in fields else None
    write = f"Write for example {name}: {default}" if isinstance(default, int | float) else "Correct it"
    return where, what, advice.get((owner, name), "Put it in quotes" if detail["type"] == "string_type" else write)
