"""A recipe: which models, which taxonomy, which methods in which order. Python and YAML mean the same thing.

The methods' options models are handed in, because nothing here may import a method. A YAML recipe's faults are
reported all at once, each with its line and what to write instead; secrets in it are refused, never repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import models_json_schema
from pydantic_core import ErrorDetails

from seedbed.asking import Asked, Asking
from seedbed.credentials import ENV_ADVICE
from seedbed.engines.device import usual_rows
from seedbed.engines.smollm2 import EMBEDDED
from seedbed.faults import Advice, Fault, fault, fault_of, read_options
from seedbed.options_file import refuse
from seedbed.prices import Price
from seedbed.records import Frozen
from seedbed.vllm_recipe import VllmArguments, VllmModel
from seedbed.yamlfile import BadInput, Loaded, Value, Where, kind, load, nearest

Options = Mapping[str, type[BaseModel]]  # a method's name and the model of its options


class TransformersModel(Asking):
    """A model run in this process: the embedded one, or a local folder or name on the hub."""

    model_config = ConfigDict(hide_input_in_errors=True)

    engine: Literal["transformers"] = Field(default="transformers", description="In this process.")
    model: Annotated[str, Field(min_length=1)] = Field(
        default=EMBEDDED, description="smollm2-135m, a local folder, or a name on the Hugging Face Hub."
    )
    revision: str = Field(default="", description="Of a model on the Hub: branch, tag or commit.")
    licence: str = Field(default="unknown", description="Recorded with every run; known for the embedded model.")
    concurrency: Annotated[int, Field(ge=1)] = Field(
        default_factory=usual_rows, description="Calls in a batch, at most: on a CPU 32, else 128."
    )

    @model_validator(mode="after")
    def _no_fields(self) -> Self:
        if self.extra or any(step.extra for step in self.steps.values()):
            raise fault("extra: a model in this process is sent no fields", "Write template: for its chat template")
        return self


def _base_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        known = False
    if not known:
        raise fault("this is no web address", "Write one such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise fault("the address holds a name or password", ENV_ADVICE)
    if parts.query or parts.fragment:
        raise fault(
            "the address holds a query or a fragment",
            "Write one such as http://127.0.0.1:8000/v1, and what stands behind the ? under query: {api-version: …}",
        )
    return url.rstrip("/")


def _header(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise fault("this is no text of a header", "Write plain ASCII on one line")
    return value


Header = Annotated[str, Field(min_length=1), AfterValidator(_header)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class HttpModel(Asking):
    """A model behind an OpenAI-compatible server. `api_key_env` names an environment variable; never the key."""

    model_config = ConfigDict(hide_input_in_errors=True)

    engine: Literal["http"] = Field(default="http", description="An OpenAI-compatible server.")
    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        description="Where it is, such as http://127.0.0.1:8000/v1."
    )
    model: Annotated[str, Field(min_length=1)] = Field(description="The model's name there.")
    revision: str = Field(
        default="unspecified", description="Which edition it is: recorded with every call, and part of its identity."
    )
    licence: str = Field(default="unknown", description="Recorded with every run.")
    api_key_env: Variable | None = Field(
        default=None, description="Name of the environment variable that holds the key."
    )
    headers: dict[HeaderName, Header] = Field(default={}, description="Further headers of each request.")
    headers_from_env: dict[HeaderName, Variable] = Field(
        default={}, description="Headers whose values are secrets, by the environment variables that hold them."
    )
    query: dict[Header, Header] = Field(
        default={}, description="What stands behind the ? of every address, such as api-version: 2024-10-21."
    )
    omit: tuple[str, ...] = Field(default=(), description="Fields that the server refuses, such as seed, temperature.")
    rename: dict[str, str] = Field(
        default={}, description="Fields under another name, such as max_tokens: max_completion_tokens."
    )
    top_logprobs: int = Field(default=20, ge=1, le=20, description="Likeliest tokens that a judgement asks for.")
    concurrency: Annotated[int, Field(ge=1)] = Field(default=64, description="Calls in flight, at most.")
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False, description="Seconds that one call may take")] = 120.0
    retries: Annotated[int, Field(ge=0)] = Field(default=4, description="Further tries of a call that fails.")
    price: Price | None = Field(default=None, description="Left out: what seedbed/prices.yaml has, else unknown.")
    batch: Annotated[bool, Field(description="Use the provider's batch API: within a day, at its lower price")] = False


ENGINES: dict[str, type[BaseModel]] = {"transformers": TransformersModel, "http": HttpModel, "vllm": VllmModel}


def _model(value: object) -> object:
    """A model's short name as its mapping; a clear word for what no engine of ours is."""
    if isinstance(value, str):
        if value == EMBEDDED:
            return {"engine": "transformers", "model": value}
        write = (
            f"{nearest(value, [EMBEDDED])}. Any other model: {{engine: transformers, model: …}} or {{engine: http, …}}"
        )
        raise fault(f"unknown model {value!r}", write)
    if isinstance(value, dict):
        engine = value.get("engine")
        if engine is None:
            raise fault(
                "engine is missing",
                "Add engine: transformers (in this process), engine: http (a server) or engine: vllm (started for you)",
            )
        if not isinstance(engine, str) or engine not in ENGINES:
            raise fault(f"unknown engine {engine!r}", nearest(str(engine), ENGINES))
    elif not isinstance(value, BaseModel):
        raise fault(
            f"this is {kind(value)}, not a model", f"Write {EMBEDDED}, or {{engine: http, base_url: …, model: …}}"
        )
    return value


def _taxonomy(path: Path, info: ValidationInfo) -> Path:
    """The folder, looked for beside the recipe first, then where we stand."""
    folders = [Path((info.context or {}).get("folder", ".")), Path()]
    for folder in folders:
        if (folder / path).is_dir():
            return (folder / path).resolve()
    looked = " and ".join(dict.fromkeys(str((folder / path).resolve()) for folder in folders))
    raise fault(f"there is no folder {str(path)!r} (looked for {looked})", "Correct the path, or make the folder")


Model = Annotated[
    Annotated[TransformersModel | HttpModel | VllmModel, Field(discriminator="engine")],
    BeforeValidator(_model),
]


class Step(Frozen):
    """One method with its options."""

    name: str
    options: SerializeAsAny[InstanceOf[BaseModel]]


class Budget(Frozen):
    """What a run may spend; it then stops between calls, and running it again takes it up."""

    tokens: Annotated[int, Field(gt=0)] | None = Field(default=None, description="Tokens, in and out together.")
    usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(default=None, description="US dollars.")
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Minutes from the command's start."
    )


class Recipe(Frozen):
    """Everything that decides what a run makes. `judge` left out: the model judges its own work.

    `pool` are further models, whose answers stand beside the model's own where answers are compared.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = Field(
        description="Names the data; ids are made from it."
    )
    model: Model = Field(description="The model that writes.")
    judge: Model | None = Field(default=None, description="The model that judges; left out, the one that writes.")
    pool: tuple[Model, ...] = Field(
        default=(), description="Further models whose answers stand beside the model's own."
    )
    taxonomy: Annotated[Path, AfterValidator(_taxonomy)] | None = Field(
        default=None, description="Folder of the leaves, from the recipe's folder."
    )
    generate: Annotated[tuple[Step, ...], Field(min_length=1)] = Field(
        description="How samples are made: methods with their options."
    )
    curate: tuple[Step, ...] = Field(
        default=(), description="What they must pass, in this order: methods with their options."
    )
    budget: Budget = Field(
        default=Budget(), description="What one command may spend before it stops, to be taken up again."
    )

    @property
    def models(self) -> tuple[TransformersModel | HttpModel | VllmModel, ...]:
        """The model, the judge, which may be the same, and the pool."""
        return (self.model, self.judge or self.model, *self.pool)


ADVICE: Advice = {
    (Recipe, "name"): "Write lower-case letters, digits, - and _, at most 64, such as support-desk",
    (HttpModel, "api_key_env"): ENV_ADVICE,
}


def read_recipe(source: Path | Loaded, generators: Options, curators: Options) -> Recipe:
    """The recipe in a YAML file, or one that is loaded, its paths taken from the file's folder.

    Raises:
        BadInput: anything wrong with it, all at once.
    """
    loaded = load(source) if isinstance(source, Path) else source
    value = loaded.value
    if not isinstance(value, dict):
        raise BadInput(loaded.problem((), f"the recipe is {kind(value)}", "Write name:, model: and generate: lines"))
    value = {key: item for key, item in value.items() if item is not None}  # `budget:` with nothing under it
    faults: list[Fault] = []
    folder = loaded.file.parent
    steps = {
        "generate": _steps(value, "generate", (generators, curators), folder, faults),
        "curate": _steps(value, "curate", (curators, generators), folder, faults),
    }
    try:
        recipe = Recipe.model_validate({**value, **steps}, context={"folder": folder})
    except ValidationError as error:
        faults += [_recipe_fault(detail) for detail in error.errors() if detail["loc"][0] not in steps]
    refuse(loaded, value, faults)
    return recipe


def _steps(
    value: dict[str, Value], key: str, tables: tuple[Options, Options], folder: Path, faults: list[Fault]
) -> list[Step]:
    """The steps under `generate` or `curate`; `tables` holds that list's methods, then those of the other."""
    entries = value.get(key)
    if isinstance(entries, list) and entries:
        found = [_step(entry, (key, at), tables, folder, faults) for at, entry in enumerate(entries)]
        return [step for step in found if step]
    if key == "generate" or entries not in (None, []):
        what = "missing" if key not in value else "empty" if entries in (None, []) else f"{kind(entries)}, not a list"
        faults.append(((key,), f"{key} is {what}", f"Write {key}: and under it `- METHOD`. {nearest('', tables[0])}"))
    return []


def _step(
    entry: Value, where: Where, tables: tuple[Options, Options], folder: Path, faults: list[Fault]
) -> Step | None:
    name: str
    given: Value = None
    match entry:
        case str():
            name = entry
        case dict() if len(entry) == 1:
            name, given = next(iter(entry.items()))
        case dict():
            write = "Write one `- METHOD:` an item, and indent its options by four more spaces than its dash"
            faults.append((where, f"this step has {len(entry)} keys: {', '.join(entry)}", write))
            return None
        case _:
            faults.append((where, f"this step is {kind(entry)}", "Write `- METHOD` or `- METHOD: {option: value}`"))
            return None
    if name not in tables[0]:
        other = {"generate": "curate", "curate": "generate"}[str(where[0])]
        hint = f"Move it to {other}:" if name in tables[1] else nearest(name, tables[0])
        faults.append((where, f"unknown method {name!r} in {where[0]}", hint))
        return None
    if not isinstance(given, dict | None):
        faults.append(((*where, name), f"the options of {name} are {kind(given)}", f"Write {name}: {{option: value}}"))
        return None
    options = read_options(given or {}, (*where, name), tables[0][name], folder, faults)
    return Step(name=name, options=options) if options else None


def _recipe_fault(detail: ErrorDetails) -> Fault:
    where, owner = detail["loc"], Recipe if len(detail["loc"]) == 1 else None
    at = 2 if where[0] == "pool" else 1  # pydantic puts the engine's name after the key
    if where[0] in ("model", "judge", "pool") and len(where) > at:
        inner: dict[str, type[BaseModel]] = {"args": VllmArguments, "steps": Asked}
        named = (inner.get(str(where[at + 1])) if len(where) > at + 2 else None) or ENGINES.get(str(where[at]))
        return fault_of(detail, (*where[:at], *where[at + 1 :]), named, ADVICE)
    return fault_of(detail, where, Budget if where[0] == "budget" else owner, ADVICE)


def recipe_schema(generators: Options, curators: Options) -> dict[str, Any]:
    """JSON schema of a recipe file, for editors."""
    models: list[type[BaseModel]] = [Recipe, Step, *ENGINES.values(), *generators.values(), *curators.values()]
    named, shared = models_json_schema([(model, "validation") for model in dict.fromkeys(models)])
    references = {model: reference for (model, _), reference in named.items()}
    definitions: dict[str, Any] = shared["$defs"]

    def definition(model: type[BaseModel]) -> str:
        return str(references[model]["$ref"].rpartition("/")[2])

    recipe = definitions.pop(definition(Recipe))
    definitions.pop(definition(Step))
    definitions.pop("BaseModel", None)  # what a step's options are before their method is known
    for engine in ENGINES.values():  # a default in Python, but in a file the word that tells the engines apart
        definitions[definition(engine)].setdefault("required", []).append("engine")
    properties = recipe["properties"]
    for holder, key in ((properties, "model"), (properties, "judge"), (properties["pool"], "items")):
        told = {"description": holder[key].pop("description")} if "description" in holder[key] else {}
        holder[key] = {**told, "anyOf": [{"const": EMBEDDED}, holder[key]]}
    for key, methods in (("generate", generators), ("curate", curators)):
        forms = [form for name, model in methods.items() for form in _step_forms(name, model, references[model])]
        told = {"description": properties[key]["description"]}
        properties[key] = {**told, "type": "array", "items": {"oneOf": forms}}
    properties["generate"]["minItems"] = 1
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **recipe, "$defs": definitions}


def _step_forms(name: str, model: type[BaseModel], reference: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A step as its bare name, where every option has a default, and as its name with options."""
    bare = not any(field.is_required() for field in model.model_fields.values())
    if bare:
        yield {"const": name}
    options: dict[str, Any] = {"anyOf": [reference, {"type": "null"}]} if bare else dict(reference)
    options["description"] = (model.__doc__ or name).partition("\n")[0]
    yield {"type": "object", "properties": {name: options}, "required": [name], "additionalProperties": False}
