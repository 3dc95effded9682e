"""What no training can use is said at once, before another process has loaded its libraries."""

from __future__ import annotations

import pytest

from flows.train import train
from seedbed.errors import InputError
from tests import grown
from trainer.options import Training
from trainer.progress import Progress


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (grown.rows(2), "no row is held out to measure on, of 2 that are fit. Raise held_out"),
        (
            grown.pairs(0, 40),
            "by sft; refused: 40 x kind preference is not for sft. Train with --objective dpo",
        ),
    ],
)
def test_too_few_rows_are_refused_before_a_training_process_starts(tmp_path, made, said):
    store = grown.stored(tmp_path, made)
    told: list[Progress] = []
    with pytest.raises(InputError, match=said):
        train(store, "desk", Training(objective="sft", held_out=1e-6), None, told.append)
    assert told == [] and not list(tmp_path.glob("adapters/*"))
    store.close()
