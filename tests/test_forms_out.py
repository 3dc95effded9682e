"""Every form, as the reader that it is for takes it: whole conversations stay whole, and nothing is made flat."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pytest

from exporters.formats import LINEAGE, Manner, export
from exporters.forms import FORMS, Unfit, columns_of, features_of, row_of
from exporters.trl_rows import read_by_trl
from seedbed import kinds
from seedbed.conversation import Content, Response, ToolCall, Turn
from seedbed.conversation_json import rest_json
from seedbed.store.selection import Traits
from tests.tiny_model import tiny_model

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"at": {"type": ["string", "null"]}}},
    },
}
OTHER = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
PLAIN = Content(question="Why is the sky blue?", answer="Because of “scattering”. \U0001f600", rejected="It is not.")
ABOUT = Content(question="What colour?", context="The sky is blue.", answer="Blue.", rejected="Red.")
LONG = Content.of(
    [Turn("system", "Be brief."), Turn("user", "Hello"), Turn("assistant", "Hi."), Turn("user", "And now?")],
    [Response("Now this.", "writer", reasoning="They ask again."), Response("Nothing.")],
    label=True,
)
CALLED = Content.of(
    [
        Turn("user", "Weather in Rome and Oslo?"),
        Turn(
            "assistant", tool_calls=(ToolCall("weather", {"at": "Rome"}, "c1"), ToolCall("weather", {"at": None}, "c2"))
        ),
        Turn("tool", '{"degrees": 31.5}', name="weather", tool_call_id="c1"),
    ],
    [Response("31.5 degrees."), Response("", tool_calls=(ToolCall("time", '{"odd": '),))],
    tools=[WEATHER, OTHER],
    label=False,
)
TWICE = Content.of([Turn("user", "a"), Turn("user", "b")], [Response("c")])
EVERY = (PLAIN, ABOUT, LONG, CALLED)
KIND = {form: next(name for name, kind in kinds.KINDS.items() if form in kind.forms) for form in FORMS}
TRAITS = Traits(turns=2, tools=1)


def labelled(content: Content) -> Content:
    return content if content.label is not None else Content.of(content.turns, content.responses, label=True)


def table(contents, kind: str) -> pa.Table:
    pair = kinds.KINDS[kind].second
    made = [one if pair else one.alone() for one in map(labelled, contents)]
    return pa.Table.from_pylist(
        [
            {
                **{name: getattr(one, name) for name in ("question", "answer", "context", "rejected")},
                **{"rest": rest_json(one.rest), "kind": kind, "sample_id": f"{n}", "split": "train", "parents": ["p"]},
                **{"leaf": "a/b", "method": "hand", "model": "m"},
                "scores": [{"step": "s", "curator": "c", "judge": "j", "score": 4.0, "threshold": 3.5}],
            }
            for n, one in enumerate(made)
        ]
    )


def fitting(form: str) -> list[Content]:
    found = []
    for content in EVERY:
        try:
            row_of(labelled(content), form)
        except Unfit:
            continue
        found.append(content)
    return found


def exported(tmp_path, form: str, suffix: str, contents=EVERY, **manner):
    import datasets

    path = tmp_path / f"{form}{suffix}"
    asked = Manner(form, traits=TRAITS, **manner)
    written = export([table(contents, KIND[form])], path, asked)
    builder = {".jsonl": "json", ".parquet": "parquet"}[suffix]
    # In JSON lines `datasets` guesses, and takes [1, "2"] for two numbers: who loads them says the columns.
    features = {"features": features_of(asked.columns, asked.loose)} if suffix == ".jsonl" else {}
    loaded = datasets.load_dataset(
        builder, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"), **features
    )
    assert loaded.features == features_of(asked.columns, asked.loose)
    return written, loaded


def test_the_forms_that_kinds_name_are_the_forms_that_there_are():
    assert set(kinds.FORMS) == set(FORMS)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_datasets_loads_every_form_as_its_rows_are(tmp_path, form, suffix):
    written, loaded = exported(tmp_path, form, suffix)
    whole = fitting(form)
    assert written.rows == loaded.num_rows == len(whole) and written.left_out.total() == len(EVERY) - len(whole)
    for row, content in zip(loaded, whole, strict=True):
        lineage = {name: row.pop(name) for name in LINEAGE}
        assert lineage["id"] == str(EVERY.index(content)) and lineage["source"] == "p" and lineage["scores"]
        wanted = row_of(labelled(content if kinds.KINDS[KIND[form]].second else content.alone()), form)
        empty = dict.fromkeys(columns_of(form, TRAITS)) | {"system": "", "history": []}
        if form.startswith("sharegpt"):
            empty["tools"] = ""
        assert row == {name: wanted.get(name, empty[name]) for name in row}


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form.conversational])
def test_trl_reads_every_conversational_form(tmp_path, form):
    trl = pytest.importorskip("trl.data_utils")
    _, loaded = exported(tmp_path, form, ".parquet")
    rows = loaded.to_list()
    if form == "preference-whole":
        pairs = row_of(PLAIN, "preference"), row_of(LONG, "preference")
        assert (trl.extract_prompt(rows[0]), trl.extract_prompt(rows[2])) == pairs
        return
    assert read_by_trl({form: rows}) == ([], f"read by TRL {version_of('trl')}: {len(EVERY)} rows as conversations")


def version_of(name: str) -> str:
    from importlib.metadata import version

    return version(name)


@pytest.mark.parametrize("form", ["standard", "preference-standard", "kto-standard"])
def test_trl_takes_standard_forms_for_texts(tmp_path, form):
    trl = pytest.importorskip("trl.data_utils")
    _, loaded = exported(tmp_path, form, ".parquet")
    assert not any(map(trl.is_conversational, loaded)) and loaded.num_rows == 2
    assert loaded[1]["prompt"] == "The sky is blue.\n\nWhat colour?"


TRAINERS = {
    "messages": "SFT",
    "prompt-completion": "SFT",
    "standard": "SFT",
    "preference": "DPO",
    "preference-standard": "DPO",
    "preference-whole": "Reward",
    "kto": "KTO",
    "kto-standard": "KTO",
}


@pytest.mark.parametrize("form", TRAINERS)
def test_trls_trainers_learn_from_the_file_with_all_its_columns(tmp_path, form):
    trl = pytest.importorskip("trl")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    words = [Content(question=f"w{n} w{n + 1}", answer=f"w{n + 2}", rejected="w0 w1") for n in range(4)]
    labels = [Content.of(one.turns, one.responses, label=n % 2 == 0) for n, one in enumerate(words)]
    _, loaded = exported(tmp_path, form, ".parquet", labels)
    name, model = TRAINERS[form], tiny_model(tmp_path / "model")
    settings = getattr(trl, f"{name}Config")(
        output_dir=str(tmp_path / "out"),
        max_steps=1,
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    start = str(model)
    if name == "Reward":
        start = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(model)
    trainer = getattr(trl, f"{name}Trainer")(start, args=settings, train_dataset=loaded, processing_class=tokenizer)
    assert trainer.train().training_loss > 0


def test_a_call_of_a_tool_is_an_object_for_templates_and_a_text_for_openai():
    turn = row_of(CALLED, "messages")["messages"][1]
    assert [call["function"]["arguments"] for call in turn["tool_calls"]] == [{"at": "Rome"}, {"at": None}]
    assert turn["tool_calls"][0]["id"] == "c1" and row_of(CALLED, "messages")["tools"] == [WEATHER, OTHER]
    said = row_of(CALLED, "openai")["messages"]
    assert [call["function"]["arguments"] for call in said[1]["tool_calls"]] == ['{"at":"Rome"}', '{"at":null}']
    assert said[2] == {"role": "tool", "content": '{"degrees": 31.5}', "name": "weather", "tool_call_id": "c1"}
    odd = Content.of([Turn("user", "?")], [CALLED.responses[1]])
    assert row_of(odd, "openai")["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"odd": '


def test_reasoning_is_written_only_where_it_is_asked_for(tmp_path):
    _, loaded = exported(tmp_path, "messages", ".parquet", [LONG], reasoning=True)
    assert loaded[0]["messages"][-1] == {
        "role": "assistant",
        "content": "Now this.",
        "reasoning_content": "They ask again.",
    }
    for form in FORMS:
        try:
            assert b"They ask again" not in orjson.dumps(row_of(LONG, form)), form
        except Unfit:
            continue


def test_passages_are_left_out_where_that_is_asked_for(tmp_path):
    later = Content.of([Turn("user", "What?", "Long text"), Turn("assistant", "It."), Turn("user", "So?", "Long text")])
    _, loaded = exported(tmp_path, "messages", ".parquet", [ABOUT, later.answered("Yes.")], passages=False)
    assert [[turn["content"] for turn in row["messages"]] for row in loaded] == [
        ["What colour?", "Blue."],
        ["What?", "It.", "So?", "Yes."],
    ]


@pytest.mark.parametrize(
    ("content", "form", "why"),
    [
        (LONG, "standard", "several turns or a system prompt"),
        (LONG, "correction", "several turns or a system prompt"),
        (CALLED, "standard", "tools"),
        (CALLED, "alpaca", "tools"),
        (Content.of([Turn("user", "?")], [Response(tool_calls=(ToolCall("f", {}),))]), "standard", "a call of a tool"),
        (Content.of([Turn("user", "?")], [Response("Well:", tool_calls=(ToolCall("f", {}),))]), "sharegpt",
         "words beside a call of a tool"),
        (TWICE, "sharegpt", "turns that do not alternate"),
        (TWICE, "alpaca", "turns that do not alternate"),
        (Content.of([Turn("user", "a"), Turn("system", "b"), Turn("user", "c")], [Response("d")]), "sharegpt",
         "a system prompt after the beginning"),
    ],
)  # fmt: skip
def test_what_a_form_cannot_hold_is_left_out_and_counted_with_the_reason(tmp_path, content, form, why):
    with pytest.raises(Unfit, match=f"^{why}$"):
        row_of(content, form)
    written = export([table([content, ABOUT], KIND[form])], tmp_path / "a.jsonl", Manner(form, traits=TRAITS))
    assert written.rows == 1 and written.told() == [f"1 left out that the form cannot hold: 1 x {why}"]


def test_sharegpt_and_alpaca_are_as_llama_factory_documents_them():
    """`data/README.md` there: who asks stands at odd places, who answers at even ones; tools are a text of JSON."""
    row = row_of(CALLED, "sharegpt")
    assert [one["from"] for one in row["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert orjson.loads(row["conversations"][1]["value"]) == [
        {"name": "weather", "arguments": {"at": "Rome"}},
        {"name": "weather", "arguments": {"at": None}},
    ]
    assert orjson.loads(row["tools"]) == [WEATHER, OTHER]
    pair = row_of(LONG, "sharegpt-preference")
    assert pair == {
        "system": "Be brief.",
        "conversations": [
            {"from": "human", "value": "Hello"},
            {"from": "gpt", "value": "Hi."},
            {"from": "human", "value": "And now?"},
        ],
        "chosen": {"from": "gpt", "value": "Now this."},
        "rejected": {"from": "gpt", "value": "Nothing."},
    }
    assert row_of(LONG, "alpaca") == {
        **{"instruction": "And now?", "input": "", "output": "Now this.", "system": "Be brief."},
        "history": [["Hello", "Hi."]],
    }
    assert row_of(ABOUT, "alpaca") == {"instruction": "What colour?", "input": "The sky is blue.", "output": "Blue."}


def test_a_file_has_no_column_for_turns_or_tools_that_no_row_has(tmp_path):
    for form, bare in (
        ("messages", {"messages"}),
        ("sharegpt", {"conversations"}),
        ("alpaca", {"instruction", "input", "output"}),
    ):
        export([table([ABOUT], KIND[form])], tmp_path / "a.jsonl", Manner(form, bare=True))
        assert orjson.loads((tmp_path / "a.jsonl").read_bytes()).keys() == bare


@pytest.mark.parametrize("content", [CALLED, LONG])
def test_columns_without_a_place_for_what_a_row_has_are_never_filled_without_it(tmp_path, content):
    """Whoever says that no row has tools or turns, and is wrong, gets no file."""
    with pytest.raises(ValueError, match=r"a row has other columns|has tools or reasoning"):
        export([table([content], "instruction")], tmp_path / "a.parquet", Manner("sharegpt"))
    assert not list(tmp_path.iterdir())
