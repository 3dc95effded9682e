"""A store made by hand: samples whose scores, drops and debates are known, for tests of what is done with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson

from seedbed.records import Content, Sample, Verdict
from seedbed.store import Store
from seedbed.store.filters import Filter
from seedbed.store.order_schema import NEXT_ENTRY
from seedbed.store.queue import Key, plan
from seedbed.store.reviews import Event, record
from seedbed.store.rows import Judged, add_tables, judged_tables

NAMES = ("poor", "near", "good", "torn")
SCORES = {"poor": 1.2, "near": 3.4, "good": 4.8, "torn": 3.0}


def judged(number: int, leaf: str, name: str, kind: str = "instruction") -> Judged:
    """A sample of which `name` says how the scripted critique found it; a torn one was debated without a winner."""
    content = Content(question=f"{name} question {number}", answer=f"answer {number}")
    if kind == "preference":
        content = replace(content, rejected=f"worse answer {number}")
    score = SCORES[name]
    critique = orjson.dumps({"critique": "It has a fault."}).decode()
    said = [
        Verdict(step="rules", curator="rules", keep=True),
        Verdict.scored("answer_check", "skills", 4.9, 2.0, "answer fails its check", "call-a"),
        Verdict.scored("critique", "critique", score, 3.5, "critique below 3.5", "call-b", transcript=critique),
    ]
    if name == "torn":
        told = orjson.dumps({"outcome": "drop", "opinions": [], "turns": []}).decode()
        said[2] = Verdict.scored("critique", "critique", 3.6, 3.5, "", "call-b")
        debate = Verdict(step="debate", curator="debate", keep=False, reason="debate undecided", score=0.5)
        said.append(debate.model_copy(update={"call_ids": ("call-c",), "transcript": told}))
    keep = all(verdict.keep for verdict in said)
    sample = Sample(
        sample_id=f"{number:020x}",
        kind=kind,
        method="skills",
        leaf=leaf,
        ordinal=number,
        attempt=0,
        content=content,
        status="kept" if keep else "dropped",
        step="" if keep else said[-1].step,
        reason="" if keep else said[-1].reason,
    )
    return Judged(number, sample, tuple(said))


def add(store: Store, rows: list[Judged], run_id: str = "run1") -> None:
    with store.writing() as db:
        add_tables(db, judged_tables(run_id, rows, "judge"))
        db.execute(
            "INSERT INTO base.runs "
            f"VALUES (?, 'hand', ?, '{{}}', false, 'done', '', now() AT TIME ZONE 'UTC', NULL, 0, 0, {NEXT_ENTRY})",
            [run_id, '{"curate": []}'],
        )
        db.execute(
            "INSERT INTO base.steps VALUES ($run, 1, 'critique', 'critique', 'judge', 'revision', ''), "
            "($run, 2, 'debate', 'debate', 'judge', 'debate', '')",
            {"run": run_id},
        )


def twenty(home: Path) -> Store:
    """Three leaves: eight samples, four and four, of each name in turn, and four pairs in the last leaf."""
    store = Store(home)
    leaves = ["a/one"] * 8 + ["a/two"] * 4 + ["b"] * 4
    rows = [judged(n, leaf, NAMES[n % 4]) for n, leaf in enumerate(leaves)]
    add(store, rows + [judged(100 + n, "b", NAMES[n % 4], "preference") for n in range(4)])
    return store


def keys(store: Store, order: str = "random", reviewer: str = "anna", **fields) -> tuple[Key, ...]:
    return plan(store, reviewer, replace(Filter(state="unreviewed"), **fields), order).keys


def names(store: Store, found: tuple[Key, ...]) -> list[str]:
    rows = store.rows("SELECT sample_id, question FROM samples")
    questions = {row["sample_id"]: str(row["question"]) for row in rows}
    return [questions[key.sample_id].split()[0] for key in found]


def decide(store: Store, reviewer: str, key: Key, action: str, **more) -> str:
    return record(store, reviewer, Event(key.run_id, key.sample_id, action, **more))


def event(key: Key, store: Store, action: str = "") -> Event:
    fits = "tie" if kind_of(store, key) == "preference" else "keep"
    return Event(key.run_id, key.sample_id, action or fits)


def kind_of(store: Store, key: Key) -> object:
    return store.rows("SELECT kind FROM samples WHERE sample_id = ?", [key.sample_id])[0]["kind"]
