"""A text cut into pieces of bounded size where it has its own breaks: between blocks, else sentences, lines, words.

Markdown's blocks are found by markdown-it-py. A block is kept whole where it fits. Of a table that is cut each piece
has the header, of a code block each has its fence, and a heading is never left behind without its text. Pieces are
stretches of the text as it is: nothing is joined, and what stands between two of them is white space only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from seedbed.token_count import count, reach

LONGEST_HEADING = 200  # characters of it that are kept as evidence
_WINDOW = 1 << 18  # characters that are parsed at once, for a cell of a table takes a kilobyte then; a block ends there
_LISTS = ("bullet_list", "ordered_list", "list_item", "blockquote")
_PARAGRAPH = re.compile(r"\n(?:[^\S\n]*\n)+")
_CLOSED = "\"'”’»」』）\\])"  # noqa: RUF001
_SENTENCE = re.compile(rf"[.!?…][{_CLOSED}]*\s+|[。！？｡．؟۔।॥။፧።៕។།։][。！？{_CLOSED}]*\s*")  # noqa: RUF001
_LINE = re.compile(r"\n")
# A space of no width parts words in Khmer, Lao and Burmese.
_WORD = re.compile(r"[\s\u200b]+|[，、；：،؛၊]")  # noqa: RUF001
_BREAKS = (_SENTENCE, _LINE, _WORD)
_FRONT = re.compile(r"\A---[ \t]*\n[\w-]+:.*?\n---[ \t]*\n", re.DOTALL)  # facts about the page, as Jekyll has them


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a text, which it takes from `start` to `end` (characters), and the headings that it stands under.

    `torn`: it begins or ends amid something without a break, such as a line of a thousand letters.
    """

    text: str
    start: int
    end: int
    headings: tuple[str, ...] = ()
    torn: bool = False


@dataclass(frozen=True, slots=True)
class _Atom:
    """A stretch that stays together. A piece that begins with it has `before` in front, one that ends so `after`."""

    start: int
    end: int
    size: int
    before: str = ""
    after: str = ""
    torn: bool = False


@dataclass(frozen=True, slots=True)
class _Block:
    """A paragraph, heading, list, table … of the text. `under` is the path of headings that it stands under."""

    start: int
    end: int
    under: str = ""
    heading: bool = False
    node: SyntaxTreeNode | None = None
    lines: Sequence[int] = ()


class _Open:
    """The piece that is being filled, to at most `most` tokens."""

    def __init__(self, most: int) -> None:
        self.most, self.size = most, 0
        self.parts: list[tuple[_Atom, _Block]] = []

    def takes(self, atom: _Atom) -> bool:
        return not self.parts or self.size + atom.size + count(atom.after) <= self.most

    def add(self, atom: _Atom, block: _Block) -> None:
        self.size += atom.size + (0 if self.parts else count(atom.before))
        self.parts.append((atom, block))

    def headings(self) -> list[tuple[_Atom, _Block]]:
        """The headings that it ends with: they belong to what follows."""
        return list(takewhile(lambda part: part[1].heading, reversed(self.parts)))[::-1]

    def closed(self, text: str, found: list[Piece]) -> _Open:
        """The next piece, once this one is among those found; the headings at its end move on."""
        following, last = _Open(self.most), self.headings()
        if 0 < len(last) < len(self.parts):
            self.parts = self.parts[: -len(last)]
            for part in last:
                following.add(*part)
        found.append(self.whole(text))
        return following

    def whole(self, text: str) -> Piece:
        """What it has, as a piece."""
        atoms, blocks = zip(*self.parts, strict=True)
        first, last = atoms[0], atoms[-1]
        told = (first.before + text[first.start : last.end]).strip("\n").rstrip()
        under = [block.under for block in blocks if not block.heading] or [block.under for block in blocks]
        torn = any(atom.torn for atom in atoms)
        return Piece(told + last.after, first.start, last.end, tuple(filter(None, dict.fromkeys(under))), torn)


def cut(text: str, size: int) -> list[str]:
    """The texts of the pieces of a Markdown text, each of at most `size` tokens (`seedbed.token_count`)."""
    return [piece.text for piece in pieces(text, size)]


def pieces(text: str, size: int, markdown: bool = True) -> list[Piece]:
    """The pieces of a text, in order, each of at most `size` tokens; of one that is no Markdown, by paragraphs.

    Line ends become those of Unix first.
    """
    text = re.sub(r"\r\n?", "\n", text)
    found: list[Piece] = []
    piece = _Open(size)
    for block in _blocks(text) if markdown else _paragraphs(text):
        whole = _Atom(block.start, block.end, count(text[block.start : block.end]))
        new_part = block.heading and piece.size > size // 2
        has_text = len(piece.headings()) < len(piece.parts)
        if has_text and whole.size <= size and (new_part or not piece.takes(whole)):
            piece = piece.closed(text, found)
        room = max(size // 2, size - sum(atom.size for atom, _ in piece.headings()))
        for atom in [whole] if piece.takes(whole) and whole.size <= size else _atoms(text, block, room):
            while not piece.takes(atom):
                piece = piece.closed(text, found)
            piece.add(atom, block)
    if piece.parts:
        found.append(piece.whole(text))
    return [piece for piece in found if piece.text.strip()]


def _paragraphs(text: str) -> Iterator[_Block]:
    return (_Block(start, end) for start, end in _split(text, 0, len(text), _PARAGRAPH))


def _blocks(text: str) -> Iterator[_Block]:
    """Markdown's blocks with what lies between them: together they are the whole text."""
    # Blocks only: what is in a line decides no cut. Definitions of links would be swallowed without a token.
    parser = MarkdownIt("commonmark").enable("table").disable(["inline", "reference"])
    path: dict[int, str] = {}
    for begin, end in _windows(text):
        window = _FRONT.sub(lambda found: "\n" * found[0].count("\n"), text[begin:end])
        lines = [begin, *(begin + found.end() for found in _LINE.finditer(window)), end]
        nodes = SyntaxTreeNode(parser.parse(window)).children
        if not nodes:  # nothing but facts about the page
            yield _Block(begin, end)
        for node, (start, stop) in zip(nodes, _spans(nodes, begin, end, lines), strict=True):
            if node.type == "heading":
                level, told = int(node.tag[1:]), " ".join(node.children[0].content.split())
                path = {n: path[n] for n in path if n < level} | {level: told[:LONGEST_HEADING]}
            yield _Block(start, stop, " > ".join(filter(None, path.values())), node.type == "heading", node, lines)


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """The whole text, but for long ones, which are parsed from one heading to another, or one blank line."""
    start = 0
    while len(text) - start > _WINDOW:
        most = start + _WINDOW
        ends = (text.rfind(mark, start + 1, most) for mark in ("\n#", "\n\n", "\n"))
        end = next((end + 1 for end in ends if end > start), most)
        yield start, end
        start = end
    yield start, len(text)


def _spans(nodes: Sequence[SyntaxTreeNode], start: int, end: int, lines: Sequence[int]) -> list[tuple[int, int]]:
    """Where nodes that lie side by side begin and end, if they take all from `start` to `end` together."""
    begins = [lines[node.map[0]] if node.map else start for node in nodes[1:]]
    return list(pairwise([start, *begins, end])) if nodes else []


def _atoms(text: str, block: _Block, most: int) -> Iterator[_Atom]:
    """What a block that is too long is cut into."""
    node = block.node
    if node and node.type in _LISTS and node.children:
        for child, (start, end) in zip(
            node.children, _spans(node.children, block.start, block.end, block.lines), strict=True
        ):
            size = count(text[start:end])
            if size <= most:
                yield _Atom(start, end, size)
            else:
                yield from _atoms(text, replace(block, start=start, end=end, node=child), most)
    elif node and node.type in ("table", "fence", "code_block", "html_block"):
        yield from _by_line(text, block, node, most)
    else:
        yield from _running(text, block.start, block.end, most)


def _by_line(text: str, block: _Block, node: SyntaxTreeNode, most: int) -> Iterator[_Atom]:
    """Rows of a table with its header, lines of a code block with its fence."""
    head = {"table": 2, "fence": 1}.get(node.type, 0)
    edges = [block.start, *(end for _, end in _split(text, block.start, block.end, _LINE))]
    while len(edges) > 2 and not text[edges[-2] : edges[-1]].strip():
        del edges[-2]  # a blank line goes with the one before
    before, after = text[edges[0] : edges[min(head, len(edges) - 1)]], ""
    if node.type == "fence":
        after = "\n" + re.sub(r"[^>\s]", " ", before.partition(node.markup)[0]) + node.markup
        if text[edges[-2] : edges[-1]].strip().endswith(node.markup):
            del edges[-2]  # its last line closes it
    frame = count(before) + count(after)
    if frame > most // 2:  # no room to say it again
        head, before, after, frame = 0, "", "", 0
    for start, end in pairwise(edges[:1] + edges[head + 1 :]):
        first, last = start == block.start, end == block.end
        for atom in _running(text, start, end, most - (count(after) if first else frame)):
            yield replace(
                atom,
                before="" if atom.start == block.start else before,
                after="" if last and atom.end == end else after,
            )


def _running(text: str, start: int, end: int, most: int, level: int = -1) -> Iterator[_Atom]:
    """The stretch, or its sentences, or their lines, or their words, or what is left of a word, as far as they fit."""
    size = count(text[start:end])
    if size <= most:
        yield _Atom(start, end, size)
    elif level + 1 < len(_BREAKS):
        for a, b in _split(text, start, end, _BREAKS[level + 1]):
            yield from _running(text, a, b, most, level + 1)
    else:
        while start < end:
            stop = reach(text, start, end, most)
            yield _Atom(start, stop, count(text[start:stop]), torn=True)
            start = stop


def _split(text: str, start: int, end: int, at: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """The stretch behind each break; a break belongs to what stands before it."""
    for found in at.finditer(text, start, end):
        yield start, found.end()
        start = found.end()
    if start < end:
        yield start, end
