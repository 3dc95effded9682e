import asyncio
import json
from dataclasses import replace

import pytest

from generators.chunks import chunks, evidence
from generators.knowledge import Knowledge, faithful_cases, knowledge, leaves, relevant_cases, wanted
from seedbed.engines import Engines
from seedbed.errors import InputError
from seedbed.records import Document, Draft, Leaf, Seed, Unit
from seedbed.replies import Unreadable
from tests.scripted import Line, Scripted

SEEDS = tuple(
    Seed(f"What is fact {text}{n}?", f"Fact {text}{n} is so.", f"A text about {text}.")
    for text in "xyz"
    for n in range(2)
)
REMOTE = Leaf(path="knowledge/facts", kind="knowledge", domain="Facts", seeds=SEEDS)
PAGES = Leaf(
    path="knowledge/pages",
    kind="knowledge",
    seeds=SEEDS,
    documents=(
        Document("a.md", "\n\n".join(f"Paragraph {n} of a. " + "word " * 30 for n in range(4))),
        Document("b.md", "The only paragraph of b."),
    ),
)
YES, NO = {"yes": 0.9, "no": 0.1}, {"yes": 0.3, "no": 0.7}


def model(pair: dict[str, str] | str | None = None, **chooses) -> Scripted:
    pair = {"question": "What is new?", "answer": "This is."} if pair is None else pair
    says: dict[str, list[Line]] = {"question": [pair if isinstance(pair, str) else json.dumps(pair)]}
    default = {"question_check": [YES], "faithfulness": [YES], "relevancy": [{"2": 0.8, "0": 0.2}]}
    return Scripted(says, default | chooses)


def made(engine: Scripted, leaf: Leaf = REMOTE, ordinal: int = 0, attempt: int = 0, **options) -> Draft:
    unit = Unit("recipe", "knowledge", leaf, ordinal, attempt, spent=attempt)
    return asyncio.run(knowledge(unit, Engines(engine, engine), Knowledge(chunk_tokens=52, **options)))


def test_a_sample_that_passes_names_its_chunk_and_carries_it():
    engine = model()
    draft = made(engine)
    assert engine.steps == ["question", "question_check", "faithfulness", "relevancy"]
    assert draft.kind == "knowledge" and draft.parents == ("knowledge/facts#chunk0",)
    assert draft.content.context == "A text about x." and draft.content.answer == "This is."
    assert all(verdict.keep for verdict in draft.verdicts) and draft.verdicts[-1].score == pytest.approx(1.6)


@pytest.mark.parametrize(
    ("engine", "steps", "reason"),
    [
        (model(question_check=[NO]), 2, "question needs its text"),
        (model(faithfulness=[NO]), 3, "answer not supported"),
        (model(relevancy=[{"2": 0.6, "1": 0.2, "0": 0.2}]), 4, "answer beside the question"),
        (model({"question": "What does the passage mean?", "answer": "a"}), 1, "question needs its text"),
        (model({"question": "What is it, according to the text?", "answer": "a"}), 1, "question needs its text"),
        (model({"question": "what is  FACT y1?", "answer": "a"}), 1, "copies an example"),
        (model({"question": " ", "answer": "a"}), 1, "empty question"),
        (model({"question": "Who?", "answer": ""}), 1, "empty answer"),
    ],
)
def test_the_first_failing_verdict_ends_the_sample_and_nothing_more_is_spent(engine, steps, reason):
    draft = made(engine)
    assert len(engine.steps) == steps
    assert draft.verdicts[-1].reason == reason and not draft.verdicts[-1].keep
    assert all(verdict.keep for verdict in draft.verdicts[:-1])


def test_an_answer_that_is_no_pair_is_unreadable_and_no_judge_is_asked():
    engine = model("no idea")
    with pytest.raises(Unreadable, match="question"):
        made(engine)
    assert engine.steps == ["question"]


def test_places_walk_over_the_chunks_and_begin_again():
    pieces = chunks(PAGES, 52)
    assert [piece.source for piece in pieces] == [f"a.md#chunk{n}" for n in range(4)] + ["b.md#chunk0"]
    seen = [made(model(), PAGES, ordinal).parents[0] for ordinal in range(6)]
    assert seen == [*(piece.source for piece in pieces), pieces[0].source]


@pytest.mark.parametrize("per_leaf", [1, 2, 3, 5])
def test_no_chunk_is_taken_twice_before_each_was_taken_once_however_often_a_place_is_tried(per_leaf):
    every = [piece.source for piece in chunks(PAGES, 52)]
    tries = [(place, attempt) for attempt in range(5) for place in range(per_leaf)][: len(every)]
    assert [made(model(), PAGES, *a_try, per_leaf=per_leaf).parents[0] for a_try in tries] == every


def test_per_chunk_wants_so_many_of_each_and_its_tries_keep_to_their_chunk():
    every = [piece.source for piece in chunks(PAGES, 52)]
    options = Knowledge(chunk_tokens=52, per_chunk=2)
    assert wanted(PAGES, options) == 10 and wanted(PAGES, Knowledge(per_leaf=3)) == 3
    for attempt in (0, 1):
        seen = [made(model(), PAGES, place, attempt, per_chunk=2).parents[0] for place in range(10)]
        assert seen == every * 2


def test_what_is_not_reached_and_what_was_cut_amid_a_word_is_told_at_planning(caplog):
    torn = Document("torn.md", "# Keys\n\n" + "x" * 2_000)
    found = leaves([replace(PAGES, documents=(*PAGES.documents, torn))], Knowledge(chunk_tokens=52, per_leaf=3))
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "torn.md (chunk0, Keys): more than 52 tokens without a space or an end of a sentence were cut"
    assert (
        second
        == f"3 of {len(chunks(found[0], 52))} chunks are reached by per_leaf: 3. To reach all, write per_chunk: 1"
    )
    caplog.clear()
    leaves([PAGES], Knowledge(chunk_tokens=52, per_chunk=1))
    leaves([PAGES], Knowledge(chunk_tokens=52, per_leaf=5))
    assert not caplog.records


def test_a_chunk_says_which_document_heading_and_page_it_is_from():
    text = "# Valves\n\nMade of brass.\n\n## Limits\n\n" + "Ten bar at most. " * 15
    leaf = Leaf(
        path="knowledge/valves",
        kind="knowledge",
        seeds=SEEDS,
        documents=(
            Document("valves.md", text),
            Document("p.pdf", "One page.\n\n" + "The second page. " * 20, (0, 11)),
        ),
    )
    told = [evidence(chunk) for chunk in chunks(leaf, 52)]
    assert told == [
        {"document": "valves.md", "heading": "Valves; Valves > Limits"},
        {"document": "valves.md", "heading": "Valves > Limits"},
        {"document": "p.pdf", "pages": [1, 2]},
        {"document": "p.pdf", "pages": [2]},
    ]
    assert [evidence(chunk) for chunk in chunks(REMOTE, 52)] == [{}] * 3, "contexts of documents that live elsewhere"


def test_the_outline_reaches_the_model_and_no_other_prompt_changes():
    outlined, plain = model(), model()
    made(outlined, replace(REMOTE, outline="Facts of three letters"))
    made(plain)
    told = outlined.calls[0].messages[0]["content"]
    assert told == plain.calls[0].messages[0]["content"] + " Outline of its document: Facts of three letters"
    assert [call.messages for call in outlined.calls[1:]] == [call.messages for call in plain.calls[1:]]
    assert outlined.calls[0].messages[1:] == plain.calls[0].messages[1:]


def test_a_step_with_documents_takes_them_alone_and_one_without_takes_the_taxonomy_s():
    own = Leaf(path="documents/a.md", kind="knowledge", seeds=(), documents=PAGES.documents, pattern="*.md")
    other = replace(own, path="documents/b.txt", pattern="*.txt")
    every = [PAGES, own, other]
    assert leaves(every, Knowledge()) == [PAGES]
    assert leaves(every, Knowledge(documents="*.md")) == [own]
    assert leaves(every, Knowledge(documents="*.txt")) == [other]


def test_examples_are_of_this_leaf_and_not_about_the_chunk_in_hand():
    engine = model()
    made(engine)
    asked = engine.calls[0]
    shown = [seed for seed in SEEDS if json.dumps(seed.question) in asked.text]
    assert len(shown) == 2 and all(seed.context != "A text about x." for seed in shown)
    for turn in asked.messages:
        if turn["role"] == "assistant":
            assert set(json.loads(turn["content"])) == {"question", "answer"}


def test_worked_examples_of_the_checks_are_supported_or_not_as_labelled():
    for case in faithful_cases(SEEDS):
        own = [seed.answer for seed in SEEDS if seed.context == case.seed.context]
        assert (case.answer in own) == (case.label == "yes")
    assert {case.label for case in faithful_cases(SEEDS)} == {"yes", "no"}
    for case in relevant_cases(SEEDS):
        assert (case.answer == case.seed.answer) == (case.label == "2")


def test_seeds_of_one_text_give_no_false_example_of_an_unsupported_answer():
    assert [case.label for case in faithful_cases(SEEDS[:2])] == ["yes"]


def test_a_leaf_with_nothing_to_read_says_so():
    bare = Leaf(path="knowledge/bare", kind="knowledge", seeds=(Seed("q", "a"),))
    with pytest.raises(InputError, match=r"knowledge/bare.*documents"):
        leaves([bare], Knowledge())


def test_only_knowledge_leaves_are_filled():
    known = Leaf(path="knowledge/a", kind="knowledge", seeds=(Seed("q", "a", "a text"),))
    assert leaves([known, Leaf(path="s", kind="skill", seeds=())], Knowledge()) == [known]
