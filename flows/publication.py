"""How a version is to be published: the options of `seedbed push`, as Python or as a YAML file."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from seedbed.faults import fault
from seedbed.records import Frozen

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def _repo(name: str) -> str:
    odd = "--" in name or ".." in name or name.endswith((".", "-", ".git")) or len(name) > 96
    if name and (odd or not _NAME.fullmatch(name)):
        raise fault(f"{name!r} is no name of a repository", "Write OWNER/NAME, such as my-team/support-desk")
    return name


def _license(name: object) -> object:
    folded = name.lower() if isinstance(name, str) else name
    if isinstance(folded, str) and folded and not _LICENSE.fullmatch(folded):
        raise fault(f"{name!r} is no licence's short name", "Write one such as apache-2.0, cc-by-4.0, mit or other")
    return folded


class Publication(Frozen):
    """What is published where and under which terms. Private, and refused while a licence is not known."""

    repo: Annotated[str, AfterValidator(_repo)] = Field(
        default="", description="The data set's name on the Hub, OWNER/NAME; the command line goes before it."
    )
    license: Annotated[str, BeforeValidator(_license)] = Field(
        default="", description="The data's licence by its short name on the Hub. There is no default: say which."
    )
    language: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = Field(
        default=(), description="Languages of the texts, as ISO codes; left out, they are measured."
    )
    pretty_name: str = Field(default="", max_length=100, description="The card's title; else the version's name.")
    form: Literal["messages", "prompt-completion"] = Field(
        default="messages",
        description="Columns of chats; pairs are always `preference`, and other kinds have their own.",
    )
    held_out: float = Field(
        default=0.1, ge=0, le=0.5, description="Share in the split `test`, by what the rows are about."
    )
    public: bool = Field(default=False, description="Whether everybody may see it; a new repository is private else.")
    model_licences: dict[str, str] = Field(
        default={}, description="Licences of models, where the recipe did not name them: model: licence."
    )
    allow_unknown_licence: bool = Field(
        default=False, description="Publish words of models of unknown licence; the card then says so."
    )
    take_over: bool = Field(
        default=False, description="Write into a repository of others, or over what others changed in yours."
    )
