"""Coverage: exactly N kept a leaf, by refilling; or an honest shortfall that names the main reason.

LAB (arXiv 2403.01081, section 3.1) asks of every leaf what it still lacks. A leaf's places are tried again
until all are filled or `attempts` tries a place, pooled over the leaf, are spent. A place takes one row at
most, so there is never one too many.
"""

from __future__ import annotations

from pydantic import Field

from seedbed.records import Frozen

STEP = "coverage"


class Coverage(Frozen):
    """How much may be spent to fill a leaf."""

    attempts: int = Field(default=4, ge=1, le=100, description="tries a place, pooled over the leaf")
