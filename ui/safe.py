"""The one place that makes HTML: what comes from data is escaped here, and nothing else is ever drawn as HTML.

Streamlit's own Markdown would fetch an image that a sample names. `Html` is made by this file alone, and by a Markdown
renderer in `ui/markdown.py`, so that a type checker sees who draws anything else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NewType

from ui.diff import Span

Html = NewType("Html", str)

STYLE = Path(__file__).with_name("style.css")
_MARKS = {"same": ("", ""), "gone": ("<del>", "</del>"), "new": ("<ins>", "</ins>")}
_RIGHT = ' class="seedbed-number"'
_SIGNS = re.compile(r"([!-/:-@\[-`{-~])")


def draw(*parts: Html) -> None:
    """Put HTML on the page, if there is any."""
    import streamlit as st

    if inner := "".join(parts):
        st.html(inner)


def literal(text: object) -> str:
    """A text for Streamlit's labels and messages, in which every sign of Markdown means only itself."""
    return _SIGNS.sub(r"\\\1", str(text))


def escaped(text: str) -> Html:
    """A text inside of something else, in which every sign means only itself."""
    return Html(escape(text))


def element(tag: str, inner: Html, kind: str = "", **attributes: str) -> Html:
    """An element around something; `kind` is its class, and `aria_label` stands for aria-label."""
    given = {"class": kind, **attributes}
    told = "".join(f' {name.replace("_", "-")}="{escape(value)}"' for name, value in given.items() if value)
    return Html(f"<{tag}{told}>{inner}</{tag}>")


def words(text: str) -> Html:
    """A text as it is, line breaks and all."""
    return Html(f'<div class="seedbed-text" dir="auto">{escape(text)}</div>')


def code(text: str, language: str = "") -> Html:
    """A text of a program or of data, under the name of its language."""
    name = element("span", escaped(language), "seedbed-language") if language else Html("")
    return Html(f'<div class="seedbed-code" dir="ltr">{name}<pre><code>{escape(text)}</code></pre></div>')


def folded(summary: str, *body: Html, shown: bool = False) -> Html:
    """Something that is there when it is asked for: a click on its summary, or Enter."""
    opened = " open" if shown else ""
    return Html(f'<details class="seedbed-fold"{opened}><summary>{escape(summary)}</summary>{"".join(body)}</details>')


def snippet(text: str) -> Html:
    """A text on which nothing depends, without a frame."""
    return Html(f'<p class="seedbed-snippet" dir="auto">{escape(text)}</p>')


def compared(spans: Iterable[Span]) -> Html:
    """A text of which some stretches are struck out and others underlined."""
    inner = "".join(f"{_MARKS[what][0]}{escape(text)}{_MARKS[what][1]}" for what, text in spans)
    return Html(f'<div class="seedbed-text" dir="auto">{inner}</div>')


def stacked(*parts: Html) -> Html:
    """One below the other."""
    return Html("".join(parts))


def titled(title: str, body: Html, level: int = 2) -> Html:
    """Something under a small heading."""
    return Html(f'<h{level} class="seedbed-label">{escape(title)}</h{level}>{body}')


def line(*parts: str) -> Html:
    """Short facts on one line."""
    inner = "".join(f"<span>{escape(part)}</span>" for part in parts if part)
    return Html(f'<p class="seedbed-line">{inner}</p>')


def known_as(sample_id: str, *parts: str) -> Html:
    """Short facts behind a sample's id; by the mark on the id, tests and benchmarks see which sample is drawn."""
    inner = "".join(f"<span>{escape(part)}</span>" for part in parts if part)
    return Html(f'<p class="seedbed-line"><span data-seedbed="sample">{escape(sample_id)}</span>{inner}</p>')


def said(text: str, *parts: str) -> Html:
    """What has just been done, which a screen reader reads out when it changes, and short facts behind it."""
    news = f'<p class="seedbed-line" role="status">{f"<strong>{escape(text)}</strong>" if text else ""}</p>'
    return Html(f'<div class="seedbed-news">{news}{line(*parts)}</div>')


def struck(lead: str, texts: Iterable[str]) -> Html:
    """Texts that do not count."""
    inner = " ".join(f"<del>{escape(text)}</del>" for text in texts)
    return Html(f'<p class="seedbed-line"><span>{escape(lead)} {inner}</span></p>')


def legend(first: str, second: str) -> Html:
    """What the marks of a comparison mean, by the names of the two texts."""
    gone, new = f"<del>struck out</del> only {escape(first)}", f"<ins>underlined</ins> only {escape(second)}"
    return Html(f'<p class="seedbed-line"><span>{gone}</span><span>{new}</span></p>')


def figures(facts: Iterable[tuple[str, str]]) -> Html:
    """Figures with what they count, side by side as far as there is room."""
    inner = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return Html(f'<dl class="seedbed-figures">{inner}</dl>')


def bar(label: str, done: int, of: int) -> Html:
    """How far along something is, in words too."""
    told = escape(f"{label}: {done:,} of {of:,}")
    return Html(
        f'<p class="seedbed-line"><span>{told}</span></p>'
        f'<progress aria-label="{told}" value="{done}" max="{max(of, 1)}"></progress>'
    )


def bullets(rows: Iterable[str]) -> Html:
    """A list."""
    inner = "".join(f"<li>{escape(row)}</li>" for row in rows)
    return Html(f'<ul class="seedbed-list">{inner}</ul>')


def table(caption: str, columns: Iterable[str], rows: Iterable[Sequence[object]]) -> Html:
    """A table that scrolls by itself where it is too wide, also by the keyboard; numbers stand to the right."""
    columns, rows = list(columns), list(rows)
    numbers = [any(_number(row[n]) for row in rows) for n in range(len(columns))]
    head = "".join(
        f'<th scope="col"{_RIGHT if number else ""}>{escape(column)}</th>'
        for column, number in zip(columns, numbers, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return Html(
        f'<div class="seedbed-scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f'<table class="seedbed-table"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, float) and math.isnan(value):
        return f"<td{_RIGHT}></td>"
    if _number(value):
        return f"<td{_RIGHT}>{value:{',' if isinstance(value, int) else ',.2f'}}</td>"
    return f"<td>{escape('' if value is None else str(value))}</td>"
