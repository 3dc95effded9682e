"""Transcripts are told part by part, and whatever stands in one, nothing that reads it breaks."""

from __future__ import annotations

import asyncio
import json

import pytest

from curators.critique import Critique, critique
from flows.transcripts import lines
from seedbed.engines import Engines
from seedbed.records import Sample, Verdict
from seedbed.store.tallies import judges
from seedbed.transcripts import read
from tests.grown import PASSED, rows, sample, stored
from tests.scripted import Scripted
from ui.life import _transcript

HOSTILE = (
    '{"outcome":"won","revised":"x","orders":["high","low"],"before":"a","after":"b","fixed":"c","broken":"d"}',
    '{"outcome":"won","revised":"x","orders":[0.9]}',
    '{"attempt":{"outcome":"won","revised":"x","orders":{"a":1}}}',
    '{"turns":["x"]}',
    '{"turns":{"round":1}}',
    '{"opinions":[{"model":"m","orders":[1]}],"turns":[],"orders":7,"attempt":[]}',
    '{"candidates":[1],"chosen":"0].model","rejected":-1,"comparisons":"all","orders":"x"}',
    '{"candidates":[{"text":"t","model":"m"}],"chosen":0,"comparisons":[{"a":-1,"b":"z","in_front":"p"}]}',
    '[{"yes":"surely"}]',
    '[1]',
    "{}",
    '{"broken',
    "[" * 5000,
    "It has a fault.",
)  # fmt: skip
VIEWS = ("revisions", "debates", "preferences", "judges", "verdicts")


def shown(text: str) -> str:
    return str(_transcript(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_transcript_of_ours_is_shown_as_it_stands(text):
    assert read(text) is None
    assert lines(text) == [text] and shown(text)


@pytest.mark.parametrize("said", HOSTILE)
def test_a_critique_that_passes_for_a_transcript_stays_a_critique(said):
    judge = Scripted({"critique": [said]}, {"critique_score": [{"5": 1.0}]})
    found = asyncio.run(critique(rows(1)[0][0], Engines(judge, judge), Critique()))
    assert json.loads(found.transcript or "") == {"critique": said}
    assert lines(found.transcript or "") == [said] and "Critique" in shown(found.transcript or "")


@pytest.mark.parametrize("curator", ["critique", "debate", "preferences", "theirs"])
def test_no_transcript_breaks_a_view(tmp_path, curator):
    made: list[tuple[Sample, tuple[Verdict, ...]]] = []
    for n, text in enumerate(HOSTILE):
        step = "preference" if curator == "preferences" else curator
        said = Verdict(step=step, curator=curator, keep=True, score=0.5, call_ids=("c",), transcript=text)
        made.append((sample(n, "preference"), (PASSED, said)))
    store = stored(tmp_path / "home", made)
    for view in VIEWS:
        store.rows(f"SELECT * FROM {view}")
    assert {row["sample_id"] for row in store.rows("SELECT * FROM debates")} <= {one.sample_id for one, _ in made}
    if curator in ("preferences", "theirs"):
        assert store.rows("SELECT * FROM revisions") == [], "nothing was revised, whatever a model wrote"
    assert [row["judged"] for row in judges(store)] == [len(HOSTILE)]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ([{"yes": 0.25, "review": "Hm."}], ["0.25 for yes: Hm."]),
        ({"critique": "Short."}, ["Short."]),
        (
            {"critique": "Short.", "revised": "Long.", "outcome": "won", "orders": [0.9, 0.8], "before": 2, "after": 4},
            ["Short.", "revision won (0.90 and 0.80 in the two orders), score 2.00 before and 4.00 after: Long."],
        ),
        (
            {
                "candidates": [{"text": "a", "model": "m"}, {"text": "b", "model": ""}],
                "chosen": 1,
                "rejected": 0,
                "scores": [1, 2],
            },
            ["answer 1 by m (rejected, rated 1.00): a", "answer 2 by unknown (chosen, rated 2.00): b"],
        ),
        (
            {
                "outcome": "drop",
                "opinions": [{"model": "m", "orders": [0.6, 0.4]}],
                "turns": [{"round": 1, "side": "for", "text": "So.", "quotes": [], "struck": ["lie"]}],
                "orders": [0.2, 0.1],
                "decisive": "So.",
                "attempt": {"revised": "New.", "outcome": "tie", "orders": None},
            },
            [
                "m before: good 0.60, not faulty 0.40",
                "round 1, for: So.",
                "the judge for it: 0.20 and 0.10 with the sides changed",
                "decided by: So.",
                "revision tie: New.",
            ],
        ),
    ],
)
def test_every_curators_own_transcript_is_told(facts, told):
    text = json.dumps(facts)
    assert lines(text) == told
    assert text not in shown(text), "part by part, not as raw JSON"
