"""How likely a model finds the answers of the held-out rows, and the figures that follow from it.

DPO (Rafailov et al., arXiv 2305.18290) never sees a reward: the policy's own log-probabilities, against those of the
model it started from, are one (section 4, after equation 5). All figures here are of whole answers, summed over
their tokens, unless they say "a token". Of a conversation that is the last answer, given everything before it, whatever
else is learned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedbed.records import Frozen
from trainer.tokens import Tokens

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

TOKENS_AT_ONCE = 2048  # bounds the memory of the logits, which are a vocabulary wide


class Likelihood(Frozen):
    """Of an SFT: the mean loss a token of the answers, in nats, and e to that power."""

    rows: int
    loss: float
    perplexity: float


class Preference(Frozen):
    """Of a DPO, means over the pairs.

    `accuracy` and `margin` are of the implicit reward: before the training it is 0 for every answer, so they are 0.5
    and 0 by definition. `policy_accuracy` is the share of pairs whose chosen answer has the higher log-probability a
    token, which says something before the training too. The drifts are changes of the log-probability a token.
    """

    rows: int
    loss: float
    accuracy: float
    margin: float
    policy_accuracy: float
    chosen_drift: float
    rejected_drift: float


Figures = Likelihood | Preference


@dataclass(frozen=True, slots=True)
class LogProbs:
    """Log-probabilities of answers, each of shape (rows,), and their lengths in tokens; of pairs also the rejected."""

    answer: Tensor
    answer_tokens: Tensor
    rejected: Tensor
    rejected_tokens: Tensor


def likelihood(policy: LogProbs) -> Likelihood:
    """Mean negative log-likelihood a token over all answers together, as SFT minimises it."""
    loss = float(-policy.answer.sum() / policy.answer_tokens.sum())
    return Likelihood(rows=len(policy.answer), loss=loss, perplexity=math.exp(min(loss, 700.0)))


def preference(policy: LogProbs, reference: LogProbs, beta: float) -> Preference:
    """The figures of a policy beside the reference that it was trained from."""
    chosen = implicit_reward(policy.answer, reference.answer, beta)
    rejected = implicit_reward(policy.rejected, reference.rejected, beta)
    return Preference(
        rows=len(chosen),
        loss=float(dpo_loss(chosen, rejected).mean()),
        accuracy=accuracy(chosen, rejected),
        margin=float((chosen - rejected).mean()),
        policy_accuracy=accuracy(
            policy.answer / policy.answer_tokens,
            policy.rejected / policy.rejected_tokens,
        ),
        chosen_drift=float(((policy.answer - reference.answer) / policy.answer_tokens).mean()),
        rejected_drift=float(((policy.rejected - reference.rejected) / policy.rejected_tokens).mean()),
    )


def implicit_reward(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """(rows,) and (rows,) to (rows,): beta (log pi - log pi_ref), DPO's section 4, up to a term of the prompt alone."""
    return beta * (policy - reference)


def dpo_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Rewards (rows,) and (rows,) to the loss of each pair (rows,): DPO's equation 7."""
    from torch.nn.functional import logsigmoid

    return -logsigmoid(chosen - rejected)


def accuracy(chosen: Tensor, rejected: Tensor) -> float:
    """Share of pairs in which the chosen side is higher; a tie counts half."""
    return float(((chosen > rejected).double() + 0.5 * (chosen == rejected).double()).mean())


def log_probs(model: Module, rows: Sequence[Tokens]) -> LogProbs:
    """How likely a causal language model finds the rows' answers; sums in double precision, shapes (rows,).

    Batches depend on the rows alone: the same rows give the same sums. The model is left in evaluation mode.
    """
    import torch

    model.train(False)
    answers = [row.answer for row in rows]
    rejected = [row.rejected for row in rows if row.rejected]
    prompts = [row.prompt for row in rows]
    sides = [_sums(model, list(zip(prompts, side, strict=True))) for side in (answers, rejected) if side]
    lengths = [torch.tensor([len(ids) for ids in side], dtype=torch.double) for side in (answers, rejected)]
    empty = torch.zeros(0, dtype=torch.double)
    return LogProbs(sides[0], lengths[0], sides[1] if rejected else empty, lengths[1])


def answer_log_probs(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits (rows, length, words), ids and mask (rows, length) to (rows,): sum of log p(id) where the mask is 1.

    Position t of the logits is about token t + 1; the first token is never counted.
    """
    logits, ids, mask = logits[:, :-1].float(), ids[:, 1:], mask[:, 1:]
    of_ids = logits.gather(2, ids.unsqueeze(2)).squeeze(2) - logits.logsumexp(2)
    total: Tensor = (of_ids.double() * mask).sum(1)
    return total


def _sums(model: Module, sequences: Sequence[tuple[list[int], list[int]]]) -> Tensor:
    import torch

    device = next(model.parameters()).device
    sums = torch.zeros(len(sequences), dtype=torch.double)
    for batch in _batches([len(prompt) + len(answer) for prompt, answer in sequences]):
        ids, attended, counted = (part.to(device) for part in _padded([sequences[at] for at in batch]))
        keep = ids.shape[1] - min(len(sequences[at][0]) for at in batch) + 1  # what all prompts begin with needs none
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=attended, logits_to_keep=keep).logits
            sums[batch] = answer_log_probs(logits, ids[:, -keep:], counted[:, -keep:]).cpu()
    return sums


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of sequences that are run together: the longest first, few enough to bound the memory."""
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


def _padded(sequences: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, which of them are there, and which are counted, each (rows, longest), padded on the right."""
    import torch

    longest = max(len(prompt) + len(answer) for prompt, answer in sequences)
    ids, attended, counted = (torch.zeros(len(sequences), longest, dtype=torch.long) for _ in range(3))
    for n, (prompt, answer) in enumerate(sequences):
        end = len(prompt) + len(answer)
        ids[n, :end] = torch.tensor(prompt + answer)
        attended[n, :end] = 1
        counted[n, len(prompt) : end] = 1
    return ids, attended, counted
