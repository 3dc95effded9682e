"""How far reviewers agree, beyond what chance would give: Cohen's kappa (1960) of each two, with its interval.

Only what somebody looked at counts, so bulk verdicts are left out, and "unsure" is no decision. The two answers of a
pair are called left and right by the pair's hash, not chosen and rejected: whoever nods at the judge would otherwise
seem to agree by chance alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from seedbed.store.store import Store

Table = Mapping[tuple[str, str], int]  # how often one said this and the other that
_Z = 1.959964  # of a 95 % interval

LABELS = """
WITH labelled AS (
    SELECT run_id, sample_id, content_hash, reviewer,
           CASE WHEN decision IN ('keep', 'drop', 'tie') THEN decision
                WHEN (decision = 'chosen') = (md5(sample_id) < '8') THEN 'left' ELSE 'right' END AS label
    FROM decisions WHERE decision <> 'unsure' AND batch = '')
SELECT a.reviewer AS one, b.reviewer AS other, a.label AS said, b.label AS replied,
       count(DISTINCT (a.sample_id, a.content_hash)) AS n
FROM labelled a JOIN labelled b USING (sample_id, content_hash)
WHERE a.reviewer < b.reviewer GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement on n samples: the share, and kappa with its 95 % interval; None where all said one and the same."""

    n: int
    share: float
    kappa: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Between:
    """Two reviewers, and how far they agree."""

    one: str
    other: str
    agreement: Kappa


def between_reviewers(store: Store) -> list[Between]:
    """Each two reviewers who decided the same samples."""
    tables: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    for row in store.rows(LABELS):
        pair = str(row["one"]), str(row["other"])
        tables.setdefault(pair, Counter())[str(row["said"]), str(row["replied"])] += int(str(row["n"]))
    return [Between(one, other, cohen(table)) for (one, other), table in tables.items()]


def cohen(table: Table) -> Kappa:
    """Kappa, and its interval by the large-sample variance of Fleiss, Cohen and Everitt (1969)."""
    n = sum(table.values())
    labels = sorted({label for pair in table for label in pair})
    p = {(a, b): table.get((a, b), 0) / n for a in labels for b in labels}
    first = {a: sum(p[a, b] for b in labels) for a in labels}
    second = {b: sum(p[a, b] for a in labels) for b in labels}
    share = sum(p[a, a] for a in labels)
    chance = sum(first[a] * second[a] for a in labels)
    if math.isclose(chance, 1):
        return Kappa(n, share, None, None, None)
    kappa = (share - chance) / (1 - chance)
    agreed = sum(p[a, a] * (1 - (first[a] + second[a]) * (1 - kappa)) ** 2 for a in labels)
    apart = sum(p[a, b] * (second[a] + first[b]) ** 2 for a in labels for b in labels if a != b)
    spread = agreed + (1 - kappa) ** 2 * apart - (kappa - chance * (1 - kappa)) ** 2
    half = _Z * math.sqrt(max(spread, 0) / n) / (1 - chance)
    return Kappa(n, share, kappa, max(kappa - half, -1), min(kappa + half, 1))
