"""What a PDF, a Word file or a web page says, as text: by pypdf, mammoth and html-to-markdown. Nothing is fetched.

Whoever sends a file may mean harm, so what it unpacks to is bounded, and whatever a library makes of it is an error in
words: each function raises Unreadable, which says what is wrong and what to do.
"""

from __future__ import annotations

import io
import logging
import zipfile

MOST_XML = 16 << 20  # bytes of a Word file, unpacked and without pictures; a book has two million
_UNSEEN = ["nav", "script", "style", "template", "svg", "canvas", "iframe", "object", "embed", "audio", "video"]
_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => h2:fresh"


class Unreadable(Exception):
    """A document that cannot be used: what is wrong, and what to do."""

    def __init__(self, what: str, write: str) -> None:
        super().__init__(what)
        self.what, self.write = what, write


def pdf_pages(raw: bytes) -> list[str]:
    """The text of each page of a PDF."""
    import pypdf

    # What it can mend it need not tell: the lines stand between ours, and nobody can act on them.
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(raw)).pages]
    except Exception as error:  # a broken PDF makes pypdf raise nearly anything: KeyError, TypeError, its own
        what = f"it is no readable PDF ({type(error).__name__}: {error})"
        raise Unreadable(what, "Open and save it again without a password, or give its text as .md") from error
    # Fonts without a proper map give halves of characters and zero bytes, which no file or table holds.
    return [page.encode("utf-8", "ignore").decode().replace("\0", "") for page in pages]


def docx_markdown(raw: bytes) -> str:
    """A Word file as Markdown: its headings, lists and tables, without pictures and links."""
    import mammoth

    try:
        page = mammoth.convert_to_html(
            _xml_parts(raw),
            style_map=_STYLES,
            include_embedded_style_map=False,
            convert_image=lambda _: [],
            external_file_access=False,
        ).value
    except Unreadable:
        raise
    except RecursionError as error:
        raise Unreadable("its parts are nested too deep", "Open and save it again, or give its text as .md") from error
    except Exception as error:  # a broken file makes zipfile, the XML parser and mammoth raise nearly anything
        what = f"it is no readable Word file ({type(error).__name__}: {str(error)[:200]})"
        raise Unreadable(what, "Open and save it again as .docx without a password, or give its text as .md") from error
    return html_markdown(page)


def html_markdown(page: str) -> str:
    """A web page as Markdown, without what a reader does not see: scripts, styles, pictures, where links lead."""
    import html_to_markdown

    options = html_to_markdown.ConversionOptions(
        exclude_selectors=_UNSEEN,
        strip_tags=["a"],
        skip_images=True,
        extract_metadata=False,
        expand_abbreviations=False,
        compact_tables=True,
        preprocessing=html_to_markdown.PreprocessingOptions(enabled=False),  # it would leave out headings
    )
    try:
        found = html_to_markdown.convert(page, options)
    except Exception as error:  # its own, of several kinds, and what a panic becomes
        what = f"it is no readable web page ({type(error).__name__}: {str(error)[:200]})"
        raise Unreadable(what, "Open it in a browser and save it again, or give its text as .md") from error
    if any("depth" in str(warning.message) for warning in found.warnings):
        raise Unreadable("its elements are nested hundreds deep, and text would be lost", "Give its text as .md")
    return (found.content or "").replace("\0", "")


def _xml_parts(raw: bytes) -> io.BytesIO:
    """The Word file with its text alone: whatever else it names, there is none."""
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as packed, zipfile.ZipFile(kept, "w") as made:
        parts = [part for part in packed.infolist() if part.filename.lower().endswith((".xml", ".rels"))]
        if sum(part.file_size for part in parts) > MOST_XML:  # no more is unpacked of a part than it says
            raise Unreadable(f"unpacked, its text takes more than {MOST_XML >> 20} MiB", "Split it")
        for part in parts:
            xml = packed.read(part)
            if b"<!DOCTYPE" in xml.replace(b"\0", b""):  # which may define entities that unpack without end
                raise Unreadable("its XML has a DOCTYPE, as no Word file has", "Open and save it again")
            made.writestr(part.filename, xml)
    kept.seek(0)
    return kept
