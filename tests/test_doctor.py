"""What the doctor says of what is there, what is not, and what nobody needs."""

from __future__ import annotations

import io

import pytest

from flows.doctor import Check, show
from flows.screen import Screen


@pytest.mark.parametrize("width", [40, 80])
def test_what_is_not_installed_is_not_called_well(width):
    screen = Screen()
    screen.file, screen.width = io.StringIO(), width
    show(
        screen,
        [
            Check("python", True, "3.11"),
            Check("training", True, "trl and peft are not installed", absent=True),
            Check("disk", False, "0.1 GiB free", "make room, or name another --home"),
        ],
    )
    lines = screen.file.getvalue().splitlines()
    marks = [" ".join(line.split()[:2]) for line in lines if line[0] != " "]
    assert marks == ["ok python", "none training", "bad disk"]
    assert "-> make room, or name another --home" in " ".join(" ".join(lines).split())
