"""What a vLLM server's log says of its end: the cause first, then the last lines.

The last lines tell what the front door says when its engine is gone; why the engine went stands above that, in the
first lines with an error of the processes behind the door.
"""

from __future__ import annotations

import re
from pathlib import Path

_READ = 4 << 20  # bytes at the end of the log that are looked at
_CAUSES, _LAST, _ALONE = 6, 6, 12  # lines: of the cause, after it, and where no cause is found
_LINE = 300  # characters of a line that are worth repeating
# "(Worker_TP0 pid=12) ERROR 11-27 18:22:01 [core.py:1510] What happened": the process and the level may be missing.
_RECORD = re.compile(
    r"(?:\((?P<process>[^\s)]+) pid=\d+\) )?(?:(?P<level>[A-Z]+) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?)?(?P<said>.*)"
)
_ERROR = re.compile(  # an exception at the end of its traceback, pydantic's, uvicorn's, argparse's, and Python's end
    r"\A(?:[\w.]*(?:Error|Exception)(?::|$)|\s+Value error, |ERROR: |\S+: error: |Fatal Python error|terminate called)"
)
_NOTHING = re.compile(r"\s|$|Traceback \(most recent|During handling of|The above exception")
_DOOR = (None, "APIServer")
THEN = "\n…\n"  # between the cause and the last lines


def end_of(log: Path, begins: int = 0) -> str:
    """The cause and the last lines of a log, from byte `begins` on. Raises OSError."""
    with log.open("rb") as file:
        file.seek(max(begins, log.stat().st_size - _READ))
        lines = [line.rstrip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    causes = _causes(lines)
    last = lines[-_LAST if causes else -_ALONE :]
    return THEN.join("\n".join(part) for part in (causes, [*map(_cut, last)]) if part)


def _causes(lines: list[str]) -> list[str]:
    """The first lines with an error, each once; those of the front door after all others."""
    behind, door = dict[str, None](), dict[str, None]()
    for line in lines:
        record = _RECORD.match(line)
        if record and _tells(record["level"], record["said"]):
            (door if record["process"] in _DOOR else behind).setdefault(_cut(record["said"].strip()))
    return [*behind, *(said for said in door if said not in behind)][:_CAUSES]


def _tells(level: str | None, said: str) -> bool:
    """Whether this says what went wrong, and not only where."""
    return bool(_ERROR.match(said) or (level in ("ERROR", "CRITICAL") and not _NOTHING.match(said)))


def _cut(line: str) -> str:
    return line if len(line) <= _LINE else f"{line[:_LINE]}…"
