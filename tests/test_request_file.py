"""Files of requests: in any form that rows are read in, each request once, with the answers that were recorded."""

from __future__ import annotations

import pytest

from seedbed.conversation import Turn
from seedbed.records import Answer, Request
from seedbed.request_file import read_requests
from seedbed.yamlfile import BadInput


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.jsonl", '{"prompt": "P?"}\n{"prompt": "Q?"}\n', (Request("P?"), Request("Q?"))),
        ("a.csv", "instruction,input\nDo it,With this\n", (Request("Do it", "With this"),)),
        (
            "a.json",
            '[{"instruction": "P?", "output": "x", "generator": "m"}, {"instruction": "P?", "output": "y"}]',
            (Request("P?", "", (Answer("x", "m"), Answer("y"))),),
        ),
        (
            "a.jsonl",
            '{"messages": [{"role": "user", "content": "P?"}, {"role": "assistant", "content": "x"}]}\n',
            (Request("P?", "", (Answer("x"),)),),
        ),
        ("a.csv", "question,answer\nP?,042\nP?,true\n", (Request("P?", "", (Answer("042"), Answer("true"))),)),
        (
            "a.jsonl",
            '{"prompt": "P?", "chosen": "x", "rejected": "<think>hm</think>y"}\n{"prompt": "P?", "response": "z"}\n',
            (Request("P?", "", (Answer("x"), Answer("y", reasoning="hm"), Answer("z"))),),
        ),
        (
            "a.jsonl",
            '{"system": "S", "conversations": [{"from": "human", "value": "P?"}]}\n',
            (Request("P?", turns=(Turn("system", "S"), Turn("user", "P?"))),),
        ),
    ],
)
def test_files_of_requests_are_read_by_the_names_in_use(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert read_requests(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "P?", r"no file of rows ends in '\.txt'"),
        ("absent.jsonl", None, "there is no such file"),
        ("a.jsonl", '{"frage": "P?"}\n', r"a\.jsonl:1: row 1: none of the forms.*its columns are frage"),
        ("a.jsonl", '{"prompt": "P?"}\n{"prompt": " "}\n', r"a\.jsonl:2: row 2: no request"),
        ("a.jsonl", '\n{"prompt": "P?"}\n{broken\n', r"a\.jsonl:3: row 2: it is no JSON"),
        ("a.jsonl", '{"messages": [{"role": "boss", "content": "a"}]}\n', "an unknown role in messages"),
        ("a.jsonl", "", "no requests in it"),
        ("a.csv", "prompt,answer\nP?,x,y\n", r"a\.csv:2: row 1: it has 3 cells"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_way_out(tmp_path, name, text, said):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=said):
        read_requests(tmp_path / name)
