"""Why a row is none of ours."""

from __future__ import annotations


class Misfit(Exception):
    """A row that does not fit: a reason short enough to group by, which names the column, and the details beside it."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(f"{reason}: {details}" if details else reason)
        self.reason, self.details = reason, details
