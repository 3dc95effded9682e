"""Stores as a run leaves them, made without a run: the test says what was made and what was said of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from seedbed.engines import ModelCard
from seedbed.records import Content, Sample, Verdict
from seedbed.store import Store
from seedbed.store.rows import Judged, judged_tables
from seedbed.store.runs import announce, begin, end, finish_shard
from seedbed.store.versions import freeze

WRITER = ModelCard("http", "writer-8b", "2026-05", "Apache-2.0")
JUDGE = ModelCard("http", "judge-70b", "2026-01", "MIT")
STEPS = [
    ("preferences", "preferences", "generator", "pair", ""),
    ("critique", "critique", "judge", "revision", ""),
    ("debate", "debate", "judge", "debate", ""),
]
RECIPE = {
    "name": "desk",
    "model": {"engine": "http", "base_url": "http://10.1.2.3:8000/v1", "model": "writer-8b", "api_key_env": "DESK_KEY"},
    "judge": {"engine": "http", "base_url": "http://10.1.2.3:8001/v1", "model": "judge-70b"},
    "taxonomy": "/home/somebody/taxonomies/desk",
    "generate": [{"name": "skills", "options": {"per_leaf": 8}}],
    "curate": [{"name": "rules", "options": {}}, {"name": "critique", "options": {"keep_at": 3.5}}],
}

Row = tuple[Sample, Sequence[Verdict]]


def sample(n: int, kind: str = "instruction", **given: str) -> Sample:
    """Sample number `n`, kept unless it is said otherwise; texts and columns by name."""
    texts = {"question": f"Question {n}, is it “{n}”?", "answer": f"Answer {n}.\nSecond line, 中文 \U0001f600"}
    if kind == "preference":
        texts["rejected"] = f"Worse {n}."
    texts |= {name: given.pop(name) for name in ("question", "answer", "context", "rejected") if name in given}
    facts: dict[str, object] = {"status": "kept", "leaf": f"writing/{'letters' if n % 3 else 'poems'}", **given}
    base = {"sample_id": f"{n:020d}", "method": "skills", "ordinal": n, "attempt": 0, "model": WRITER.model}
    return Sample.model_validate({**base, **facts, "kind": kind, "content": Content(**texts, rest=None)})


def scored(score: float, call: str = "c") -> Verdict:
    return Verdict.scored("critique", "critique", score, 3.5, "critique below 3.5", call)


PASSED = Verdict(step="rules", curator="rules", keep=True)


def rows(n: int) -> list[Row]:
    """`n` instruction samples that passed rules and critique."""
    return [(sample(at), (PASSED, scored(4 + at % 2 / 2))) for at in range(n)]


def pairs(first: int, n: int) -> list[Row]:
    """`n` preferences that a judge preferred in both orders, and that passed rules and critique."""
    told = {
        "candidates": [{"text": "a", "model": WRITER.model}, {"text": "b", "model": "other-3b"}],
        "chosen": 0,
        "rejected": 1,
        "comparisons": [{"a": 0, "b": 1, "in_front": 0.9, "behind": 0.8}],
        "orders": [0.9, 0.8],
    }
    said = Verdict(
        step="preference",
        curator="preferences",
        keep=True,
        score=0.7,
        call_ids=("c",),
        transcript=json.dumps(told, separators=(",", ":")),
    )
    return [(sample(at, "preference"), (said, PASSED, scored(4.2))) for at in range(first, first + n)]


def stored(
    home: Path,
    made: Iterable[Row],
    cards: Mapping[str, ModelCard] | None = None,
    recipe: Mapping[str, object] = RECIPE,
    run_id: str = "run1",
) -> Store:
    """A home with one finished run that made these rows, frozen as the next version of the recipe."""
    store, known = Store(home), list(made)
    cards = dict(cards or {"model": WRITER, "judge": JUDGE})
    leaves = sorted({row.leaf for row, _ in known})
    targets = [("skills", leaf, 8, f"identity of {leaf}") for leaf in leaves]
    begin(store, run_id, str(recipe["name"]), json.dumps(recipe), cards, targets, steps=STEPS)
    announce(store, run_id, [(0, 0, len(known))])
    judged = [Judged(at, row, tuple(said)) for at, (row, said) in enumerate(known)]
    with store.writing() as db:
        finish_shard(run_id, 0, 0, judged_tables(run_id, judged, cards["judge"].model), db)
    end(store, run_id, "done", "", 1.0, 0)
    freeze(store, run_id, [(run_id, "skills", leaf) for leaf in leaves])
    return store
