"""A taxonomy: a tree of folders whose leaves hold a `qna.yaml` with worked examples (LAB, arXiv 2403.01081).

Reads InstructLab's versions 1 to 3 as they are, and one key of ours: `documents`, files beside the qna.yaml.
Every fault of every file is reported at once, each with the line that it stands on.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from seedbed.document_formats import Unreadable
from seedbed.documents import read_document
from seedbed.folders import entries_of, is_folder, is_hidden, leads_to
from seedbed.records import Document, Leaf, Seed
from seedbed.yamlfile import BadInput, Loaded, Problem, Value, Where, kind, load, nearest

FILE_NAMES = ("qna.yaml", "qna.yml")
KNOWLEDGE_KEYS = {"domain", "document", "document_outline", "documents"}
KEYS = KNOWLEDGE_KEYS | {"version", "created_by", "task_description", "seed_examples"}
PAIR_KEYS = {"question", "answer", "context", "attribution"}
EXAMPLE = "`seed_examples:` and under it `- question: …` and `  answer: …`"


def read_taxonomy(root: Path) -> tuple[Leaf, ...]:
    """The leaves under a folder, sorted by path; folders whose name starts with a dot are left out.

    Raises:
        BadInput: no leaf, or anything wrong with any of them.
    """
    problems: list[Problem] = []
    files = sorted(_files(root, problems))
    _refuse_twins(root, files, problems)
    leaves = [leaf for file in files if (leaf := _leaf(root, file, problems))]
    if not files and not problems:
        write = f"Write a file such as {root / 'compositional_skills/greeting/qna.yaml'} with {EXAMPLE}"
        problems.append(
            Problem(str(root), 0, f"the taxonomy is empty: no qna.yaml in or below {root.resolve()}", write)
        )
    if problems:
        raise BadInput(*sorted(problems, key=lambda problem: (problem.file, problem.line)))
    return tuple(sorted(leaves, key=lambda leaf: leaf.path))


def _under(file: Path, base: Path) -> str:
    return file.relative_to(base).as_posix()


def _files(root: Path, problems: list[Problem]) -> Iterator[Path]:
    if not root.is_dir():
        what = f"the taxonomy {'is no folder' if root.exists() else 'does not exist'}: {root.resolve()}"
        problems.append(Problem(str(root), 0, what, "Give the folder that holds the tree of qna.yaml files"))
        return
    waiting = [root]
    while waiting:  # no recursion: folders may be nested however deep
        folder = waiting.pop()
        entries = entries_of(folder, problems)
        _refuse_misnamed(folder, root, entries, problems)
        for entry in entries:
            if not is_folder(entry):
                if entry.name.casefold() in FILE_NAMES:
                    yield folder / entry.name
            elif entry.is_symlink() and not is_hidden(entry.name):
                target = os.path.realpath(entry)
                what = f"this folder is a link to {target}, and links to folders are not followed"
                problems.append(Problem(entry.path, 0, what, "Put a copy of the folder here"))
            elif not is_hidden(entry.name):
                waiting.append(folder / entry.name)


def _refuse_misnamed(folder: Path, root: Path, entries: Sequence[os.DirEntry[str]], problems: list[Problem]) -> None:
    """A leaf whose file has another name would be left out in silence; beside the root's folders lie other things."""
    files = [Path(entry.name) for entry in entries if not is_folder(entry) and not is_hidden(entry.name)]
    if folder == root or any(file.name.casefold() in FILE_NAMES for file in files):
        return
    for file in files:
        if file.suffix.lower() in (".yaml", ".yml"):
            what = "this folder has no qna.yaml, and no other file is read as a leaf"
            problems.append(
                Problem(str(folder / file), 0, what, "Rename it to qna.yaml, or take it out of the taxonomy")
            )


def _refuse_twins(root: Path, files: list[Path], problems: list[Problem]) -> None:
    """One leaf in two files; also two that differ in case only, which are one on macOS and Windows."""
    seen: dict[str, Path] = {}
    for file in files:
        key = unicodedata.normalize("NFC", _under(file.parent, root)).casefold()
        first = seen.setdefault(key, file)
        if first is not file:
            what = f"the leaf {_under(file.parent, root)} is here twice: also as {first}"
            problems.append(Problem(str(file), 1, what, "Keep one of the two files, or rename its folder"))


@dataclass(frozen=True, slots=True)
class _Page:
    """A leaf's file while it is read: what it says, and the faults found so far."""

    loaded: Loaded
    problems: list[Problem] = field(default_factory=list)

    def fault(self, where: Where, what: str, write: str) -> None:
        self.problems.append(self.loaded.problem(where, what, write))

    def text(self, parent: dict[str, Value], where: Where, *, empty: bool = False) -> str:
        """The text at a key, without the line ends that YAML's block styles leave around it."""
        name = str(where[-1])
        if name not in parent:
            if not empty:
                self.fault(where, f"{name} is missing", f"Add `{name}: …`")
            return ""
        value = parent[name]
        if isinstance(value, str):
            if not value.strip() and not empty:
                self.fault(where, f"{name} is empty", "Write its text, or take the example out")
            return value.strip("\n").rstrip()
        if value is None and empty:
            return ""
        how = "Put it in quotes" if isinstance(value, bool | int | float) else f"Write `{name}: …` as one text"
        self.fault(where, f"{name} is {kind(value)}, not a text", how)
        return ""

    def keys(self, value: dict[str, Value], where: Where, known: set[str]) -> None:
        for key in value.keys() - known:
            self.fault((*where, key), f"unknown key {key!r}", nearest(key, known))

    def items(self, parent: dict[str, Value], where: Where, write: str) -> list[Value]:
        """The list at a key, which must have an item."""
        name, value = str(where[-1]), parent.get(str(where[-1]))
        if isinstance(value, list) and value:
            return value
        what = "missing" if name not in parent else "empty" if value in ([], None) else f"{kind(value)}, not a list"
        self.fault(where, f"{name} is {what}", f"Write {write}")
        return []


def _leaf(root: Path, file: Path, problems: list[Problem]) -> Leaf | None:
    try:
        _check_place(root, file)
        page = _Page(load(file))
    except BadInput as error:
        problems.extend(error.problems)
        return None
    leaf = _read(page, _under(file.parent, root))
    problems.extend(page.problems)
    return leaf


def _check_place(root: Path, file: Path) -> None:
    """A leaf's path is an id in tables and ends up in file names elsewhere, so it must be plain and inside."""
    path = _under(file.parent, root)
    if path == ".":
        what, write = "this leaf has no folder of its own", "Move it into one, such as compositional_skills/greeting"
    elif not path.isprintable() or any(sign in path for sign in '\\:*?"<>|'):
        what, write = f"the folder name {path!r} is no plain path", "Rename it with letters, digits, - and _"
    elif target := leads_to(file, root):
        what, write = f"this is a link that leads out of the taxonomy, to {target}", "Put a copy of the file here"
    elif not file.is_file():
        what, write = "this is no plain file", "Put one here, or take it out of the taxonomy"
    else:
        return
    raise BadInput(Problem(str(file), 1, what, write))


def _read(page: _Page, path: str) -> Leaf | None:
    value = page.loaded.value
    if not isinstance(value, dict):
        page.fault((), f"the file is {kind(value)}, not keys and values", f"Write {EXAMPLE}")
        return None
    page.keys(value, (), KEYS)
    version = value.get("version", 3)
    if version not in (1, 2, 3):
        page.fault(("version",), f"version {version!r} is unknown", "Write 1, 2 or 3, or take the line out")
    if not isinstance(value.get("document", {}), dict):
        page.fault(("document",), f"document is {kind(value['document'])}", "Write repo, commit and patterns under it")
    examples = page.items(value, ("seed_examples",), EXAMPLE)
    return Leaf(
        path=path,
        kind=_kind(path, value, examples),
        seeds=tuple(seed for at, example in enumerate(examples) for seed in _seeds(page, example, at)),
        task=page.text(value, ("task_description",), empty=True),
        domain=page.text(value, ("domain",), empty=True),
        outline=page.text(value, ("document_outline",), empty=True),
        documents=tuple(_documents(page, value)) if "documents" in value else (),
        created_by=page.text(value, ("created_by",), empty=True),
    )


def _kind(path: str, value: dict[str, Value], examples: list[Value]) -> Literal["skill", "knowledge"]:
    nested = any(isinstance(example, dict) and "questions_and_answers" in example for example in examples)
    told = PurePosixPath(path).parts[0] == "knowledge" or bool(KNOWLEDGE_KEYS & value.keys())
    return "knowledge" if told or nested else "skill"


def _seeds(page: _Page, example: Value, at: int) -> list[Seed]:
    where: Where = ("seed_examples", at)
    if not isinstance(example, dict):
        page.fault(where, f"seed example {at + 1} is {kind(example)}", "Write `question: …` and `answer: …` under it")
        return []
    if "questions_and_answers" not in example:
        page.keys(example, where, PAIR_KEYS | {"questions_and_answers"})
        context = page.text(example, (*where, "context")) if "context" in example else ""
        return [_seed(page, example, where, context)]
    page.keys(example, where, {"context", "questions_and_answers", "attribution"})
    context = page.text(example, (*where, "context"))
    where = (*where, "questions_and_answers")
    seeds: list[Seed] = []
    # What else stands in a pair is its author's: InstructLab's schema allows it here, and only here.
    for number, pair in enumerate(page.items(example, where, "`- question: …` and `  answer: …` under it")):
        if isinstance(pair, dict):
            seeds.append(_seed(page, pair, (*where, number), context))
        else:
            page.fault((*where, number), f"this pair is {kind(pair)}", "Write `question: …` and `answer: …` under it")
    return seeds


def _seed(page: _Page, pair: dict[str, Value], where: Where, context: str) -> Seed:
    return Seed(page.text(pair, (*where, "question")), page.text(pair, (*where, "answer")), context)


def _documents(page: _Page, value: dict[str, Value]) -> Iterator[Document]:
    folder = page.loaded.file.parent
    seen: set[str] = set()
    for at, name in enumerate(page.items(value, ("documents",), "`documents: [handbook.md]`")):
        where: Where = ("documents", at)
        if not isinstance(name, str):
            page.fault(where, f"this document name is {kind(name)}", "Write a file name such as handbook.md")
            continue
        name = str(PurePosixPath(name))
        if name in seen:
            page.fault(where, f"the document {name} is here twice", "Keep one of the two")
            continue
        seen.add(name)
        try:
            yield read_document(folder, name)
        except Unreadable as error:
            page.fault(where, f"the document {name!r} cannot be used: {error.what}", error.write)
