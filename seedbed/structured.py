r"""The JSON object in a model's words, as a schema of ours: fences and prose around it are tolerated, slips mended.

What was cut off is not closed for its writer, and of several objects none is picked by its place. A model that writes
LaTeX into JSON forgets to double its backslashes, so that `\frac` is read as a form feed and "rac": where only LaTeX
can be meant the backslash is given back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from seedbed.replies import MORE_ROOM, Reply, Unreadable

T = TypeVar("T", bound=BaseModel)

_DEEPEST = 64  # levels of brackets; what a schema of ours asks for has three
_MOST = 64  # objects that are looked at: one is wanted
_MENDABLE = 16_384  # characters; mending takes time by their square

# Commands of LaTeX that begin like an escape of JSON, and are no end of a line or tab before a word.
_COMMANDS = frozenset(
    re.findall(
        r"\w+",
        """
        nabla natural nearrow nearr neg neq nexists ngeq ngtr ni nleq nless nmid nolimits nonumber notin nparallel
        nprec nsim nsubset nsubseteq nsucc nsupset nu nwarrow newline newcommand nleftarrow nrightarrow rangle rarr
        rbrace rbrack rceil rfloor rho rhd rightarrow right rightharpoonup rightleftharpoons rm rtimes rvert tan
        tanh tau tbinom text textbf textit textrm texttt textsf textsc textup textstyle tfrac therefore theta
        thinspace thickapprox thicksim tilde times to top triangle triangleq triangleleft triangleright
        twoheadrightarrow
        """,
    )
)
_WORDS_TOO = frozenset({"ni", "nu", "tan", "to", "top", "rm", "neg"})  # their rest may be a word of its own
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|[A-Za-z]+|.)", re.DOTALL)
_CHARACTER = re.compile(r"u[0-9a-fA-F]{4}")
_MATHS = re.compile(r"[$^]|\\\\?[(\[]")
_SIGNS = re.compile(r"\\.|[\"{}\[\]]", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def read(reply: Reply, schema: type[T], step: str) -> T:
    """The JSON object in a reply as `schema`.

    Raises:
        Unreadable: there are no words, they break off, hold no such object or several, or one with the wrong fields.
    """
    text = reply.words(step)
    if reply.cut:
        raise Unreadable(step, f"JSON {reply.cut}", text, f"The model ran out of room: {MORE_ROOM}")
    try:
        return _storable(schema.model_validate_json(with_latex(text)), step, text)
    except ValidationError:
        sources, why = _objects(text, step)
    if len(sources) > _MOST:
        raise Unreadable(step, f"more than {_MOST} JSON objects in the answer", text)
    found = list[T]()
    for source in sources:
        try:
            found.append(_as(schema, with_latex(source)))
        except (ValidationError, ValueError, RecursionError) as error:
            why = f"JSON of the wrong shape ({_first(error)})"
    if not found:
        raise Unreadable(step, why, text)
    if any(other != found[0] for other in found):
        raise Unreadable(step, "several JSON objects in the answer", text)
    return _storable(found[0], step, text)


def _as(schema: type[T], source: str) -> T:
    try:
        return schema.model_validate_json(source)
    except ValidationError:
        if len(source) > _MENDABLE:
            raise
    import json_repair  # only broken answers pay for its import

    return schema.model_validate(json_repair.loads(source))


def _objects(text: str, step: str) -> tuple[list[str], str]:
    """The text of each object that stands in no other, and what to say where there is none.

    Raises:
        Unreadable: brackets are nested too deep.
    """
    found, depth, begun, quoted = list[str](), 0, 0, False
    for sign in _SIGNS.finditer(text):
        mark = sign[0]
        if quoted:
            quoted = mark != '"'
        elif mark == '"':
            quoted = depth > 0
        elif mark in "}]" and depth:
            depth -= 1
            if not depth and mark == "}":
                found.append(text[begun : sign.end()])
        elif mark == "{" or (mark == "[" and depth):
            begun, depth = (begun if depth else sign.start()), depth + 1
            if depth > _DEEPEST:
                raise Unreadable(step, f"JSON nested more than {_DEEPEST} deep", text)
    return found, "the JSON breaks off" if depth else "no JSON object in the answer"


def with_latex(source: str) -> str:
    """JSON in which a backslash that can only begin a command of LaTeX is doubled."""
    if "\\" not in source:
        return source
    maths = _MATHS.search(source) is not None

    def mended(escape: re.Match[str]) -> str:
        return f"\\{escape[0]}" if _is_command(escape[0][1:], maths) else escape[0]

    return _ESCAPE.sub(mended, source)


def _is_command(name: str, maths: bool) -> bool:
    if not name.isalpha() or not name.isascii():
        return False
    if name[0] not in "bfnrtu":
        return True  # no escape of JSON begins so
    if name[0] in "bf":
        return len(name) > 1  # nobody writes a backspace or a form feed before a word
    if name[0] == "u":
        return _CHARACTER.fullmatch(name) is None
    return name in _COMMANDS and (maths or name not in _WORDS_TOO)


def _storable(found: T, step: str, text: str) -> T:
    """JSON can spell half a character (a lone surrogate), which no store, hash or file will take, and control signs."""
    try:
        plain = found.model_dump_json()
    except ValueError as error:
        raise Unreadable(step, "half a character in the answer", text) from error
    if any(map(_CONTROL.search, _texts(json.loads(plain)))):
        raise Unreadable(step, "control characters in the answer", text)
    return found


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, problem['loc'])) or 'answer'}: {problem['msg']}"
    return str(error) or type(error).__name__
