"""The console that every command prints on: what comes from data is text, whatever it holds.

Nothing in a string is markup or the name of an emoji, and no character of it is obeyed by the terminal: that is so for
whatever is rendered here, so no command has to think of it. A style is an argument, or part of a `Text` made by `line`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from seedbed.visible import visible

PIPE_WIDTH = 120  # columns where the other end is no terminal


class Screen(Console):
    """rich's console, on stdout or stderr, for text of others."""

    def __init__(self, err: bool = False) -> None:
        super().__init__(stderr=err, markup=False, emoji=False, highlight=False)
        if not (sys.stderr if err else sys.stdout).isatty():
            self.width = PIPE_WIDTH
        elif not err:  # progress follows a window that changes
            self.size = ConsoleDimensions(*shutil.get_terminal_size())  # rich takes a dumb terminal for 80 columns

    def render_str(self, text: str, **how: object) -> Text:
        """The text as rich lays it out; escapes are written before that, so that widths are right."""
        return super().render_str(self.shown(text), **how)  # type: ignore[arg-type]  # as rich hands them on

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is drawn, in which only rich's own pieces command the terminal."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(visible(piece.text), piece.style)

    def shown(self, text: str) -> str:
        """The text in characters that this terminal has and does not obey."""
        told, encoding = visible(text), self.encoding
        return told if encoding.startswith("utf") else told.encode(encoding, "backslashreplace").decode(encoding)

    def heading(self, title: str) -> None:
        """A title and a line to the end of the row; a long one is folded, never cut."""
        told = self.shown(title).replace("\n", " ")
        dash = "─" if self.encoding.startswith("utf") else "-"
        self.print(Text(f"{told} {dash * max(self.width - cell_len(told) - 1, 3)}", "dim"))


def line(*parts: str | tuple[str, str]) -> Text:
    """Texts on one line, each plain or with a style."""
    styled = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((visible(text), style) for text, style in styled))
