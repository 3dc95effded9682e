"""How two versions differ: which rows came, went or changed, and why; counted, or a page of them at a time.

Two versions of a million rows may have little in common, so that nobody holds the whole difference but who asks for it.
"""

from __future__ import annotations

from seedbed.store.store import Store

Row = dict[str, object]
DIFFERENCE = """
WITH a AS (SELECT * FROM version_samples WHERE version = $old),
b AS (SELECT * FROM version_samples WHERE version = $new)
SELECT CASE WHEN a.kept AND b.kept THEN 'changed' WHEN b.kept THEN 'came' ELSE 'went' END AS what,
       sample_id, coalesce(b.leaf, a.leaf) AS leaf,
       CASE WHEN a.kept AND b.kept
                THEN CASE WHEN b.changed_by_people THEN 'edited or turned by people'
                          WHEN a.run_id <> b.run_id THEN 'grown again'
                          WHEN a.changed_by_people THEN 'no longer edited or turned'
                          ELSE 'the answer and its revision changed places' END
            WHEN b.kept THEN coalesce('was out: ' || nullif(a.reason, ''), 'new')
            ELSE coalesce(nullif(b.reason, ''), 'no longer grown') END AS why,
       coalesce(b.question, a.question) AS question,
       b.place AS new_place, a.place AS old_place
FROM a FULL JOIN b USING (sample_id)
WHERE (coalesce(a.kept, false) OR coalesce(b.kept, false))
  AND (coalesce(a.kept, false) <> coalesce(b.kept, false)
       OR (a.question, a.context, a.answer, a.rejected) <> (b.question, b.context, b.answer, b.rejected))
"""
# In the order of the new version, then the old.
IN_ORDER = f"SELECT * EXCLUDE (new_place, old_place) FROM ({DIFFERENCE}) ORDER BY what, new_place, old_place"


def count_difference(store: Store, old: str, new: str) -> list[Row]:
    """How many rows came, went or changed, and why, the commonest first: `what`, `why`, `n`."""
    counts = f"SELECT what, why, count(*) AS n FROM ({DIFFERENCE}) GROUP BY ALL ORDER BY n DESC, what, why"
    return store.rows(counts, {"old": old, "new": new})


def page_of_difference(store: Store, old: str, new: str, first: int, size: int) -> list[Row]:
    """Up to `size` rows of the difference, from number `first` on, counted from 0."""
    page = {"old": old, "new": new, "first": first, "size": size}
    return store.rows(f"{IN_ORDER} LIMIT $size OFFSET $first", page)
