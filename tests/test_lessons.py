"""What carries loss: exactly the answers, whatever the template, or a row is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.conversation import Content, Response, ToolCall, Turn
from seedbed.engines.fingerprint import folder_of
from tests.tiny_model import tiny_model
from tests.tiny_tokenizers import KINDS, spelling_model
from trainer import dpo, sft
from trainer.manifest import hash_of
from trainer.options import Training
from trainer.pretrained import load
from trainer.rows import Row, fit
from trainer.tokens import APART, BENT

TURNS = (
    Turn("system", "rate the answer"),
    Turn("assistant", "keeper"),
    Turn("user", "New York"),
    Turn("assistant", "yes"),
    Turn("user", "New Delhi"),
)
CHAT = Content.of(TURNS, [Response("the answer of the first")])
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
USED = Content.of(
    [Turn("user", "sum?"), Turn("assistant", tool_calls=(ToolCall("add", '{"a": 1}'),)), Turn("tool", "3", name="add")],
    [Response("three")],
    [ADD],
)
THOUGHT = Content.of(
    [Turn("user", "one?"), Turn("assistant", "uno", reasoning="first"), Turn("user", "two?")],
    [Response("dos", reasoning="second")],
)
KNOWN = Content(question="keep or drop", context="New York yesterday", answer="keep the first")
ONE_END = (
    "{% for turn in messages %}<turn>{{ turn.role }}\n{{ turn.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def smol():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder_of("smollm2-135m")))


@pytest.fixture(scope="module")
def bytewise(tmp_path_factory):
    """A tokenizer of bytes, which can write whatever a template says."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(spelling_model(tmp_path_factory.mktemp("bytes"), "bytes"))


def templated(tokenizer, name: str):
    """It with a template that TRL ships of a family of models."""
    import trl

    tokenizer.chat_template = (Path(str(trl.__file__)).parent / "chat_templates" / f"{name}.jinja").read_text()
    return tokenizer


def found(tokenizer, content: Content, kind: str = "dialogue", **options: object):
    return fit([Row("a", kind, False, content)], Training.model_validate(options), tokenizer, 4000)


def learned(tokenizer, content: Content, kind: str = "dialogue", **options: object) -> list[list[str]]:
    """The texts that carry loss, by sequence; they are TRL's labels."""
    fitting = found(tokenizer, content, kind, **options)
    assert not fitting.refused, fitting.reasons
    texts = []
    for lesson in fitting.lessons:
        columns = sft.columns(lesson)
        counted = [n for n, label in enumerate(columns["labels"].tolist()) if label != sft.IGNORED]
        assert counted == [n for start, end in lesson.learned for n in range(start, end)]
        texts.append([tokenizer.decode(columns["input_ids"][start:end].tolist()) for start, end in lesson.learned])
    return texts


def test_on_the_embedded_models_template_the_answers_with_their_end_are_learned_and_nothing_else(smol):
    said = ["yes<|im_end|>\n", "the answer of the first<|im_end|>\n"]
    assert learned(smol, CHAT) == [said], "the assistant's words before any request are no answer"
    assert found(smol, CHAT).remarks == {}


@pytest.mark.parametrize("kind", KINDS)
def test_so_it_is_on_every_kind_of_tokenizer(tmp_path, kind):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(spelling_model(tmp_path, kind, ONE_END))
    [texts] = learned(tokenizer, CHAT)
    assert ["".join(text.split()) for text in texts] == ["yes</s>", "theanswerofthefirst</s>"]


@pytest.mark.parametrize(
    ("family", "first", "last"),
    [
        ("qwen2_5", "yes<|im_end|>\n", "the answer of the first<|im_end|>\n"),
        ("llama3_2", "yes<|eot_id|>", "the answer of the first<|eot_id|>"),
        (
            "qwen3",
            "<think>\n\n</think>\n\nyes<|im_end|>\n",
            "<think>\n\n</think>\n\nthe answer of the first<|im_end|>\n",
        ),
        ("phi3", "yes<|end|>\n</s>", "the answer of the first<|end|>\n</s>"),
    ],
)
def test_where_a_template_writes_earlier_turns_anew_each_answer_is_learned_as_it_is_when_it_is_given(
    bytewise, family, first, last
):
    chat = Content.of(TURNS[2:], CHAT.responses)
    apart = family in ("qwen3", "phi3")
    assert learned(templated(bytewise, family), chat) == ([[first], [last]] if apart else [[first, last]])
    assert found(bytewise, chat).remarks == ({APART: 1} if apart else {})


def test_what_is_learned_of_one_request_is_what_trl_makes_of_it(tmp_path):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]  # trl exports them lazily

    from trainer.arguments import arguments

    training = Training(model=str(tiny_model(tmp_path / "model")), max_length=40)
    start = load(training)
    row = {"prompt": [{"role": "user", "content": "w1 w2"}], "completion": [{"role": "assistant", "content": "w3 w4"}]}
    config = SFTConfig(**arguments(start, training, tmp_path))
    theirs = SFTTrainer(start.model, config, train_dataset=Dataset.from_list([row]), processing_class=start.tokenizer)
    ours = fit([Row("a", "instruction", False, Content("w1 w2", "w3 w4"))], training, start.tokenizer, 40)
    trainer = sft.prepare(start, ours, training, tmp_path, lambda told: None)
    assert isinstance(trainer.train_dataset, Dataset) and isinstance(theirs.train_dataset, Dataset)
    assert trainer.train_dataset[0] == {name: theirs.train_dataset[0][name] for name in ("input_ids", "labels")}


def test_a_pair_with_turns_and_tools_is_to_trl_what_is_measured(tmp_path):
    from datasets import Dataset

    template = (
        "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}{% for turn in messages %}<{{ turn.role }}> "
        "{{ turn.content }} {% if 'tool_calls' in turn %}{% for call in turn.tool_calls %}{{ call.function.name }} "
        "{{ call.function.arguments.a }} {% endfor %}{% endif %}<end> {% endfor %}"
        "{% if add_generation_prompt %}<assistant> {% endif %}"
    )
    model = tiny_model(tmp_path / "model", template)
    training = Training(objective="dpo", model=str(model), max_length=60)
    start = load(training)
    tool = {"type": "function", "function": {"name": "w50", "parameters": {}}}
    called = [Turn("user", "w1"), Turn("assistant", tool_calls=(ToolCall("w50", {"a": "w5"}),)), Turn("tool", "w6")]
    better, worse = Response("w7 w8"), Response("w9", tool_calls=(ToolCall("w50", {"a": "w4"}),))
    contents = [Content.of(called, [better, worse], [tool]), Content("w1 w2", "w3", rejected="w4 w4")]
    rows = [Row(str(held_out), "preference", held_out, one) for one in contents for held_out in (False, True)]
    fitting = fit(rows, training, start.tokenizer, 60)
    assert not fitting.refused
    trainer = dpo.prepare(start, fitting, training, tmp_path, lambda told: None)
    assert isinstance(trainer.train_dataset, Dataset)
    theirs = [(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in trainer.train_dataset.to_list()]
    assert theirs == [(row.prompt, row.answer, row.rejected) for row in fitting.tokens]
    told = start.tokenizer.decode(theirs[0][0])
    assert told == "w50 <user> w1 <end> <assistant> w50 w5 <end> <unk> w6 <end> <assistant>"


def test_calls_of_tools_are_learned_as_answers_are_and_what_tools_said_is_not(bytewise):
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>\n'
    assert learned(templated(bytewise, "qwen2_5"), USED) == [[call, "three<|im_end|>\n"]]


def test_reasoning_is_learned_only_where_it_is_asked_for(bytewise):
    qwen = templated(bytewise, "qwen3")
    assert "second" not in str(learned(qwen, THOUGHT))
    said = [["<think>\nfirst\n</think>\n\nuno<|im_end|>\n"], ["<think>\nsecond\n</think>\n\ndos<|im_end|>\n"]]
    assert learned(qwen, THOUGHT, reasoning=True) == said


def test_what_a_template_has_no_place_for_is_refused_and_not_left_out_in_silence(smol, bytewise):
    assert found(smol, THOUGHT, reasoning=True).reasons == {"the model's template has no place for reasoning": 1}
    assert found(smol, THOUGHT).reasons == {}
    assert found(smol, USED).reasons == {"the model's template has no place for tools": 1}
    without = Content.of(USED.turns, USED.responses)
    assert found(smol, without).reasons == {"the model's template has no place for calls of tools": 1}
    both = [Turn("user", "sum?"), Turn("assistant", "so", tool_calls=(ToolCall("add", {"a": 1}),)), Turn("tool", "3")]
    beside = Content.of(both, USED.responses, [ADD])
    reasons = {"the model's template has no place for words beside calls of tools": 1}
    assert found(templated(bytewise, "llama3_2"), beside).reasons == reasons
    deaf = "{% for turn in messages if turn.role != 'system' %}<turn>{{ turn.content }}</s>{% endfor %}<turn>"
    bytewise.chat_template = deaf
    assert found(bytewise, CHAT).reasons == {"the model's template has no place for system turns": 1}


def test_a_template_that_fails_on_a_row_refuses_that_row_in_its_own_words(bytewise):
    gemma = templated(bytewise, "gemma")
    rows = [Row("a", "dialogue", False, CHAT), Row("b", "instruction", False, Content("one?", "uno"))]
    fitting = fit(rows, Training(), gemma, 4000)
    assert fitting.reasons == {"the model's template refuses it: System role not supported": 1}
    assert [row.sample_id for row in fitting.train] == ["b"]


def test_a_template_that_writes_what_stands_before_an_answer_anew_is_refused(bytewise):
    bytewise.chat_template = (
        "{% for turn in messages %}{{ loop.length }}<turn>{{ turn.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<turn>{% endif %}"
    )
    reasons = {"the model's template writes the turns before an answer anew": 1}
    assert found(bytewise, CHAT).reasons == reasons
    assert found(bytewise, Content("a", "b", rejected="c"), "preference", objective="dpo").reasons == reasons


def test_a_template_that_opens_an_answer_otherwise_than_it_writes_one_is_told(bytewise):
    bytewise.chat_template = ONE_END.replace("<turn>assistant\n{% endif", "<turn>assistant\n<turn>\n{% endif")
    assert learned(bytewise, Content("one?", "uno"), "instruction") == [["uno</s>\n"]]
    assert found(bytewise, Content("one?", "uno"), "instruction").remarks == {BENT: 1}


def test_passages_are_learned_with_question_and_answer_or_only_read_or_left_out(smol):
    answer = "keep the first<|im_end|>\n"
    assert learned(smol, KNOWN, "knowledge") == [["New York yesterday\n\nkeep or drop", answer]], "as LAB does"
    assert learned(smol, KNOWN, "knowledge", passages="prompt") == [[answer]]
    [lesson] = found(smol, KNOWN, "knowledge", passages="left_out").lessons
    told = smol.decode(lesson.ids.tolist())
    assert "New York" not in told and told.endswith(f"user\nkeep or drop<|im_end|>\n<|im_start|>assistant\n{answer}")
    assert learned(smol, KNOWN, "instruction") == [[answer]], "a text to work on is no knowledge"


def test_the_measure_is_of_the_last_answer_whatever_is_learned(smol):
    said = "keep the first<|im_end|>\n"
    for passages in ("learned", "prompt", "left_out"):
        training = Training.model_validate({"passages": passages})
        [tokens] = fit([Row("a", "knowledge", True, KNOWN)], training, smol, 400).tokens
        assert smol.decode(tokens.answer) == said
        assert ("New York" in smol.decode(tokens.prompt)) == (passages != "left_out")
    [tokens] = fit([Row("a", "dialogue", True, CHAT)], Training(), smol, 400).tokens
    assert smol.decode(tokens.answer) == "the answer of the first<|im_end|>\n"
    assert smol.decode(tokens.prompt).endswith("New Delhi<|im_end|>\n<|im_start|>assistant\n")


def test_prompts_are_one_where_all_turns_are():
    def prompt_hash(*turns: Turn) -> str:
        return Row("a", "dialogue", False, Content.of(turns)).prompt_hash

    asked = Turn("user", "New Delhi")
    assert prompt_hash(asked) == prompt_hash(Turn("user", " new  delhi ")) == "562899c29ccdba58"
    assert prompt_hash(*TURNS[:-1], asked) != prompt_hash(asked)
    assert prompt_hash(TURNS[0], asked) != prompt_hash(Turn("system", "drop"), asked)


def test_rows_without_further_turns_have_the_hash_that_stands_in_older_manifests():
    usual = Row("a", "knowledge", False, KNOWN)
    assert hash_of([usual]) == "ab7acb24159f6115af406d21e4d89113"
    assert hash_of([Row("a", "dialogue", False, CHAT)]) != hash_of([Row("a", "dialogue", False, CHAT.answered("no"))])
