"""A person's edit passes the gates that its words have not passed: every step of its run that asks no model.

What a judge would say of it is left to the person, who goes before judges. A step that cannot be taken again (its
benchmark is gone) is against the edit: nobody knows what it would have found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import orjson
from pydantic import ValidationError

from flows.methods import Methods, methods
from seedbed.conversation_json import TEXTS, content_of
from seedbed.records import Sample
from seedbed.store import Store
from seedbed.store.edits import Row, judge_steps, say, unchecked

Against = tuple[str, str]  # the step, and its reason


def check_edits(store: Store) -> None:
    """Look at every edit that nobody has looked at, and store what was found; a version heeds it."""
    waiting = unchecked(store)
    if not waiting:
        return
    steps, known = judge_steps(store), methods()
    say(
        store,
        [
            (row["run_id"], row["review_id"], not against, *(against or ("", "")))
            for row in waiting
            for against in [against_edit(row, [step for step in steps if step["run_id"] == row["run_id"]], known)]
        ],
    )


def against_edit(row: Row, steps: list[Row], known: Methods) -> Against | None:
    """The first step against an edited row, and why; None where all let it pass."""
    changed = {name: str(text) for name, text in orjson.loads(str(row["edit"])).items() if name in TEXTS}
    content = content_of(row)
    if "answer" in changed:
        content = content.answered(changed.pop("answer"))
    sample = Sample(
        sample_id=str(row["sample_id"]),
        kind=str(row["kind"]),
        method=str(row["method"]),
        leaf=str(row["leaf"]),
        ordinal=int(str(row["ordinal"])),
        attempt=int(str(row["attempt"])),
        content=replace(content, **changed),  # type: ignore[arg-type]  # texts only
    )
    return next(_against(sample, steps, known), None)


def _against(sample: Sample, steps: list[Row], known: Methods) -> Iterator[Against]:
    for step in steps:
        judge = known.judges.get(str(step["method"]))
        if judge is None or judge.at_once is None:
            continue
        try:
            verdict = judge.at_once(sample, judge.options.model_validate_json(str(step["options"])))
        except (ValidationError, OSError) as error:
            yield str(step["step"]), f"it cannot be looked at again: {str(error).splitlines()[-1].strip()}"
            continue
        if not verdict.keep:
            yield str(step["step"]), verdict.reason
