"""What a server or a model said when it failed stands whole in the report."""

from __future__ import annotations

from flows.progress import HEARD, Failure, Progress
from seedbed.budget import Tally
from seedbed.store.runs import ENGINE_FAILURE

REMEDY = (
    "HTTP 400: this endpoint does not take max_tokens with this model; use max_completion_tokens instead, and leave "
    "temperature out, as https://docs.example/reasoning says under Parameters, or ask your administrator to allow it"
)


def told(*failures: Failure) -> str:
    progress = Progress(Tally(), 10)
    for failure in failures:
        progress.failure(failure)
    return progress.raw_failures()


def test_a_servers_own_remedy_is_shown_to_its_end():
    shown = told(*[Failure("answer", f"{ENGINE_FAILURE}HTTP 400", REMEDY)] * 3)
    assert f"3 x answer: {ENGINE_FAILURE}HTTP 400\n      e.g. {REMEDY}" in shown


def test_what_a_model_said_stands_under_the_reason():
    shown = told(Failure("question", "unreadable answer: no JSON", "Sure!\n  Here 'you' are."), Failure("q", "why", ""))
    assert "unreadable answer: no JSON\n      e.g. Sure! Here 'you' are." in shown and "(an empty answer)" in shown


def test_what_is_very_long_is_cut_between_words_with_the_count_of_the_rest():
    raw = "word " * 1000
    line = told(Failure("q", "unreadable answer", raw)).splitlines()[-1].strip()
    shown = line.removeprefix("e.g. ").partition(" … (")[0]
    assert shown.endswith("word") and len(shown) <= HEARD
    assert line.endswith(f" … ({len(raw.strip()) - len(shown):,} more characters)")
