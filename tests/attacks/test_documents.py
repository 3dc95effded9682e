"""Documents that mean harm: a message that names the file, says what is wrong and what to do; never a crash."""

from __future__ import annotations

import socket
import time
import zipfile

import pytest

from seedbed.document_formats import MOST_XML
from seedbed.documents import read_documents
from seedbed.yamlfile import BadInput
from tests.word_file import paragraph, table, word_file

BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{}]>'.format(
    "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
)
ABROAD = (
    '<w:p><w:r><w:drawing xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><a:blip r:link="r9" xmlns:r='
    '"http://schemas.openxmlformats.org/officeDocument/2006/relationships"/></w:drawing></w:r></w:p>'
)
RELATIONS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r9" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/image" '
    'Target="{}" TargetMode="External"/></Relationships>'
)


def nested(depth: int, *tags: str) -> str:
    return "".join(f"<{tag}>" for tag in tags) * depth + "x" + "".join(f"</{tag}>" for tag in reversed(tags)) * depth


def link() -> bytes:
    """A file in which the text is a link to a file of the machine's."""
    found = word_file(paragraph("x"), more={"word/document.xml.rels": "x"}, name="word/other.xml")
    return found.replace(b"word/other.xml", b"/../etc/passwd")


REFUSED = {
    "bomb.docx": (lambda: word_file(paragraph("x" * (MOST_XML + 1))), "more than 16 MiB", "Split it"),
    "many.docx": (
        lambda: word_file("x", more={f"word/{n}.xml": "x" * (MOST_XML // 8) for n in range(9)}),
        "more than 16 MiB",
        "Split it",
    ),
    "entities.docx": (lambda: word_file(paragraph("&i;"), head=BOMB), "DOCTYPE", "save it again"),
    "wide.docx": (
        lambda: word_file(paragraph("x"), more={"word/styles.xml": BOMB.encode("utf-16").decode("latin-1")}),
        "DOCTYPE|no readable Word file",
        "save it again",
    ),
    "deep.docx": (
        lambda: word_file(nested(20_000, "w:sdt", "w:sdtContent")),
        "nested too deep",
        "give its text as .md",
    ),
    "tables.docx": (lambda: word_file(nested(5_000, "w:tbl", "w:tr", "w:tc")), "nested too deep", "text as .md"),
    "picture.docx": (lambda: word_file(paragraph("x"), name="word/x.png"), "no readable Word file", "as .docx"),
    "link.docx": (link, "no readable Word file", "as .docx"),
    "cut.docx": (lambda: word_file(paragraph("x"))[:-40], "no readable Word file", "as .docx"),
    "old.docx": (lambda: b"\xd0\xcf\x11\xe0" + b"x" * 1_000, "no readable Word file", "as .docx"),
    "odd.docx": (lambda: word_file("<w:tbl>"), "no readable Word file", "as .docx"),
    "empty.docx": (lambda: word_file(""), "no text in it", "Take it out"),
    "deep.html": (lambda: nested(100_000, "div").encode(), "nested hundreds deep", "text as .md"),
    "lists.html": (lambda: b"<ul><li>" * 100_000 + b"x", "nested hundreds deep", "text as .md"),
    "bold.html": (lambda: nested(100_000, "b", "i").encode(), "nested hundreds deep", "text as .md"),
    "script.html": (
        lambda: b"<script>alert('x')</script><style>p {color: red}</style>",
        "no text in it",
        "Take it out",
    ),
    "open.html": (lambda: b"<!--" * 10_000, "no text in it", "Take it out"),
    "bytes.html": (lambda: b"<p>caf\xe9", "not UTF-8: byte 0xe9", "Save it as UTF-8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_document_is_refused_with_its_file_its_fault_and_a_way_out(tmp_path, name):
    content, what, write = REFUSED[name]
    (tmp_path / name).write_bytes(content())
    began = time.monotonic()
    with pytest.raises(BadInput, match=f"{name}: .*({what}).*{write}") as caught:
        read_documents("*", tmp_path)
    assert time.monotonic() - began < 20 and len(str(caught.value)) < 1_000


def test_nothing_is_fetched_for_a_document_and_no_file_beside_it_is_read(tmp_path):
    (tmp_path / "secret.png").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        for name, target in {"a.docx": f"{url}x.png", "b.docx": "secret.png", "c.docx": "file:///etc/passwd"}.items():
            more = {"word/_rels/document.xml.rels": RELATIONS.format(target)}
            (tmp_path / name).write_bytes(word_file(paragraph("Text.") + ABROAD, more=more))
        (tmp_path / "d.html").write_text(f"<base href='{url}'><link rel=stylesheet href=x><p>Text.<img src=y>")
        assert [document.text.strip() for document in read_documents("*.*[lx]", tmp_path)] == ["Text."] * 4
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_word_file_that_names_more_than_its_text_is_read_for_its_text(tmp_path):
    more = {"../../outside.xml": "<x/>", "word/media/film.mp4": "0" * (MOST_XML + 1)}
    (tmp_path / "a.docx").write_bytes(word_file(paragraph("Text.") + table(("a", "b")), more=more))
    assert read_documents("a.docx", tmp_path)[0].text.startswith("Text.\n\n| a | b |")
    assert not (tmp_path.parent / "outside.xml").exists()
    with zipfile.ZipFile(tmp_path / "a.docx") as packed:
        assert len(packed.infolist()) == 5


@pytest.mark.parametrize(
    "page",
    [
        "<" * 100_000,
        "&" * 100_000,
        "<p " + "a=1 " * 100_000 + ">x",
        "<table><tr><td rowspan=99999999 colspan=99999999>x",
        "<table>" + "<tr><td>x" * 20_000,
        "<p>x" + "</div>" * 100_000,
        "<pre>" + "\0x" * 10_000,
    ],
)
def test_a_hostile_web_page_is_read_in_bounded_time(tmp_path, page):
    (tmp_path / "a.html").write_bytes(page.encode().replace(b"\0", b"&#0;"))
    began = time.monotonic()
    assert read_documents("a.html", tmp_path)[0].text.strip()
    assert time.monotonic() - began < 20
