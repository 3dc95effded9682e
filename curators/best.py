"""Best: of each leaf so many rows and no more, those with the highest scores of a step.

A barrier selector: it looks at all rows that a version would hold, so it costs no model call and is done again when a
version is made with other thresholds or with more reviews. What people decided to keep comes first, then what an
earlier judge settled, which was too good to be asked about; then the scores. Each generator's rows of a leaf are by
themselves, as are the pairs that revisions made of them.
"""

from __future__ import annotations

import duckdb
from pydantic import Field

from seedbed.records import Frozen

STEP = "best"
RANKED = """
SELECT run_id, sample_id, score, decided OR rank <= {per_leaf} AS keep,
       CASE WHEN decided OR rank <= {per_leaf} THEN '' ELSE 'not among the best {per_leaf} of its leaf' END AS reason,
       min(score) FILTER (rank <= {per_leaf} AND NOT decided) OVER (PARTITION BY method, leaf) AS threshold,
       to_json({{rank: rank, "of": count(*) OVER (PARTITION BY method, leaf), "by": '{by}', decided: decided,
                 settled: unscored}}) AS evidence
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY method, leaf ORDER BY decided DESC, unscored DESC, score DESC NULLS LAST, place) AS rank
    FROM (SELECT *, scores['{by}'] AS score, settled AND scores['{by}'] IS NULL AS unscored FROM rows))
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
