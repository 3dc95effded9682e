"""How a model is asked, beyond the prompt: what a recipe says of a model, and of a single step where that differs.

The same words mean the same for every engine. What decides an answer is part of the ledger's key, so that a model that
was asked with its thinking on is asked anew with it off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Field, JsonValue

from seedbed.engines import Messages, Sampling
from seedbed.faults import fault
from seedbed.records import Frozen, Message
from seedbed.replies import LEAST_MASS

Fields = Mapping[str, JsonValue]

_NOT_THE_TEMPLATES = frozenset(  # what decides how a template is used, and which
    ("chat_template", "conversation", "tools", "documents", "add_generation_prompt", "continue_final_message")
    + ("tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict", "tokenizer_kwargs")
    + ("return_assistant_tokens_mask",)
)


def _arguments(told: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if names := sorted(_NOT_THE_TEMPLATES & told.keys()):
        raise fault(f"{names[0]} is no argument of a chat template's own", "Write such as {enable_thinking: false}")
    return told


class Asked(Frozen):
    """What a recipe says of how a model is asked; what is left out is the method's own."""

    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Tokens that an answer may take, reasoning included; left out, what its examples need.",
    )
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="How boldly answers are drawn; left out, what the method says."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="The share of the probability that tokens are drawn from."
    )
    thinking: bool | None = Field(
        default=None,
        description="Switches thinking on or off, by the arguments `enable_thinking` and `thinking` of the model's "
        "chat template; left out, the template decides.",
    )
    template: Annotated[dict[str, JsonValue], AfterValidator(_arguments)] = Field(
        default={}, description="Further arguments of the chat template (`chat_template_kwargs` of a server)."
    )
    extra: dict[str, JsonValue] = Field(
        default={}, description="Further fields of each request to a server, such as reasoning_effort: low."
    )


class Asking(Asked):
    """What a recipe says of a model as a whole, and under `steps` of single steps by their names (see view `costs`)."""

    steps: dict[str, Asked] = Field(default={}, description="What differs for single steps, such as critique: {…}.")
    system_role: bool = Field(
        default=True, description="false: the model's template knows no system role; its text goes before the user's."
    )
    min_choice_mass: float = Field(
        default=LEAST_MASS,
        ge=0,
        le=1,
        description="Share of the probability that a judgement's options must hold together, or it is unreadable.",
    )


@dataclass(frozen=True, slots=True)
class Way:
    """How the calls of one step are asked; `key` is what of it decides answers beside the sampling, "" if nothing."""

    drawn: Mapping[str, Any] = field(default_factory=dict)  # what the recipe says in place of the method's sampling
    template: Fields = field(default_factory=dict)
    extra: Fields = field(default_factory=dict)
    system_role: bool = True
    key: str = ""

    def sampling(self, given: Sampling) -> Sampling:
        """The method's own sampling with what the recipe says."""
        return replace(given, **self.drawn) if self.drawn else given

    def messages(self, given: Messages) -> Messages:
        """The turns as the model's template takes them."""
        return given if self.system_role else without_system(given)


class Ways:
    """The ways of a model's steps, each worked out once."""

    def __init__(self, asking: Asking | None = None, omitted: tuple[str, ...] = ()) -> None:
        """`omitted` are fields that are left out of every request."""
        self._asking, self._omitted = asking or Asking(), omitted
        self._known: dict[str, Way] = {}
        self.least_mass = self._asking.min_choice_mass

    def of(self, step: str) -> Way:
        """How this step is asked."""
        way = self._known.get(step)
        if way is None:
            way = self._known[step] = self._made(step)
        return way

    def _made(self, step: str) -> Way:
        whole, own = self._asking, self._asking.steps.get(step) or Asked()
        told = {name: getattr(own, name) for name in own.model_fields_set}
        for name in ("template", "extra"):
            told[name] = getattr(whole, name) | getattr(own, name)
        asked = Asked.model_validate({name: getattr(whole, name) for name in Asked.model_fields} | told)
        switches = {} if asked.thinking is None else dict.fromkeys(("enable_thinking", "thinking"), asked.thinking)
        template = switches | asked.template
        decides = {
            "template": template,
            "extra": asked.extra,
            "omit": sorted(self._omitted),
            "system_role": None if whole.system_role else False,
        }
        key = {name: value for name, value in decides.items() if value not in ({}, [], None)}
        text = orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode() if key else ""
        drawn = {name: getattr(asked, name) for name in ("max_tokens", "temperature", "top_p")}
        drawn = {name: value for name, value in drawn.items() if value is not None}
        return Way(drawn, template, asked.extra, whole.system_role, text)


def without_system(messages: Messages) -> Messages:
    """The same turns with the system's text before the first turn of the user, for templates that know no system."""
    system = "\n\n".join(turn["content"] for turn in messages if turn["role"] == "system")
    rest = [turn for turn in messages if turn["role"] != "system"]
    if not system:
        return rest
    if rest and rest[0]["role"] == "user":
        return [Message(role="user", content=f"{system}\n\n{rest[0]['content']}"), *rest[1:]]
    return [Message(role="user", content=system), *rest]
