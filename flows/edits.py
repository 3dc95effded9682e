"""Words that were changed pass the gates that they have not passed: a person's edit, and a revision's twins.

An edit passes every step of its run that asks no model. A revision has passed all judges when it was made
(`flows.gates`); whether it says what another row says is known when all rows are there.

What a judge would say of it is left to the person, who goes before judges. A step that cannot be taken again (its
benchmark is gone) is against the edit: nobody knows what it would have found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import orjson
from pydantic import ValidationError

from curators.exact_duplicates import STEP as DUPLICATES
from curators.exact_duplicates import ExactDuplicates, keys_of
from flows.gates import AGAIN
from flows.methods import Methods, methods
from flows.steps import JudgeStep
from seedbed.conversation_json import TEXTS, content_of
from seedbed.records import Sample
from seedbed.store import Store
from seedbed.store.edits import Row, say, steps_of_runs, twin_of, unchecked
from seedbed.store.revised import keys_held, revised_rows, say_again

Against = tuple[str, str]  # the step, and its reason


def check_edits(store: Store) -> None:
    """Look at every edit that nobody has looked at, and store what was found; a version heeds it."""
    waiting = unchecked(store)
    if not waiting:
        return
    steps, known = steps_of_runs(store), methods()
    found = []
    for row in waiting:
        mine = [step for step in steps if step["run_id"] == row["run_id"]]
        against = next(_against(store, edited(row), str(row["run_id"]), mine, known), None)
        found.append((row["run_id"], row["review_id"], not against, *(against or ("", ""))))
    say(store, found)


def check_revised(store: Store, run_id: str, twins: ExactDuplicates | None) -> list[tuple[str, int, bool]]:
    """Drop the revised rows of a run that say what another kept row of it says; of two revised ones the later.

    Each row that was looked at, with its key as it is now and whether it stays.
    """
    waiting = revised_rows(store, run_id, f"{DUPLICATES}{AGAIN}") if twins else []
    if not twins or not waiting:
        return []
    keys = keys_of([(str(row["kind"]), content_of(row)) for row in waiting], twins.by).tolist()
    ids = [str(row["sample_id"]) for row in waiting]
    held, found = keys_held(store, run_id, keys, ids), list[tuple[str, int, bool]]()
    for sample_id, key in zip(ids, keys, strict=True):
        found.append((sample_id, key, key not in held))
        held.add(key)
    say_again(store, run_id, f"{DUPLICATES}{AGAIN}", DUPLICATES, found)
    return found


def edited(row: Row) -> Sample:
    """A row of the store with its edit."""
    changed = {name: str(text) for name, text in orjson.loads(str(row["edit"])).items() if name in TEXTS}
    content = content_of(row)
    if "answer" in changed:
        content = content.answered(changed.pop("answer"))
    return Sample(
        sample_id=str(row["sample_id"]),
        kind=str(row["kind"]),
        method=str(row["method"]),
        leaf=str(row["leaf"]),
        ordinal=int(str(row["ordinal"])),
        attempt=int(str(row["attempt"])),
        content=replace(content, **changed),  # type: ignore[arg-type]  # texts only
    )


def _against(store: Store, sample: Sample, run_id: str, steps: Sequence[Row], known: Methods) -> Iterator[Against]:
    """What the steps that ask no model have against an edited row, in their order."""
    for step in steps:
        name, told = str(step["step"]), str(step["options"])
        judge = known.judges.get(str(step["method"]))
        try:
            if name == DUPLICATES:
                options = ExactDuplicates.model_validate_json(told)
                [key] = keys_of([(sample.kind, sample.content)], options.by).tolist()
                if twin := twin_of(store, run_id, sample.sample_id, key):
                    yield name, f"it says what {twin} says"
            elif judge is not None and judge.at_once is not None:
                taken = JudgeStep(name, str(step["method"]), judge, judge.options.model_validate_json(told))
                verdict = judge.at_once(taken.seen(sample.kind, sample.content), taken.options)
                if not verdict.keep:
                    yield name, verdict.reason
        except (ValidationError, OSError) as error:
            yield name, f"it cannot be looked at again: {str(error).splitlines()[-1].strip()}"
