"""How sure a share seen in few rows is."""

from __future__ import annotations

import math


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of `n` by Wilson's score; 0 to 1 where nothing was seen."""
    if not n:
        return 0.0, 1.0
    z, share = 1.96, hits / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
