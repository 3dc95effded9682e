"""A taxonomy: a tree of folders whose leaves hold a `qna.yaml` with worked examples (LAB, arXiv 2403.01081).

Reads InstructLab's versions 1 to 3 as they are, and one key of ours: `documents`, files beside the qna.yaml.
Every fault of every file is reported at once, each with the line that it stands on.
"""

from __future__ import annotations

import io
import logging
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from seedbed.folders import entries_of, hidden_part, is_folder, is_hidden, leads_to, matching, read_whole
from seedbed.records import Document, Leaf, Seed
from seedbed.yamlfile import BadInput, Loaded, Problem, Value, Where, kind, load, nearest

FILE_NAMES = ("qna.yaml", "qna.yml")
KNOWLEDGE_KEYS = {"domain", "document", "document_outline", "documents"}
KEYS = KNOWLEDGE_KEYS | {"version", "created_by", "task_description", "seed_examples"}
PAIR_KEYS = {"question", "answer", "context", "attribution"}
TEXT_SUFFIXES = (".md", ".markdown", ".txt")
MOST_TEXT, MOST_PDF = 64 << 20, 256 << 20  # bytes of a document; a PDF's pictures are not read
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


def read_documents(pattern: str, folder: Path) -> tuple[Document, ...]:
    """The text, Markdown and PDF files that a glob such as `handbook/*.md` finds (`seedbed.folders`), sorted by name.

    Names are relative to `folder`; files and folders whose name starts with a dot are left out.

    Raises:
        BadInput: nothing matches, a link leads elsewhere, or a file is no readable text or has none.
    """
    if secret := hidden_part(pattern):
        what = f"documents: {secret!r} in {pattern!r} begins with a dot, and what does so is never sent to a model"
        raise BadInput(Problem(str(folder), 0, what, "Put a copy of the documents into a folder of another name"))
    try:
        found = matching(pattern, folder)
    except ValueError as error:
        write = "Write a pattern such as handbook/*.md or handbook/**/*.md"
        raise BadInput(
            Problem(str(folder), 0, f"documents: {pattern!r} is no file pattern ({error})", write)
        ) from error
    if not found.files and not found.problems:
        what = f"documents: no file matches {pattern!r} in {folder.resolve()}"
        raise BadInput(Problem(str(folder), 0, what, "Correct the pattern, or put a .md, .txt or .pdf file there"))
    base = Path(Path(pattern).anchor) if Path(pattern).is_absolute() else folder
    documents: list[Document] = []
    problems = list(found.problems)
    for file in found.files:
        try:
            documents.append(Document(_plain_name(_under(file, base)), _document_text(file)))
        except _UnreadableError as error:
            problems.append(Problem(str(file), 0, error.what, error.write))
    if problems:
        raise BadInput(*problems)
    return tuple(documents)


def _plain_name(name: str) -> str:
    if not name.isascii() and any("\ud800" <= sign <= "\udfff" for sign in name):
        raise _UnreadableError("its name is not UTF-8", "Rename it")
    return name


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
        for entry in entries_of(folder, problems):
            if not is_folder(entry):
                if entry.name.casefold() in FILE_NAMES:
                    yield folder / entry.name
            elif entry.is_symlink() and not is_hidden(entry.name):
                target = os.path.realpath(entry)
                what = f"this folder is a link to {target}, and links to folders are not followed"
                problems.append(Problem(entry.path, 0, what, "Put a copy of the folder here"))
            elif not is_hidden(entry.name):
                waiting.append(folder / entry.name)


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
    for number, pair in enumerate(page.items(example, where, "`- question: …` and `  answer: …` under it")):
        if isinstance(pair, dict):
            page.keys(pair, (*where, number), {"question", "answer"})
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
            yield Document(name, _document_text(_inside(folder, name)))
        except _UnreadableError as error:
            page.fault(where, f"the document {name!r} cannot be used: {error.what}", error.write)


class _UnreadableError(Exception):
    def __init__(self, what: str, write: str) -> None:
        super().__init__(what)
        self.what, self.write = what, write


def _inside(folder: Path, name: str) -> Path:
    """The file of that name, which must lie in or below the leaf's folder, links followed."""
    posix = PurePosixPath(name)
    if "\\" in name or "\0" in name or posix.is_absolute() or ".." in posix.parts or Path(name).drive:
        raise _UnreadableError("its name leads out of the leaf's folder", "Put the file beside the qna.yaml")
    file = folder / posix
    if target := leads_to(file, folder):
        what = f"it is a link that leads out of the leaf's folder, to {target}"
        raise _UnreadableError(what, "Put a copy beside the qna.yaml")
    return file


def _document_text(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in (*TEXT_SUFFIXES, ".pdf"):
        raise _UnreadableError("only text, Markdown and PDF are read", "Turn it into a .md, .txt or .pdf file")
    if not file.exists():
        raise _UnreadableError("there is no such file", "Correct its name, or put the file there")
    try:
        raw = read_whole(file, MOST_PDF if suffix == ".pdf" else MOST_TEXT)
    except OSError as error:
        raise _UnreadableError(f"it cannot be read ({error.strerror})", "Put a plain, readable file there") from error
    text = _pdf_text(raw) if suffix == ".pdf" else _plain_text(raw)
    if not text.strip():
        raise _UnreadableError("there is no text in it", "Take it out; a scanned PDF needs text recognition first")
    return text


def _plain_text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"it is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}, line {line}"
        raise _UnreadableError(what, "Save it as UTF-8") from error
    if "\0" in text:
        raise _UnreadableError("it is no text: there are zero bytes in it", "Save it as UTF-8 text")
    return text.replace("\r\n", "\n")


def _pdf_text(raw: bytes) -> str:
    import pypdf

    # What it can mend it need not tell: the lines stand between ours, and nobody can act on them.
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(raw)).pages]
    except Exception as error:  # a broken PDF makes pypdf raise nearly anything: KeyError, TypeError, its own
        what = f"it is no readable PDF ({type(error).__name__}: {error})"
        raise _UnreadableError(what, "Open and save it again without a password, or give its text as .md") from error
    # Fonts without a proper map give halves of characters and zero bytes, which no file or table holds.
    return "\n\n".join(pages).encode("utf-8", "ignore").decode().replace("\0", "")
