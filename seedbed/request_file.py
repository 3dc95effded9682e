"""Requests from a file, with the answers that it has to them, if any, in any of the forms that rows are read in.

Rows with the same request are one request with several answers; the two answers of a pair are two of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from seedbed.conversation import Rest
from seedbed.conversation_json import rest_json
from seedbed.records import Answer, Request
from seedbed.sources.files import open_source
from seedbed.sources.forms import Misfit, Understood, understand
from seedbed.sources.raw import MOST_BYTES, Raw
from seedbed.yamlfile import BadInput, Problem

_SHOWN = 5  # rows that are told as faults
_CORRECT = "Correct the row, or take it out"


@dataclass(slots=True)
class _Gathered:
    """Requests with their answers, by what they ask, and the faults of rows that hold none."""

    requests: dict[tuple[str, str, str | None], tuple[Request, list[Answer]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    size: int = 0  # characters of text


def read_requests(named: str | Path, folder: Path | None = None) -> tuple[Request, ...]:
    """The requests of a file, a folder of files or a data set of the Hub, in their order, each once.

    `named` is a path from `folder`, or a path by itself.

    Raises:
        BadInput: there is no such file, it cannot be read, or a row holds no request; the row is named.
    """
    gathered = _Gathered()
    path = Path(named)
    spec, base = (str(named), folder) if folder else (path.name, path.parent)
    for raw in open_source(spec, base).rows():
        place = str(base / raw.file)
        try:
            _gather(_asked_in(raw), raw.line, gathered)
        except Misfit as misfit:
            gathered.problems.append(Problem(place, raw.line, f"row {raw.number + 1}: {misfit}", _CORRECT))
        if len(gathered.problems) == _SHOWN:
            break
        if gathered.size > MOST_BYTES:
            raise BadInput(Problem(place, raw.line, f"it holds more than {MOST_BYTES >> 20:,} MiB of text", "Split it"))
    if gathered.problems:
        raise BadInput(*gathered.problems)
    if not gathered.requests:
        raise BadInput(Problem(str(named), 0, "no requests in it: it has no row", "Give it a row for each request"))
    return tuple(replace(asked, answers=tuple(answers)) for asked, answers in gathered.requests.values())


def _asked_in(raw: Raw) -> Understood:
    """What a row asks, and how it was answered. Raises Misfit."""
    if raw.problem:
        raise Misfit(raw.problem)
    found = understand(raw.row, answers_optional=True, text=raw.text)
    if found.content.turns[-1].role not in ("user", "tool"):
        raise Misfit("it asks for nothing, for the turn before its answer is an assistant's")
    if any(one.tool_calls for one in found.content.responses):
        raise Misfit("its answer is a call of a tool, and only words can be compared")
    return found


def _gather(row: Understood, line: int, into: _Gathered) -> None:
    content = row.content
    question, context = content.question.strip(), content.context.strip()
    asked = Rest(content.rest.before, content.rest.after, (), content.tools) if content.rest else Rest()
    turns = () if content.single else content.turns
    request = Request(question, context, (), turns, content.tools, line)
    _, answers = into.requests.setdefault((question, context, rest_json(asked)), (request, []))
    author = row.author if len(content.responses) == 1 else ""
    answers += [Answer(one.content.strip(), author, one.reasoning) for one in content.responses if one.content.strip()]
    into.size += sum(map(len, content.texts()))
