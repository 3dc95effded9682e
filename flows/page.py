"""What is told of a run for its page at a Prefect server, a line of JSON each, and what comes back. Light to import."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from seedbed.records import Frozen

State = Literal["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]


class Begin(Frozen):
    """The first line. `flow_run` is the id of one that Prefect has begun itself; else one is made by these names."""

    recipe: str
    flow: str = ""
    name: str = ""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    flow_run: str = ""


class Start(Frozen):
    """A stage begins."""

    kind: Literal["start"] = "start"
    number: int
    name: str


class End(Frozen):
    """A stage is over."""

    kind: Literal["end"] = "end"
    number: int
    state: State
    message: str = ""


class Move(Frozen):
    """How far the run is."""

    kind: Literal["move"] = "move"
    percent: float
    line: str


class Say(Frozen):
    """A notice of the run, for its log."""

    kind: Literal["say"] = "say"
    text: str


class Keep(Frozen):
    """A table, as JSON, or a Markdown text, which stays with the run. `name` is the end of its key."""

    kind: Literal["keep"] = "keep"
    name: str
    form: Literal["table", "markdown"]
    title: str
    data: str


class Close(Frozen):
    """The last line: how the run ended."""

    kind: Literal["close"] = "close"
    state: State
    message: str = ""


class Word(Frozen):
    """What the painter says: where the page is, or why it paints no more."""

    url: str = ""
    lost: str = ""


Told = Annotated[Start | End | Move | Say | Keep | Close, Field(discriminator="kind")]
TOLD: TypeAdapter[Told] = TypeAdapter(Told)
