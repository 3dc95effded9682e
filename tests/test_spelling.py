"""Choices with tokenizers of every kind: what an option's probability is made of, and what cannot be told apart."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import pytest
import torch

from seedbed.engines import Choice, EngineError, Reply, Sampling
from seedbed.engines.forward import Model
from seedbed.engines.transformers import TransformersEngine
from seedbed.records import Message
from tests.tiny_tokenizers import KINDS, spelling_model

ASKED = [Message(role="user", content="rate the answer: yes or no")]
PROMPT = "<turn>user\nrate the answer: yes or no\n<turn>model\n"
RATING = ["1", "2", "3", "4", "5"]
MARK = {"marked at first": "▁", "always marked": "▁", "never marked at first": "▁", "bytes": "Ġ", "word pieces": ""}


class Odds:
    """The same model, asked directly."""

    def __init__(self, folder):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.network = AutoModelForCausalLM.from_pretrained(folder).train(False)

    def after(self, *tokens: str) -> torch.Tensor:
        """The probability of each token after the prompt and these."""
        ids = self.tokenizer.encode(PROMPT, add_special_tokens=False)
        ids += [self.tokenizer.convert_tokens_to_ids(token) for token in tokens]
        with torch.inference_mode():
            found: torch.Tensor = self.network(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        return found

    def of(self, *tokens: str) -> float:
        """The probability that these follow the prompt."""
        p = 1.0
        for n, token in enumerate(tokens):
            number = self.tokenizer.convert_tokens_to_ids(token)
            assert number != self.tokenizer.unk_token_id
            p *= float(self.after(*tokens[:n])[number])
        return p


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: spelling_model(tmp_path_factory.mktemp("model") / "model", kind) for kind in KINDS}


def choose(folder, *options: Sequence[str], asked=ASKED) -> list[Choice | BaseException]:
    async def chosen():
        async with TransformersEngine(folder) as engine:
            calls = (engine.choose(asked, some, step="test") for some in options)
            return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(chosen())


def one(folder, *options: str, asked=ASKED) -> Choice:
    [found] = choose(folder, options, asked=asked)
    assert isinstance(found, Choice), found
    return found


def expected(found: Choice, odds: dict[str, float]) -> None:
    mass = sum(odds.values())
    assert found.mass == pytest.approx(mass, rel=1e-4)
    assert found.probabilities == pytest.approx({option: p / mass for option, p in odds.items()}, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_counts_as_it_stands_and_after_a_space(folders, kind):
    odds, mark = Odds(folders[kind]), MARK[kind]
    spelled = {word: {(word,), (mark + word,)} for word in ("yes", "no")}
    expected(one(folders[kind], "yes", "no"), {word: sum(odds.of(*way) for way in spelled[word]) for word in spelled})


@pytest.mark.parametrize("kind", KINDS)
def test_digits_behind_the_mark_of_a_word_are_told_apart_behind_it(folders, kind):
    odds, mark = Odds(folders[kind]), MARK[kind]
    marked = {digit: odds.of(mark, digit) if mark else 0.0 for digit in RATING}
    expected(one(folders[kind], *RATING), {digit: odds.of(digit) + marked[digit] for digit in RATING})


def test_the_mark_of_a_word_alone_is_no_opinion_of_a_number_beside_words(folders):
    odds = Odds(folders["always marked"])
    expected(
        one(folders["always marked"], "7", "yes"),
        {"7": odds.of("7") + odds.of("▁", "7"), "yes": odds.of("yes") + odds.of("▁yes")},
    )


def test_options_are_spelled_as_they_follow_the_prompt_and_not_as_they_begin_a_text(tmp_path):
    """Right after its last mark the prompt goes on: there this tokenizer marks no word unless a space is written."""
    folder = spelling_model(tmp_path / "model", "marked at first")
    odds = Odds(folder)
    assert odds.tokenizer.tokenize("yes") == ["▁yes"] and odds.tokenizer.tokenize(f"{PROMPT}yes")[-1] == "yes"
    found = one(folder, "yes", "no")
    assert found.mass > 1.5 * (odds.of("▁yes") + odds.of("▁no"))


@pytest.mark.parametrize("kind", ["marked at first", "bytes", "word pieces"])
def test_where_options_begin_alike_the_mass_is_that_of_the_beginning_times_what_tells_them_apart(folders, kind):
    odds, mark = Odds(folders[kind]), MARK[kind]
    begun = {("the",), (f"{mark}the",)}
    found = one(folders[kind], "the first", "the second")
    expected(found, {f"the {word}": sum(odds.of(*way, mark + word) for way in begun) for word in ("first", "second")})
    assert found.mass < 0.01, "this model did not want to say either"


def test_options_that_begin_alike_are_weighed_with_one_that_does_not(folders):
    odds = Odds(folders["bytes"])
    alike = {word: sum(odds.of(the, f"Ġ{word}") for the in ("the", "Ġthe")) for word in ("first", "second")}
    found = one(folders["bytes"], "the first", "yes", "the second")
    own = odds.of("yes") + odds.of("Ġyes")
    expected(found, {"the first": alike["first"], "yes": own, "the second": alike["second"]})


def refused(folder, *options):
    """That a call with these options failed, saying which two and what to do, and one beside it did not."""
    error, well = choose(folder, options, ("yes", "no"))
    assert isinstance(well, Choice) and well.mass > 0
    return isinstance(error, EngineError) and re.match(rf"the options .*{options[-1]!r} .* letters", str(error))


@pytest.mark.parametrize("kind", KINDS)
def test_options_that_no_reading_tells_apart_fail_that_call_with_what_to_do_and_no_other(folders, kind):
    assert refused(folders[kind], "yes", "yes")
    assert refused(folders[kind], "New York", "no", "New")
    # 10 is a word that the one does not know, and of the other kind every byte is known.
    assert bool(refused(folders[kind], "1", "10")) == (kind != "word pieces")
    assert bool(refused(folders[kind], "§", "€")) == (kind != "bytes")


def test_what_the_model_wanted_instead_is_told(folders):
    found, odds = one(folders["bytes"], "yes", "no"), Odds(folders["bytes"])
    top = odds.after().topk(3)
    likeliest = {odds.tokenizer.decode([n]): p for n, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)}
    assert len(likeliest) == 3 and found.wanted == pytest.approx(likeliest)


def told(monkeypatch, likely):
    """A model that says the same whatever it is asked; how often it was asked, and for how many rows."""
    asked: list[int] = []

    def forward(model, ids, mask, cache):
        asked.append(len(ids))
        return likely.repeat(len(ids), 1)

    def prefill(model, rows, shared):
        return None, None, forward(model, rows, None, None)

    monkeypatch.setattr(Model, "_prefill", prefill)
    return asked


def test_a_choice_of_no_probability_at_all_gives_none_to_any_option(folders, monkeypatch):
    logits = torch.zeros(400)
    logits[7] = 1e5
    told(monkeypatch, logits)
    found = one(folders["bytes"], "yes", "no")
    assert found.mass == 0 and found.probabilities == {"yes": 0, "no": 0}
    assert next(iter(found.wanted.values())) == 1


def test_a_model_that_computes_no_numbers_is_an_error_that_says_so(folders, monkeypatch):
    told(monkeypatch, torch.full((400,), float("nan")))
    [found] = choose(folders["bytes"], ["yes", "no"])
    assert isinstance(found, EngineError) and "no numbers" in str(found)


def test_what_options_share_is_read_on_only_where_it_may_matter(folders, monkeypatch):
    space, digit = (Odds(folders["bytes"]).tokenizer.convert_tokens_to_ids(token) for token in ("Ġ", "3"))
    for lead, passes in ((10.0, 1), (0.0, 2)):
        logits = torch.zeros(400)
        logits[space], logits[digit] = 5.0, 5.0 + lead
        asked = told(monkeypatch, logits)
        found = one(folders["bytes"], *RATING)
        assert len(asked) == passes and max(found.probabilities, key=found.probabilities.__getitem__) == "3"


def test_a_prompt_that_leaves_no_room_for_what_tells_options_apart_is_refused(folders):
    def asked(n):
        return [Message(role="user", content="1" * n)]

    around = one(folders["bytes"], "yes", "no", asked=asked(10)).tokens_in
    assert around is not None
    full, over = choose(folders["bytes"], ("yes", "no"), ("the first", "the second"), asked=asked(2058 - around))
    assert isinstance(full, Choice) and full.tokens_in == 2048
    assert isinstance(over, EngineError) and "2048 tokens and 1 new" in str(over)


def test_a_template_that_the_prompt_does_not_fit_fails_its_call(tmp_path):
    folder = spelling_model(tmp_path / "model", "bytes", "{{ raise_exception('roles must alternate') }}")

    async def asked() -> Reply:
        async with TransformersEngine(folder) as engine:
            return await engine.chat(ASKED, Sampling(0, 1, 2), step="test")

    with pytest.raises(EngineError, match="roles must alternate"):
        asyncio.run(asked())
