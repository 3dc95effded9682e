"""The figures of a training: by hand on small numbers, and as TRL itself gives them on the same rows."""

from __future__ import annotations

import math

import pytest

from seedbed.records import Content
from tests.tiny_model import GOOD, text, tiny_model
from trainer import dpo, sft
from trainer.measure import Likelihood, LogProbs, accuracy, dpo_loss, likelihood, log_probs, preference
from trainer.options import Training
from trainer.pretrained import load
from trainer.progress import Progress
from trainer.rows import Fit, Row, fit, unfit


def doubles(*numbers: float):
    import torch

    return torch.tensor(numbers, dtype=torch.double)


def pairs(n: int, held_out: bool) -> list[Row]:
    answers = [(f"{text(i)} {GOOD[i % 3]}", f"{text(i + 7, n=3)} w{i % 9}") for i in range(n)]
    return [
        row("preference", text(i + n, n=2 + i % 5), *both, n=i, held_out=held_out) for i, both in enumerate(answers)
    ]


def prompt_completion(row: Row) -> dict[str, object]:
    asked = [{"role": "user", "content": row.content.question}]
    return {"prompt": asked, "completion": [{"role": "assistant", "content": row.content.answer}]}


def row(kind: str, question: str, answer: str, rejected: str = "", n: int = 0, held_out: bool = False) -> Row:
    return Row(f"{n}", kind, held_out, Content(question=question, answer=answer, rejected=rejected))


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads are slower than one on a model so small. A GPU would compute in half precision."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("compares figures to five digits, on a CPU")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def training(tmp_path) -> Training:
    folder = tiny_model(tmp_path / "model")
    more = {"model": str(folder), "batch_size": 8, "epochs": 2, "max_length": 60, "learning_rate": 5e-3}
    return Training.model_validate({**more, "objective": "dpo", "beta": 0.3})


def test_dpos_figures_are_those_of_the_paper_by_hand():
    policy = LogProbs(doubles(-2.0, -6.0, -4.0), doubles(2, 3, 4), doubles(-3.0, -5.0, -4.0), doubles(2, 1, 4))
    reference = LogProbs(doubles(-3.0, -5.0, -4.0), doubles(2, 3, 4), doubles(-2.0, -4.5, -4.0), doubles(2, 1, 4))
    found = preference(policy, reference, beta=0.5)
    margins = [0.5 * (1 - -1), 0.5 * (-1 - -0.5), 0.0]
    assert found.margin == pytest.approx(sum(margins) / 3)
    assert found.loss == pytest.approx(sum(math.log(1 + math.exp(-m)) for m in margins) / 3)
    assert found.accuracy == pytest.approx(1.5 / 3), "a tie counts half"
    assert found.policy_accuracy == pytest.approx(2.5 / 3), "by the token: -1 over -1.5, -2 over -5, -1 beside -1"
    assert found.chosen_drift == pytest.approx((1 / 2 - 1 / 3 + 0) / 3)
    assert found.rejected_drift == pytest.approx((-1 / 2 - 0.5 / 1 + 0) / 3)


def test_before_any_training_accuracy_is_half_and_loss_is_log_two():
    same = LogProbs(doubles(-2.0, -6.0), doubles(2, 3), doubles(-3.0, -5.0), doubles(2, 1))
    found = preference(same, same, beta=0.1)
    assert (found.accuracy, found.margin) == (0.5, 0.0) and found.loss == pytest.approx(math.log(2))
    assert accuracy(doubles(1.0, 0.0), doubles(0.0, 1.0)) == 0.5 and float(dpo_loss(doubles(0), doubles(0))) > 0.69


def test_perplexity_is_over_all_answer_tokens_together():
    found = likelihood(LogProbs(doubles(-2.0, -10.0), doubles(2, 4), doubles(), doubles()))
    assert found == Likelihood(rows=2, loss=2.0, perplexity=math.exp(2.0))


def test_log_probs_do_not_depend_on_which_rows_stand_beside_or_on_their_padding(training, tmp_path):
    start = load(training)
    rows = [row.tokens(training, start.tokenizer) for row in pairs(9, held_out=True)]
    together = log_probs(start.model, rows)
    alone = [log_probs(start.model, [row]) for row in rows]
    assert together.answer.tolist() == pytest.approx([float(one.answer) for one in alone], abs=1e-4)
    assert together.rejected.tolist() == pytest.approx([float(one.rejected) for one in alone], abs=1e-4)


def test_dpos_figures_are_trls_own_on_the_same_rows(training, tmp_path):
    start, held_out = load(training), pairs(16, held_out=True)
    tokens = fit(held_out, training, start.tokenizer, 60).tokens
    reference = log_probs(start.model, tokens)
    trainer = dpo.prepare(start, Fit(tuple(pairs(32, held_out=False)), ()), training, tmp_path, lambda told: None)
    trainer.train()
    trainer.args.per_device_eval_batch_size = 16
    theirs = trainer.evaluate(dpo.dataset(held_out, training))
    policy = log_probs(trainer.accelerator.unwrap_model(trainer.model), tokens)
    ours = dpo.figures(policy, reference, training)
    assert ours.loss == pytest.approx(theirs["eval_loss"], abs=1e-5)
    assert ours.accuracy == pytest.approx(theirs["eval_rewards/accuracies"], abs=1e-6)
    assert ours.margin == pytest.approx(theirs["eval_rewards/margins"], abs=1e-5) and ours.margin != 0


def test_sfts_loss_is_trls_own_on_the_same_rows(training, tmp_path):
    from datasets import Dataset

    rows = [row("instruction", text(n), f"{text(n + 5)} w{n}", n=n, held_out=n < 12) for n in range(40)]
    start, training = load(training), training.model_copy(update={"objective": "sft"})
    found = fit(rows, training, start.tokenizer, 60)
    trainer = sft.prepare(start, found, training, tmp_path, lambda told: None)
    trainer.train()
    trainer.args.per_device_eval_batch_size = 12
    trainer.completion_only_loss = True
    theirs = trainer.evaluate(Dataset.from_list([prompt_completion(row) for row in found.held_out]))
    policy = log_probs(trainer.accelerator.unwrap_model(trainer.model), found.tokens)
    ours = sft.figures(policy, policy, training)
    assert ours.loss == pytest.approx(theirs["eval_loss"], abs=1e-5)


def test_steps_are_told_as_they_are_made(training, tmp_path):
    told: list[Progress] = []
    dpo.prepare(load(training), Fit(tuple(pairs(16, held_out=False)), ()), training, tmp_path, told.append).train()
    assert [(step.done, step.of) for step in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert told[-1].loss is not None


def test_nll_weight_keeps_the_chosen_answers_likely(training, tmp_path):
    drifts = []
    for weight in (0.0, 1.0):
        start = load(training)
        tokens = fit(pairs(16, held_out=True), training, start.tokenizer, 60).tokens
        reference = log_probs(start.model, tokens)
        options = training.model_copy(update={"nll_weight": weight, "lora_dropout": 0.1})
        trainer = dpo.prepare(start, Fit(tuple(pairs(32, held_out=False)), ()), options, tmp_path, lambda told: None)
        trainer.train()
        policy = log_probs(trainer.accelerator.unwrap_model(trainer.model), tokens)
        drifts.append(dpo.figures(policy, reference, options).chosen_drift)
    assert drifts[1] > drifts[0] + 0.02


def test_a_model_without_a_chat_template_is_refused(tmp_path):
    from seedbed.errors import InputError

    start = load(Training(model=str(tiny_model(tmp_path / "plain"))))
    start.tokenizer.chat_template = None
    with pytest.raises(InputError, match=r"no chat template.*chat_template\.jinja"):
        fit(pairs(1, held_out=False), Training(objective="dpo"), start.tokenizer, 60)


@pytest.mark.parametrize(
    ("found", "objective", "why"),
    [
        (row("preference", "p", "x", "y"), "dpo", ""),
        (row("instruction", "p", "x"), "sft", ""),
        (row("dialogue", "p", "x"), "sft", ""),
        (row("knowledge", "p", "x"), "dpo", "kind knowledge is not for dpo"),
        (row("preference", "p", "x", "y"), "sft", "kind preference is not for sft"),
        (row("correction", "p", "x", "y"), "sft", "kind correction is not for sft"),
        (row("preference", "p", "x  y", "x y"), "dpo", "chosen = rejected"),
        (row("preference", "p", "x", " \n"), "dpo", "empty answer"),
        (row("instruction", " ", "x"), "sft", "empty prompt"),
    ],
)
def test_a_row_is_unfit_for_one_reason_that_can_be_counted(found, objective, why):
    assert unfit(found, Training(objective=objective)) == why
