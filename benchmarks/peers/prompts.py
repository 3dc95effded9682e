"""The two prompts of a record, the same for Seedbed and for every peer. Jinja text, which all of them can render.

Only the standard library here: each peer's own Python reads this file.
"""

from __future__ import annotations

REQUEST = (
    "Write a short paragraph for a newcomer that answers request {{ number }} of a help desk. Use plain words, give "
    "one example, and end with what to do next."
)
JUDGE = (
    "A good answer is correct, clear and complete. Name the worst fault of the answer below in one short sentence. "
    'Begin with "Reject:" if nobody should read it.\n\nAnswer: {{ answer }}'
)
MODEL, TEMPERATURE, TOP_P, MAX_TOKENS = "mock", 0.7, 0.95, 256
CONCURRENCY = 64


def request(number: int) -> str:
    """The prompt that makes record `number`."""
    return REQUEST.replace("{{ number }}", str(number))


def judging(answer: str) -> str:
    """The prompt that judges an answer."""
    return JUDGE.replace("{{ answer }}", answer)
