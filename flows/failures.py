"""A row that failed: why, in words short enough to group by, and all that is known of it.

What no engine answered for is tried again by the same command. What was answered and cannot be read, or is turned down
for good, is not: it is counted, and the run goes on without it. A bug in a method costs its row, not the run.
"""

from __future__ import annotations

import traceback

from flows.progress import Failure
from seedbed.engines import EngineError, EngineRefused
from seedbed.prompts import BadPrompt
from seedbed.records import Leaf, Sample
from seedbed.replies import Unreadable
from seedbed.sources.misfit import Misfit
from seedbed.store.runs import ENGINE_FAILURE

REFUSED = "refused: "
_QUOTED = 4_000  # characters of a reply that cannot be read, in the row; the whole of it is in its call
_TELLING = 200  # characters of an example or a document that show it is in a prompt


def failed(sample: Sample, step: str, problem: Exception, leaf: Leaf | None) -> tuple[Sample, Failure]:
    """The sample, failed for this problem at this step, and the failure for whoever counts them."""
    call_id = getattr(problem, "call_id", "")
    if isinstance(problem, Unreadable):
        step, reason = problem.step, f"unreadable answer: {problem.why}"
        told = Failure(step, reason, problem.raw, problem.remedy)
        error = "\n".join(filter(None, (problem.remedy, problem.raw[:_QUOTED])))
    elif isinstance(problem, EngineError):
        final = isinstance(problem, EngineRefused) and call_id
        reason = f"{REFUSED if final else ENGINE_FAILURE}{problem.kind}"
        error = f"{problem}{_longest(leaf) if problem.kind == 'prompt too long' else ''}"
        told = Failure(step, reason, error)
    elif isinstance(problem, Misfit):
        reason, error = f"does not fit: {problem.reason}", problem.details
        told = Failure(step, reason, error, "Correct the row, or say under columns: which column is what")
    elif isinstance(problem, BadPrompt):
        reason, error = f"the prompt cannot be filled: {str(problem).splitlines()[0][:160]}", str(problem)
        told = Failure(step, reason, error, "Correct the prompt's file")
    else:
        last = f"{type(problem).__name__}: {problem}".splitlines()[0]
        reason, error = f"a bug: {last[:120]}", "".join(traceback.format_exception(problem))
        told = Failure(step, reason, error, "Please report it with these lines; the row's traceback: seedbed why ID")
    calls = (*sample.call_ids, *([call_id] if call_id and call_id not in sample.call_ids else []))
    changes = {"status": "failed", "step": step, "reason": reason, "error": error, "call_ids": calls}
    return sample.model_copy(update=changes), told


def _longest(leaf: Leaf | None) -> str:
    """Which of a leaf's texts is the longest: as a rule the one that makes a prompt too long."""
    if leaf is None:
        return ""
    texts = {
        f"seed example {n + 1} of {leaf.path}/qna.yaml": len(seed.context) + len(seed.question) + len(seed.answer)
        for n, seed in enumerate(leaf.seeds)
    }
    texts |= {f"a piece of the document {document.name}": len(document.text) for document in leaf.documents}
    texts |= {
        f"row {n + 1} of {leaf.path}": len(request.context) + len(request.question)
        for n, request in enumerate(leaf.requests)
    }
    if not texts:
        return ""
    name = max(texts, key=texts.__getitem__)
    return f" The longest text it may show is {name}, with {texts[name]:,} characters."
