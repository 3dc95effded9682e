"""Documents: files of text, Markdown, HTML, PDF and Word that a taxonomy or a recipe names, read as text."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path, PurePosixPath

from seedbed.document_formats import Unreadable, docx_markdown, html_markdown, pdf_pages
from seedbed.folders import hidden_part, leads_to, matching, read_whole
from seedbed.records import Document
from seedbed.yamlfile import BadInput, Problem

MOST_TEXT, MOST_PACKED = 64 << 20, 256 << 20  # bytes of a file; the pictures in a PDF or a Word file are not read
SUFFIXES = (".md", ".markdown", ".txt", ".html", ".htm", ".pdf", ".docx")
KINDS = "text, Markdown, HTML, PDF and Word (.docx)"


def read_documents(pattern: str, folder: Path) -> tuple[Document, ...]:
    """The documents that a glob such as `handbook/*.md` finds (`seedbed.folders`), sorted by name.

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
        raise BadInput(Problem(str(folder), 0, what, "Correct the pattern, or put a .md, .docx or .pdf file there"))
    base = Path(Path(pattern).anchor) if Path(pattern).is_absolute() else folder
    documents: list[Document] = []
    problems = list(found.problems)
    for file in found.files:
        try:
            documents.append(_document(_plain_name(file.relative_to(base).as_posix()), file))
        except Unreadable as error:
            problems.append(Problem(str(file), 0, error.what, error.write))
    if problems:
        raise BadInput(*problems)
    return tuple(documents)


def read_document(folder: Path, name: str) -> Document:
    """The document of that name, which must lie in or below a leaf's folder, links followed. Raises Unreadable."""
    posix = PurePosixPath(name)
    if "\\" in name or "\0" in name or posix.is_absolute() or ".." in posix.parts or Path(name).drive:
        raise Unreadable("its name leads out of the leaf's folder", "Put the file beside the qna.yaml")
    file = folder / posix
    if target := leads_to(file, folder):
        what = f"it is a link that leads out of the leaf's folder, to {target}"
        raise Unreadable(what, "Put a copy beside the qna.yaml")
    return _document(name, file)


def _plain_name(name: str) -> str:
    if not name.isascii() and any("\ud800" <= sign <= "\udfff" for sign in name):
        raise Unreadable("its name is not UTF-8", "Rename it")
    return name


def _document(name: str, file: Path) -> Document:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise Unreadable(f"only {KINDS} are read", "Turn it into a .md, .txt, .html, .pdf or .docx file")
    if not file.exists():
        raise Unreadable("there is no such file", "Correct its name, or put the file there")
    try:
        raw = read_whole(file, MOST_PACKED if suffix in (".pdf", ".docx") else MOST_TEXT)
    except OSError as error:
        raise Unreadable(f"it cannot be read ({error.strerror})", "Put a plain, readable file there") from error
    pages = [_unix(page) for page in _pages(raw, suffix)]
    if not any(page.strip() for page in pages):
        raise Unreadable("there is no text in it", "Take it out; a scanned PDF needs text recognition first")
    begins = accumulate((len(page) + 2 for page in pages[:-1]), initial=0)
    return Document(name, "\n\n".join(pages), tuple(begins) if suffix == ".pdf" else ())


def _pages(raw: bytes, suffix: str) -> list[str]:
    match suffix:
        case ".pdf":
            return pdf_pages(raw)
        case ".docx":
            return [docx_markdown(raw)]
        case ".html" | ".htm":
            return [html_markdown(_plain_text(raw))]
    return [_plain_text(raw)]


def _unix(text: str) -> str:
    return re.sub(r"\r\n?", "\n", text)


def _plain_text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"it is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}, line {line}"
        raise Unreadable(what, "Save it as UTF-8") from error
    if "\0" in text:
        raise Unreadable("it is no text: there are zero bytes in it", "Save it as UTF-8 text")
    return text
