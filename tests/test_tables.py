"""Tables at any width: what names a row is whole, numbers stand to the right, reasons fold, nothing is cut unsaid."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len

from flows.report import LEAVES_SHOWN, Call, show_leaves
from flows.screen import Screen
from flows.tables import Column, show_table
from tests import grown
from tests.ptys import on_terminal
from tests.test_run import seedbed

LONG = "judged by three models to be wrong in its second sentence, which the document does not bear out at all"
LEAVES = (
    "compositional_skills/writing/one_sentence_summary_of_a_long_text",
    "knowledge/gardening/seedlings_on_a_window_sill",
    "foundational_skills/reasoning/unconventional_reasoning/lower_your_education_level_requirements/in_five_steps",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with long names, long reasons and two versions."""
    home = tmp_path_factory.mktemp("tables") / "home"
    recipe = {**grown.RECIPE, "name": "support-desk-of-the-northern-branch"}
    dropped = {"status": "dropped", "step": "critique", "reason": LONG}
    rows = [(grown.sample(n, "instruction", leaf=LEAVES[n % 3], **(dropped if n > 2 else {})), ()) for n in range(9)]
    store = grown.stored(home, rows, recipe=recipe, run_id="a8491574769e")
    grown.stored(home, [(grown.sample(n), ()) for n in range(20, 24)], recipe=recipe, run_id="0c5d11fe92ab")
    store.close()
    return home


@pytest.fixture
def screen(monkeypatch):
    """A console of a given width, and what it has shown."""

    def made(width: int) -> tuple[Screen, io.StringIO]:
        found, shown = Screen(), io.StringIO()
        found.file, found.width = shown, width
        return found, shown

    return made


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_names_and_ids_are_whole_in_every_table_at_every_width(home, columns):
    shown = on_terminal(["status"], ["status", "a84"], ["versions"], home=home, columns=columns)
    assert shown.count("exit 0") == 3
    assert all(cell_len(line) <= columns for line in shown.splitlines())
    for name in (*LEAVES, LONG, "support-desk-of-the-northern-branch-v2"):
        assert squeezed(name) in squeezed(shown), name
    for name in ("a8491574769e", "0c5d11fe92ab", *(LEAVES if columns == 200 else ())):
        assert re.search(rf"^ *{name}\b", shown, re.MULTILINE), "on one line, at its beginning"


def test_a_pipe_has_the_width_of_a_wide_terminal(home):
    shown = seedbed("status", "a84", home=home).stdout
    assert max(map(cell_len, shown.splitlines())) == 120 and all(name in shown for name in LEAVES)


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_numbers_are_right_aligned_and_keep_their_names(screen, width):
    console, shown = screen(width)
    columns = [Column("leaf", "name"), Column("made", "number"), Column("kept", "number"), Column("why")]
    show_table(console, columns, [["a" * 25, "7", "1,234", LONG], ["b", "12,345", "0", ""]])
    lines = shown.getvalue().splitlines()
    assert ("a" * 25 in lines[0]) == (width < 80), "a table needs room for its words"
    found = (re.search(r"made +(7|12,345)\b|^(a+|b) +(7|12,345)\b", line) for line in lines)
    ends = [hit.end() for hit in found if hit]
    assert len(ends) == 2 and ends[0] == ends[1]


def test_of_very_many_leaves_the_worst_are_shown_with_the_command_for_all(screen):
    console, shown = screen(120)
    zero = {"made": 8, "dropped": 0, "failed": 0, "main_reason": ""}
    leaves = [{"leaf": f"leaf/{n:05}", "target": 8, "kept": 8, "shortfall": 0, **zero} for n in range(5000)]
    leaves[4711] |= {"kept": 1, "shortfall": 7}
    show_leaves(console, leaves, "a8491574769e", Call("seedbed", " --home x"))
    lines = shown.getvalue().splitlines()
    assert lines[1].startswith("leaf/04711") and len(lines) == LEAVES_SHOWN + 3
    assert f"the {LEAVES_SHOWN} that lack most of 5,000 leaves" in lines[-2]
    assert lines[-1].startswith("seedbed sql \"SELECT * FROM coverage WHERE run_id = 'a8491574769e'")
    assert lines[-1].endswith("--csv --home x")
