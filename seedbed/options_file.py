"""A YAML file of options, read into a pydantic model as strictly as a recipe and with the same kind of errors."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from seedbed.credentials import ENV_ADVICE, secret_places
from seedbed.faults import Fault, read_options
from seedbed.yamlfile import BadInput, Loaded, Value, kind, load

T = TypeVar("T", bound=BaseModel)


def read_options_file(source: Path | Loaded, model: type[T]) -> T:
    """The options in a file; a key with nothing after it keeps its default. Raises BadInput with every fault."""
    loaded = load(source) if isinstance(source, Path) else source
    value = {} if loaded.value is None else loaded.value
    if not isinstance(value, dict):
        write = f"Write `key: value` lines: {', '.join(model.model_fields)}"
        raise BadInput(loaded.problem((), f"the file is {kind(value)}", write))
    value = {key: item for key, item in value.items() if item is not None}
    faults: list[Fault] = []
    options = read_options(value, (), model, loaded.file.parent, faults)
    refuse(loaded, value, faults)
    assert isinstance(options, model)  # or there was a fault
    return options


def refuse(loaded: Loaded, value: Value, faults: list[Fault]) -> None:
    """Raise BadInput with these faults and the secrets of a file, in the order of their lines, if there are any."""
    secrets = dict.fromkeys(secret_places(value))
    # Of a secret only its place is told, or another fault's text would repeat it.
    faults = [found for found in faults if found[0] not in secrets]
    faults += [(where, f"{where[-1]} holds a secret", ENV_ADVICE) for where in secrets]
    if faults:
        problems = [loaded.problem(*found) for found in faults]
        raise BadInput(*sorted(problems, key=lambda problem: problem.line))
