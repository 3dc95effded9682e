"""Best: of each leaf so many rows and no more, those with the highest scores of a step.

A barrier selector: it looks at all rows that a version would hold, so it costs no model call and is done again when a
version is made with other thresholds or with more reviews. What people decided to keep comes first.
"""

from __future__ import annotations

import duckdb
from pydantic import Field

from seedbed.records import Frozen

STEP = "best"
RANKED = """
SELECT run_id, sample_id, score, rank <= {per_leaf} AS keep,
       CASE WHEN rank <= {per_leaf} THEN '' ELSE 'not among the best {per_leaf} of its leaf' END AS reason,
       min(score) FILTER (rank <= {per_leaf}) OVER (PARTITION BY leaf) AS threshold,
       to_json({{rank: rank, rows_of_the_leaf: count(*) OVER (PARTITION BY leaf), "by": '{by}'}}) AS evidence
FROM (SELECT *, scores['{by}'] AS score, row_number() OVER (
          PARTITION BY leaf ORDER BY decided DESC, scores['{by}'] DESC NULLS LAST, place) AS rank FROM rows)
"""


class Best(Frozen):
    """How many rows of a leaf stay, and by which scores."""

    per_leaf: int = Field(ge=1, description="Rows of a leaf that stay, at most.")
    by: str = Field(
        pattern=r"^[\w-]+$",
        description="The step whose scores decide, such as critique; without a score a row is last.",
    )


def best(rows: duckdb.DuckDBPyRelation, options: Best) -> duckdb.DuckDBPyRelation:
    """What is said of each row; `threshold` is the lowest score that stays in its leaf."""
    return rows.query("rows", RANKED.format(per_leaf=options.per_leaf, by=options.by))  # type: ignore[return-value]  # None only of a statement without rows


def steps_read(options: Best) -> tuple[str, ...]:
    """The steps whose scores are needed."""
    return (options.by,)
