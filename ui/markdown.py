"""A sample's Markdown, in which nothing is fetched and nothing leads anywhere: readable at once, and still safe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ui.maths import typeset, with_maths
from ui.safe import Html, code, folded, stacked, words

LONGEST = 12_000  # characters; brackets that nobody closes cost Markdown the square of their number
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_DIRECTED = ("p", "ul", "ol", "li", "blockquote", "th", "td", *_HEADINGS)
_OUTER = ("list_item_open", "blockquote_open")


def rendered(said: str, top: int = 3) -> Html:
    """A text as Markdown: images and links are told in words, and HTML is shown as it was written.

    `top` is the level on the page of the text's own highest headings. What a long text says further down is folded, as
    it was written.
    """
    if len(said) <= LONGEST:
        return _markdown(said, top)
    begun, more = said[:LONGEST], said[LONGEST:]
    return stacked(_markdown(begun, top), folded(f"{len(more):,} characters more, as they were written", words(more)))


@lru_cache(maxsize=256)  # the page draws the sample in hand again at every key that stays with it
def _markdown(said: str, top: int) -> Html:
    parser = _parser()
    tokens, level = parser.parse(said), top - 1
    for n, token in enumerate(tokens):
        if token.type == "th_open" and not tokens[n + 1].content:
            token.tag = tokens[n + 2].tag = "td"  # a head without words is none to a screen reader
        if token.tag in _DIRECTED and token.nesting == 1 and not (n and tokens[n - 1].type in _OUTER):
            token.attrSet("dir", "auto")  # a block's own words say from which side it is read, or those around it
        if token.type == "heading_open":  # of the text, not of the page, and none below a level that is not there
            level = min(6, level + 1, top + _HEADINGS.index(token.tag))
            token.tag = tokens[n + 2].tag = f"h{level}"
        if token.type == "table_open":
            token.attrSet("tabindex", "0")  # it scrolls by itself, also by the keyboard
        if token.children:
            token.children = list(_tame(token.children))
    inner = parser.renderer.render(tokens, parser.options, {})
    return Html(f'<div class="seedbed-rendered">{inner}</div>')


@cache
def _parser() -> MarkdownIt:
    parser = with_maths(MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]))
    parser.add_render_rule("maths", _maths)
    for name in ("fence", "code_block"):
        parser.add_render_rule(name, _code)
    return parser


def _maths(_: object, tokens: Sequence[Token], at: int, *__: object) -> Html:
    return typeset(tokens[at].content, tokens[at].block)


def _code(_: object, tokens: Sequence[Token], at: int, *__: object) -> Html:
    return code(tokens[at].content, " ".join(tokens[at].info.split()[:1]))


def _tame(tokens: Iterable[Token]) -> Iterable[Token]:
    targets = list[str]()
    for token in tokens:
        if token.type == "image":
            yield Token("text", "", 0, content=f"[image: {token.content} {token.attrGet('src')}]")
        elif token.type == "link_open":
            targets.append(str(token.attrGet("href")))
        elif token.type == "link_close":
            yield Token("text", "", 0, content=f" [link: {targets.pop()}]")
        else:
            yield token
