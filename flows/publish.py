"""Publishing a version: the store's facts become a tree, the tree is looked at, and what was looked at is pushed.

    built = build(store, version, folder, publication)   # nothing is sent; built.problems say what is to be mended
    pushed = push(built)                                  # one commit, or none where the Hub has it already

The command line and the Publish page call these two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters import card, manifest
from exporters.facts import UNKNOWN, Facts, Part
from exporters.hub import Changes, Pushed, Terms, Tree, compare, look, publish, tree_of
from exporters.hub_client import SIGN_IN, HubError, signed_in
from exporters.inspection import inspect
from exporters.manifest import write_manifest
from exporters.tree import appearing, write_data
from flows.card_facts import facts_of
from flows.keys import keys_in_use
from flows.publication import Publication
from seedbed import private
from seedbed.errors import InputError
from seedbed.options_file import read_options_file
from seedbed.store import Store
from seedbed.store.provenance import published_batches
from seedbed.store.selection import traits_of
from seedbed.store.versions import find_version

TREES = "trees"  # where trees are built, in the home folder


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of a built tree; `rows` is None for a text. `size` is in bytes."""

    path: str
    size: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class Built:
    """A tree that is on the disk and was looked at.

    `problems` keep it from being pushed, `notes` tell what was looked at. `changes` is what a push would do to the
    repository; None where the Hub was not asked, and `unasked` says why.
    """

    version: str
    folder: Path
    publication: Publication
    files: tuple[TreeFile, ...]
    card: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    changes: Changes | None
    unasked: str


def read_publication(path: Path | None, changes: Mapping[str, object]) -> Publication:
    """The options in a file, or the defaults, with some changed. Raises BadInput or InputError with every fault."""
    from pydantic import ValidationError

    given = read_options_file(path, Publication) if path else Publication()
    try:
        return Publication.model_validate({**given.model_dump(), **changes})
    except ValidationError as error:
        raise InputError("; ".join(detail["msg"] for detail in error.errors())) from error


def build(store: Store, name: str, folder: Path | None, publication: Publication) -> Built:
    """Build a version's tree in a folder (in the home where none is named), look at it, and ask the Hub what is there.

    Nothing is written to the Hub.

    Raises:
        InputError: there is no such version, it is empty, or the folder holds something else, if only beside a tree.
    """
    _no_telemetry()
    version = find_version(store, name)
    folder = folder or private.folder(store.home / TREES) / version
    there = manifest.manifest_of(folder)
    if folder.exists() and not (folder.is_dir() and (there or not any(folder.iterdir()))):
        raise InputError(f"{folder} is there and holds no tree of Seedbed's: name a new folder with --out")
    facts = facts_of(store, version, publication)
    with appearing(folder, {*there.files, manifest.FILE} if there else ()) as part:
        batches = published_batches(store, version, publication.held_out)
        parts = write_data(batches, publication.form, part, traits=traits_of(store, version))
        if not parts:
            raise InputError(f"{version} has no sample to publish; `seedbed versions` lists what there is")
        (part / card.FILE).write_text(card.write_card(facts, parts), encoding="utf-8")
        write_manifest(facts, parts, part)
        seen = inspect(part, parts, keys_in_use(store))
    changes, unasked = _ask(publication, tree_of(folder))
    return Built(
        version=version,
        folder=folder,
        publication=publication,
        files=_files(folder, parts),
        card=(folder / card.FILE).read_text(encoding="utf-8"),
        problems=(*seen.problems, *_unlicensed(facts, publication)),
        notes=seen.notes,
        changes=changes,
        unasked=unasked,
    )


def push(built: Built) -> Pushed:
    """Push what was built and looked at to the repository that its card names.

    Raises:
        InputError: it has problems, or no repository.
        HubError: the Hub did not take it; the message says what is there and what to do.
    """
    _no_telemetry()
    if built.problems:
        raise InputError("not pushed: " + "; ".join(built.problems))
    if not built.publication.repo:
        raise InputError("no repository: name one as OWNER/NAME on the command line, or as `repo:` in the options")
    return publish(built.publication.repo, tree_of(built.folder), _terms(built.publication))


def _ask(publication: Publication, tree: Tree) -> tuple[Changes | None, str]:
    """What a push would change, or why the Hub was not asked."""
    if not publication.repo:
        return None, "no repository is named"
    if not signed_in():
        return None, f"there is no token. {SIGN_IN}"
    try:
        return compare(look(publication.repo, waits=()), tree, _terms(publication)), ""
    except HubError as error:
        return None, str(error)


def _terms(publication: Publication) -> Terms:
    return Terms(public=publication.public, take_over=publication.take_over)


def _files(folder: Path, parts: Sequence[Part]) -> tuple[TreeFile, ...]:
    texts = [TreeFile(name, (folder / name).stat().st_size, None) for name in (card.FILE, manifest.FILE)]
    return (*(TreeFile(part.path, part.size, part.rows) for part in parts), *texts)


def _unlicensed(facts: Facts, publication: Publication) -> list[str]:
    """Models whose words are published under a licence that nobody has named."""
    unknown = [one.name for one in facts.teachers if one.licence == UNKNOWN and (one.rows or "writer" in one.roles)]
    if not unknown or publication.allow_unknown_licence:
        return []
    return [
        f"the licence of {', '.join(unknown)} is unknown: write `model_licences: {{{unknown[0]}: …}}` in the options, "
        "or `allow_unknown_licence: true`; the card then says that it is not known"
    ]


def _no_telemetry() -> None:
    """huggingface_hub reads this when it is first imported: nothing but what was asked for is sent."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
