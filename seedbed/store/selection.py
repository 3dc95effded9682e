"""Which rows of a version are meant, on which side of the split they stand, and what they have that others have not.

The split goes by a hash of what a row is about: the passage where there is one, else the words of the request, with
case and white space folded. So a row stays on its side from version to version, whatever comes and goes beside it; the
questions on one passage stay together; and what a small share holds out, a larger one holds out too. It is told from
the texts as they were made, which no edit changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from seedbed.errors import InputError
from seedbed.kinds import KINDS
from seedbed.store.asking import ask
from seedbed.store.choice import folded
from seedbed.store.damage import first_line
from seedbed.store.store import Store

_TURNS = "array_to_string(s.rest->>'$.{}[*].content', ' ')"
_PASSAGE = "coalesce(nullif(s.context, ''), (s.rest->>'$.before[*].context')[1])"
_REQUEST = f"concat_ws(' ', {_TURNS.format('before')}, s.question, {_TURNS.format('after')})"
# MD5 and 52 of its bits, which a DOUBLE holds exactly: to change any of this moves rows between the sides.
DRAW = (
    f"(('0x' || substr(md5({folded(f'lower(coalesce({_PASSAGE}, {_REQUEST}))')}), 1, 13))::BIGINT / 4503599627370496.0)"
)
"""SQL of where a row `s` of `base.samples` stands between 0 and 1: below the share it is held out."""

_TOOLS = r"""regexp_matches(s.rest, '[^\\]"(tools|tool_calls|tool)"')"""
_TRAITS = f"""
SELECT kind, count(*) FILTER ((s.rest->'before') IS NOT NULL OR (s.rest->'after') IS NOT NULL) AS turns,
       count(*) FILTER ({_TOOLS}) AS tools
"""
_LEAST = f"""
SELECT min({DRAW}) AS least FROM base.version_rows r JOIN base.samples s USING (run_id, sample_id)
WHERE version = $version AND kept AND (len($kinds) = 0 OR list_contains($kinds::VARCHAR[], kind))
"""
_SCORED = """
SELECT DISTINCT step FROM base.verdicts SEMI JOIN (
    SELECT run_id, sample_id FROM base.version_rows WHERE version = $version) USING (run_id, sample_id)
WHERE score IS NOT NULL ORDER BY step
"""


@dataclass(frozen=True, slots=True)
class Only:
    """Some rows of a version: those of a leaf and of what is under it, and those of which an SQL condition holds.

    The condition is on the columns of `version_samples` and on the steps that give scores, by their names.
    """

    leaf: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Traits:
    """How many rows have several turns or a system prompt, and how many have tools, offered or called."""

    turns: int = 0
    tools: int = 0

    @classmethod
    def of(cls, several: Iterable[Traits]) -> Traits:
        """Those of several lots of rows, taken together."""
        lots = list(several)
        return cls(sum(one.turns for one in lots), sum(one.tools for one in lots))


def traits_of(store: Store, version: str = "", run_id: str = "") -> dict[str, Traits]:
    """The kinds that a version holds, or that a run has kept, in the order of their table, each with its traits."""
    if version:
        tables = "FROM base.version_rows r JOIN base.samples s USING (run_id, sample_id) WHERE version = ? AND kept"
    else:
        tables = "FROM base.samples s WHERE run_id = ? AND status = 'kept'"
    rows = store.rows(f"{_TRAITS} {tables} GROUP BY kind", [version or run_id])
    found = {str(row["kind"]): Traits(int(str(row["turns"])), int(str(row["tools"]))) for row in rows}
    return {kind: found[kind] for kind in KINDS if kind in found}


def least_share(store: Store, version: str, kinds: Sequence[str] = ()) -> float:
    """The least share, rounded up to thousandths, that holds a row of a version out; 1 where there is no row.

    `kinds` are those that count, all where none is named. Holding out more than half of a version is no split: where
    this says so, there are too few rows.
    """
    [row] = store.rows(_LEAST, {"version": version, "kinds": list(kinds)})
    return 1.0 if row["least"] is None else (math.floor(float(str(row["least"])) * 1000) + 1) / 1000


def places(store: Store, version: str, condition: str) -> pa.ChunkedArray:
    """The places of a version's rows of which the condition holds. It is asked where nothing but the store can be read.

    Raises:
        InputError: it is not one condition in DuckDB's SQL; the message names the columns that there are.
    """
    steps = [str(row["step"]) for row in store.rows(_SCORED, {"version": version})]
    scores = "".join(f", arg_max(score, rowid) FILTER (step = {_text(step)}) AS {_name(step)}" for step in steps)
    statement = f"""
    SELECT place FROM (
        FROM version_samples LEFT JOIN (
            SELECT run_id, sample_id{scores} FROM base.verdicts WHERE score IS NOT NULL GROUP BY run_id, sample_id
        ) USING (run_id, sample_id))
    WHERE version = {_text(version)} AND kept AND ({condition}
    )"""
    try:
        duckdb.SQLExpression(condition)  # one expression, or it is refused
        return ask(store, statement)["place"]
    except duckdb.Error as error:
        known = ", ".join(("kind", "method", "leaf", "model", "question", "answer", *map(_name, steps)))
        raise InputError(
            f"--where {condition!r} is no condition on a version's rows: {first_line(error)}. Write one such as "
            f"\"kind = 'knowledge'\"; there are {known}, and the other columns of the view version_samples"
        ) from error


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return value if value.isidentifier() else '"' + value.replace('"', '""') + '"'
