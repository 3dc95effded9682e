"""The chunks of a knowledge leaf: its documents in pieces, which of them a place takes, and what is known of each."""

from __future__ import annotations

import logging
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from seedbed.cutting import Piece, pieces
from seedbed.records import Document, Leaf, Unit
from seedbed.visible import on_one_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document; `source` is its id, `{document}#chunk{number}`.

    `headings` are the paths that it stands under, `pages` those of a PDF that it is on, from 1. `torn`: it was cut amid
    a piece without a break. A context of a leaf has no document.
    """

    source: str
    text: str
    document: str = ""
    headings: tuple[str, ...] = ()
    pages: tuple[int, ...] = ()
    torn: bool = False


@lru_cache(maxsize=256)  # a document is cut once, not once a sample
def chunks(leaf: Leaf, tokens: int) -> tuple[Chunk, ...]:
    """The leaf's documents in pieces, else its seeds' contexts (documents that live elsewhere)."""
    found = [
        Chunk(
            f"{document.name}#chunk{n}", piece.text, document.name, piece.headings, _pages(document, piece), piece.torn
        )
        for document in leaf.documents
        for n, piece in enumerate(pieces(document.text, tokens, document.markdown))
    ]
    contexts = dict.fromkeys(seed.context for seed in leaf.seeds if seed.context)
    return tuple(found or [Chunk(f"{leaf.path}#chunk{n}", text) for n, text in enumerate(contexts)])


def _pages(document: Document, piece: Piece) -> tuple[int, ...]:
    first, last = (bisect_right(document.pages, at) for at in (piece.start, piece.end - 1))
    return tuple(range(first, last + 1)) if document.pages else ()


def chunk_of(unit: Unit, found: Sequence[Chunk], places: int, per_chunk: bool) -> Chunk:
    """The chunk for a try of a place: as many chunks on as there are places, so that no two tries take the same one.

    Beyond the last chunk one is drawn. Where each chunk has places of its own (`per_chunk`), their tries keep to it.
    """
    if per_chunk or not unit.spent:
        return found[unit.ordinal % len(found)]
    number = unit.ordinal + unit.spent * places
    return found[number] if number < len(found) else random.Random(unit.draw).choice(found)


def evidence(chunk: Chunk) -> dict[str, object]:
    """Where a text is from: document, headings, pages of a PDF (from 1), and whether it was cut amid a word."""
    known = {
        "document": chunk.document,
        "heading": "; ".join(chunk.headings),
        "pages": list(chunk.pages),
        "cut": chunk.torn,
    }
    return {name: value for name, value in known.items() if value}


def tell_cuts(leaf: Leaf, tokens: int) -> None:
    """A line for each document that has a piece without a break, with the first such place."""
    torn = {chunk.document: chunk for chunk in reversed(chunks(leaf, tokens)) if chunk.torn}
    for name, chunk in reversed(torn.items()):
        where = ", ".join(
            [chunk.source.rpartition("#")[2], *chunk.headings[:1], *(f"page {n}" for n in chunk.pages[:1])]
        )
        logger.warning(
            "%s",
            on_one_line(
                f"{name} ({where}): more than {tokens} tokens without a space or an end of a sentence were cut"
            ),
        )


def tell_unreached(leaves: Sequence[Leaf], tokens: int, per_leaf: int) -> None:
    """A line where fewer samples are wanted than there are chunks."""
    counts = [len(chunks(leaf, tokens)) for leaf in leaves]
    if any(n > per_leaf for n in counts):
        reached = sum(min(n, per_leaf) for n in counts)
        logger.warning(
            "%d of %d chunks are reached by per_leaf: %d. To reach all, write per_chunk: 1",
            reached,
            sum(counts),
            per_leaf,
        )
