"""Formulas of a sample: where Markdown has them, and how they are typeset with no more than HTML.

Streamlit lets no MathML through, so what `latex2mathml` reads is laid out with plain elements: a fraction is two lines
with a stroke between. Only elements that are written here are ever made. What cannot be read, is long or defines macros
(which may double at every step) is shown as its source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from html import unescape
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

from ui.safe import Html, element, escaped, stacked

LONGEST = 2_000  # characters of a formula; the parser takes ten microseconds for each
CLOSINGS = {"$$": "$$", "$": "$", "\\(": "\\)", "\\[": "\\]"}
_ON_LINES_OF_ITS_OWN = ("$$", "\\[")
_MACROS = re.compile(r"\\(def|newcommand|newenvironment|DeclareMathOperator)")
_ALIGNED = re.compile(r"\\(begin|end)\{(aligned|gathered|gather\*?|equation\*?)\}")  # that the parser does not know
_PRICE = re.compile(r"\d[\d.,]{0,20}\s{1,3}[^\W\d_]{2}")  # "5 and 10" between two dollars
_TIGHT = frozenset("()[]{}|‖⟨⟩⌊⌋⌈⌉,;.!/'\u2032∑∏∫∮∂∇√∞…⋯⋮#%&~^_")
_SIGNS = frozenset("±∓\u00d7÷·")  # that the parser takes for letters
_STRETCHING = frozenset("()[]{}|‖⟨⟩⌊⌋⌈⌉")
_CLOSING = frozenset(")]}|‖⟩⌋⌉!'\u2032")
_STROKES = frozenset("¯‾_—―")
_TALLEST = 6  # lines to which brackets stretch; style.css has a rule for each


def with_maths(parser: MarkdownIt) -> MarkdownIt:
    """The parser, reading formulas too: tokens `maths`, whose `block` says that one stands on lines of its own."""
    parser.inline.ruler.before("escape", "maths", _within)
    parser.block.ruler.before("fence", "maths", _apart, {"alt": ["paragraph", "blockquote", "list"]})
    return parser


def typeset(source: str, apart: bool) -> Html:
    """A formula laid out, or its source where that cannot be done. A screen reader reads the source."""
    try:
        if len(source) > LONGEST or _MACROS.search(source):
            raise ValueError("not to be read")
        known = _ALIGNED.sub(r"\\\1{align*}", source)
        drawn = _drawn(convert_to_element(known, display="block" if apart else "inline"))
    except Exception:  # whatever the parser stumbles over: it has a dozen errors of its own, and lets others through
        return element("code", escaped(source), "seedbed-source", dir="ltr")
    kind = "seedbed-maths seedbed-apart" if apart else "seedbed-maths"
    return element("span", drawn, kind, role="math", dir="ltr", aria_label=source.strip())


def _within(state: StateInline, silent: bool) -> bool:
    opening = next((opening for opening in CLOSINGS if state.src.startswith(opening, state.pos)), "")
    begin = state.pos + len(opening)
    end = state.src.find(CLOSINGS[opening], begin, begin + LONGEST) if opening else -1
    if end < 0 or not state.src[begin:end].strip() or (opening == "$" and _is_money(state.src, begin, end)):
        return False
    if not silent:
        token = state.push("maths", "", 0)
        token.content, token.block = state.src[begin:end], opening in _ON_LINES_OF_ITS_OWN
    state.pos = end + len(CLOSINGS[opening])
    return True


def _is_money(text: str, begin: int, end: int) -> bool:
    """Whether two dollars enclose no formula, as in "$5 and $6"."""
    spaced = text[begin].isspace() or text[end - 1].isspace() or text[end - 1] == "\\"
    before = text[max(begin - 2, 0) : begin - 1]
    beside = (before.isascii() and before.isalnum()) or text[end + 1 : end + 2].isdigit()
    return spaced or beside or bool(_PRICE.match(text, begin, end))


def _apart(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    begin = state.bMarks[first] + state.tShift[first]
    opening = state.src[begin : begin + 2]
    if opening not in _ON_LINES_OF_ITS_OWN or state.is_code_block(first):
        return False
    closing, begin = CLOSINGS[opening], begin + 2
    end = state.src.find(closing, begin, begin + LONGEST)
    after = next((n for n in range(first, last) if end <= state.eMarks[n]), last)
    if end < 0 or after == last or state.src[end + 2 : state.eMarks[after]].strip():
        return False
    if not silent:
        token = state.push("maths", "", 0)
        token.content = state.getLines(first, after + 1, state.blkIndent, False).strip()[2:-2]
        token.block, token.map = True, [first, after + 1]
    state.line = after + 1
    return True


def _drawn(node: Element) -> Html:
    """One element of MathML as HTML. Raises KeyError at one that is not known."""
    return _DRAWN[node.tag](node)


def _row(node: Element) -> Html:
    lines = min(_lines(node), _TALLEST)
    return stacked(*(_placed(node, place, child, lines) for place, child in enumerate(node)))


def _placed(row: Element, place: int, child: Element, lines: int) -> Html:
    """An element between its neighbours: signs with space around them, brackets as high as what they hold."""
    text = _text(child)
    if lines > 1 and text in _STRETCHING and child.get("stretchy") != "false":
        return element("span", escaped(text), f"seedbed-tall-{lines}")
    if _is_sign(child) and text not in _TIGHT and place and _ends_term(row[place - 1]):
        return element("span", escaped(text), "seedbed-operator")
    if _named(child) and place + 1 < len(row) and not _is_sign(row[place + 1]):
        return stacked(_drawn(child), escaped("\u2009"))  # a thin space, as in "sin x"
    return _drawn(child)


def _ends_term(node: Element) -> bool:
    return not _is_sign(node) or _text(node) in _CLOSING


def _is_sign(node: Element) -> bool:
    return node.tag == "mo" or (node.tag == "mi" and _text(node) in _SIGNS)


def _named(node: Element) -> bool:
    """Whether it is a function with a name of letters."""
    first = node[0] if node.tag in ("msub", "msup", "munder") else node
    return first.tag == "mi" and len(_text(first)) > 1


def _lines(node: Element) -> int:
    """About how many lines high it is."""
    within = max((_lines(child) for child in node), default=1)
    if node.tag == "mtable":
        return sum(max((_lines(cell) for cell in row), default=1) for row in node)
    return 2 * within if node.tag == "mfrac" else within


def _letters(node: Element) -> Html:
    text, variant = _text(node), node.get("mathvariant", "")
    if text == "&":
        raise ValueError("an environment that the parser does not know")
    if "bold" in variant:
        return element("b", escaped(text))
    return element("i", escaped(text)) if len(text) == 1 and text.isalpha() and variant != "normal" else escaped(text)


def _words(node: Element) -> Html:
    return escaped(_text(node))


def _space(node: Element) -> Html:
    width = node.get("width", "0")
    return escaped(
        "" if width.startswith(("-", "0em")) else "\u2003" if width[:1].isdigit() and width[0] > "0" else " "
    )


def _script(tag: str) -> Callable[[Element], Html]:
    return lambda node: stacked(_drawn(node[0]), element(tag, _drawn(node[1])))


def _scripts(node: Element) -> Html:
    base, below, above = map(_drawn, node)
    return stacked(base, _column((_small(above), _small(below)), "seedbed-scripts"))


def _over(node: Element) -> Html:
    if _text(node[1]) in _STROKES:
        return element("span", _drawn(node[0]), "seedbed-overline" if node.tag == "mover" else "seedbed-underline")
    parts = [_small(_drawn(node[1])), _drawn(node[0])]
    return _column(parts if node.tag == "mover" else parts[::-1], "seedbed-limits")


def _under_and_over(node: Element) -> Html:
    base, below, above = map(_drawn, node)
    return _column((_small(above), base, _small(below)), "seedbed-limits")


def _small(drawn: Html) -> Html:
    return element("span", drawn, "seedbed-small")


def _fraction(node: Element) -> Html:
    bare = node.get("linethickness", "").startswith("0")
    return _column(map(_drawn, node), "seedbed-binomial" if bare else "seedbed-fraction")


def _root(node: Element) -> Html:
    parts = [node[1]] if node.tag == "mroot" else []
    under = _drawn(node[0]) if parts else _row(node)
    index = [element("sup", _drawn(part)) for part in parts]
    return stacked(*index, escaped("√"), element("span", under, "seedbed-overline"))


def _column(parts: Iterable[Html], kind: str) -> Html:
    return element("span", stacked(*(element("span", part) for part in parts)), kind)


def _grid(node: Element) -> Html:
    rows = (element("span", stacked(*(element("span", _row(cell)) for cell in row))) for row in node)
    return element("span", stacked(*rows), "seedbed-grid")


def _nothing(node: Element) -> Html:
    return escaped("")


def _text(node: Element) -> str:
    return unescape(node.text or "")


_DRAWN: dict[str, Callable[[Element], Html]] = {
    **dict.fromkeys(("math", "mrow", "mstyle", "mpadded", "menclose"), _row),
    **dict.fromkeys(("mn", "mtext"), _words),
    **{"mi": _letters, "mo": _words, "mspace": _space, "mphantom": _nothing, "mtable": _grid},
    **{"msup": _script("sup"), "msub": _script("sub"), "msubsup": _scripts},
    **{"mover": _over, "munder": _over, "munderover": _under_and_over},
    **{"mfrac": _fraction, "msqrt": _root, "mroot": _root},
}
