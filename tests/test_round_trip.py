"""Every form: what is read in it is written in it again, equal; through the whole path too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporters.forms import row_of
from seedbed.sources.forms import understand
from tests.test_rows import NO_MODEL
from tests.test_run import facts, seedbed

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
ASKED: list[dict[str, Any]] = [{"role": "user", "content": "Why?\n\nReally."}]
SAID: list[dict[str, Any]] = [{"role": "assistant", "content": "Because. 中文 😀"}]
OTHER: list[dict[str, Any]] = [{"role": "assistant", "content": "No idea."}]
SYSTEM: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}]
CALL: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": {"place": "harbour"}}}
AS_TEXT = {**CALL, "function": {"name": "find", "arguments": '{"place":  "harbour"}'}}


def called(call: dict[str, Any]) -> list[dict[str, Any]]:
    result = {"role": "tool", "name": "find", "content": "Line 7", "tool_call_id": "c1"}
    return [*SYSTEM, *ASKED, {"role": "assistant", "content": "", "tool_calls": [call]}, result, *SAID]


ROWS: list[tuple[str, dict[str, Any]]] = [
    ("messages", {"messages": ASKED + SAID}),
    ("messages", {"messages": SYSTEM + ASKED + SAID + ASKED + OTHER}),
    ("messages", {"messages": called(CALL), "tools": [TOOL]}),
    ("openai", {"messages": called(AS_TEXT), "tools": [TOOL]}),
    ("prompt-completion", {"prompt": SYSTEM + ASKED, "completion": SAID}),
    ("standard", {"prompt": "Why?", "completion": "Because."}),
    ("sharegpt", {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]}),
    ("alpaca", {"instruction": "Shorten this.", "input": "A long text.", "output": "A text."}),
    ("preference", {"prompt": ASKED, "chosen": SAID, "rejected": OTHER}),
    ("preference-standard", {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea."}),
    ("preference-whole", {"chosen": ASKED + SAID, "rejected": ASKED + OTHER}),
    (
        "sharegpt-preference",
        {
            "conversations": [{"from": "human", "value": "Why?"}],
            "chosen": {"from": "gpt", "value": "Because."},
            "rejected": {"from": "gpt", "value": "No idea."},
        },
    ),
    ("kto", {"prompt": ASKED, "completion": SAID, "label": True}),
    ("kto-standard", {"prompt": "Why?", "completion": "Because.", "label": False}),
    ("messages", {"messages": ASKED + [{"role": "assistant", "content": "", "tool_calls": [CALL]}], "tools": [TOOL]}),
    (
        "preference",
        {"prompt": ASKED, "chosen": SAID, "rejected": [{"role": "assistant", "content": "", "tool_calls": [CALL]}]},
    ),
    ("correction", {"question": "Why?", "answer": "No idea.", "corrected": "Because."}),
]


@pytest.mark.parametrize(("form", "row"), ROWS, ids=[f"{form}{n}" for n, (form, _) in enumerate(ROWS)])
def test_a_row_of_a_form_is_written_in_it_as_it_was_read(form, row):
    written = row_of(understand(row).content, form)
    assert {name: value for name, value in written.items() if value not in (None, "", [])} == row


@pytest.mark.skipif(not SHARED.exists(), reason="the real data are beside a checkout of ours only")
def test_real_answers_of_models_come_out_as_they_went_in(tmp_path):
    import pyarrow.parquet as pq

    table = pq.read_table(SHARED / "alpaca_eval" / "outputs.parquet", columns=["instruction", "output", "model"])
    table = table.slice(0, 2000)
    pq.write_table(table, tmp_path / "answers.parquet")
    step = {"rows": {"from": "answers.parquet"}}
    recipe = {"name": "real", "model": NO_MODEL, "generate": [step]}
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(recipe))
    home, out = tmp_path / "home", tmp_path / "out.jsonl"
    found = facts("run", tmp_path / "real.yaml", home=home)
    given = table.to_pylist()
    fit = [row for row in given if (row["instruction"] or "").strip() and (row["output"] or "").strip()]
    assert found["run"]["kept"] == len(fit) and found["run"]["failed"] == len(given) - len(fit)
    done = seedbed("export", "real", out, "--form", "alpaca", "--split", "all", home=home)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    told = [(row["instruction"], row["output"], row["model"]) for row in rows]
    assert told == [(row["instruction"], row["output"], row["model"]) for row in fit]
