"""Does DPO learn a preference that it was not shown? The embedded model, a few hundred short pairs, three seeds.

    python benchmarks/dpo.py                                           # matched pairs
    python benchmarks/dpo.py --pairs judged
    python benchmarks/dpo.py --seeds 0 --train 24 --held-out 16        # a quick look

Pairs are made of AlpacaEval's recorded answers (columns instruction, model, output, preference, annotator), cut to so
few tokens that they are openings, both sides to the same number: length can explain nothing.

`matched`: the chosen side answers the instruction, the rejected one is the same model's answer to another instruction.
The label is true by construction, and neither who wrote it nor how can explain it.

`judged`: two models' answers to one instruction, of which one judge (GPT-4, in one of two settings) preferred one by
a tenth of a point or more on its scale from 1 to 2. The judge read whole answers, and who wrote them explains much.

The held-out instructions are others than those trained on. Three arms on the same held-out pairs: the model before,
after training on the pairs, and after training on the same pairs with the labels of half of them turned. Each
training is a process of its own, as `seedbed train` starts it.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, pairwise, permutations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.engines.smollm2 import embedded_model
from trainer.manifest import Manifest, Origin, read_manifest
from trainer.measure import Figures, Preference, accuracy
from trainer.options import Training
from trainer.process import run_apart
from trainer.progress import Progress
from trainer.rows import COLUMNS
from trainer.task import Train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OUTPUTS = Path(__file__).parent.parent.parent / "shared" / "data" / "alpaca_eval" / "outputs.parquet"
ASKED, LONGEST, SHORTEST = 32, 20, 10  # tokens of an instruction and of an opening
GAP = 0.1  # of preference, from 1 to 2
OPTIONS = {
    "objective": "dpo",
    "learning_rate": 5e-4,
    "epochs": 1,
    "batch_size": 8,
    "max_length": 128,
    "licence": "Apache-2.0",
}
# The model's own template puts a system prompt of 31 tokens before each request, a third of all there would be.
TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FIGURES = ("accuracy", "policy_accuracy", "margin", "loss", "chosen_drift", "rejected_drift")


class Pair(NamedTuple):
    """Two openings of one length, the preferred one first, with the models that wrote them."""

    instruction: str
    chosen: str
    rejected: str
    authors: tuple[str, str]
    lengths: tuple[int, int]


class Answer(NamedTuple):
    """A recorded answer's first tokens, and what a judge gave it, None where nobody did."""

    judge: str
    preference: float | None
    author: str
    ids: list[int]


Asked = tuple[str, list[Answer]]
Cut = Callable[[str, Answer, Answer], Pair | None]


def read_answers(outputs: Path, tokenizer: PreTrainedTokenizerBase) -> list[Asked]:
    """The short instructions with their answers, in a fixed order."""
    import duckdb

    query = (
        "SELECT instruction, annotator, preference, model, trim(output) AS output "
        "FROM read_parquet(?, hive_partitioning = false) ORDER BY ALL"
    )
    answers = defaultdict(list)
    for instruction, judge, preference, model, output in duckdb.execute(query, [str(outputs)]).fetchall():
        ids = list(tokenizer(output)["input_ids"])[:LONGEST]
        answers[instruction].append(Answer(judge or "", preference, model, ids))
    short = (instruction for instruction in answers if len(tokenizer(instruction)["input_ids"]) <= ASKED)
    return [(instruction, answers[instruction]) for instruction in short]


def cutting(tokenizer: PreTrainedTokenizerBase) -> Cut:
    """How two answers become a pair, as short as the shorter; None if that is too short, or if they are the same."""

    def cut(instruction: str, chosen: Answer, rejected: Answer) -> Pair | None:
        size = min(len(chosen.ids), len(rejected.ids))
        one, other = (str(tokenizer.decode(answer.ids[:size])) for answer in (chosen, rejected))
        if size < SHORTEST or one == other:
            return None
        lengths = (len(tokenizer(one)["input_ids"]), len(tokenizer(other)["input_ids"]))
        return Pair(instruction, one, other, (chosen.author, rejected.author), lengths)

    return cut


def matched(asked: Sequence[Asked], cut: Cut, dice: random.Random) -> Iterator[Pair]:
    """One pair an instruction: an answer to it, and the same author's answer to the instruction before it."""
    for (_, wrong), (instruction, right) in pairwise(asked):
        chosen = dice.choice(right)
        rejected = next(answer for answer in wrong if answer.author == chosen.author)
        if pair := cut(instruction, chosen, rejected):
            yield pair


def judged(asked: Sequence[Asked], cut: Cut, dice: random.Random) -> Iterator[Pair]:
    """All pairs that one judge has decided."""
    for instruction, answers in asked:
        for a, b in permutations([answer for answer in answers if answer.preference is not None], 2):
            decided = a.judge == b.judge and (a.preference or 0) - (b.preference or 0) >= GAP
            if decided and (pair := cut(instruction, a, b)):
                yield pair


KINDS = {"matched": matched, "judged": judged}


def split(asked: Sequence[Asked], kind: str, cut: Cut, dice: random.Random, sizes: tuple[int, int]) -> list[list[Pair]]:
    """So many pairs to train on, and so many held out, made of other instructions."""
    asked = dice.sample(asked, len(asked))
    share = sizes[1] / sum(sizes)
    parts = [asked[round(share * len(asked)) :], asked[: round(share * len(asked))]]
    pairs = [list(islice(KINDS[kind](part, cut, dice), n)) for part, n in zip(parts, sizes, strict=True)]
    if [len(part) for part in pairs] != list(sizes):
        raise SystemExit(f"only {list(map(len, pairs))} pairs are there; ask for fewer with --train and --held-out")
    return pairs


def half_turned(pairs: Sequence[Pair], dice: random.Random) -> list[Pair]:
    """The pairs with the labels of half of them turned: as many rows, nothing to learn."""
    turned = set(dice.sample(range(len(pairs)), len(pairs) // 2))
    return [
        pair._replace(chosen=pair.rejected, rejected=pair.chosen) if n in turned else pair
        for n, pair in enumerate(pairs)
    ]


def trained(train: Sequence[Pair], held_out: Sequence[Pair], model: Path, seed: int) -> Manifest:
    """The manifest of one training."""
    rows = [
        (f"{split}-{n}", "preference", split, pair.instruction, "", pair.chosen, pair.rejected, None)
        for split, pairs in (("train", train), ("test", held_out))
        for n, pair in enumerate(pairs)
    ]
    origin = Origin(version="openings", recipe="benchmarks/dpo.py", recipe_sha256=_hash(__file__), run_ids=())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        pq.write_table(pa.table(columns, names=list(COLUMNS)), folder / "rows.parquet")
        training = Training.model_validate({**OPTIONS, "model": str(model), "seed": seed})
        task = Train(rows=folder / "rows.parquet", training=training, origin=origin, adapter=folder / "adapter")
        run_apart(task, folder, _say)
        return read_manifest(folder / "adapter")


def baselines(train: Sequence[Pair], held_out: Sequence[Pair]) -> dict[str, float]:
    """Accuracy of guessing the longer opening, and of guessing whose author won more often in training."""
    import torch

    wins = Counter(pair.authors[0] for pair in train)
    all_of = Counter(author for pair in train for author in pair.authors)
    share = {author: wins[author] / n for author, n in all_of.items()}
    lengths = torch.tensor([pair.lengths for pair in held_out])
    shares = torch.tensor([[share.get(author, 0.5) for author in pair.authors] for pair in held_out])
    return {
        "the longer wins": accuracy(lengths[:, 0], lengths[:, 1]),
        "the better author wins": accuracy(shares[:, 0], shares[:, 1]),
    }


def one_seed(parts: Sequence[Sequence[Pair]], model: Path, seed: int) -> dict[str, Figures]:
    """The figures of each arm, printed as they come."""
    train, held_out = parts
    guesses = ", ".join(f"{name} {share:.3f}" for name, share in baselines(train, held_out).items())
    print(f"seed {seed}: {len(train)} pairs to train on, {len(held_out)} held out; {guesses}", flush=True)
    arms: dict[str, Figures] = {}
    for arm, rows in (("true labels", train), ("half turned", half_turned(train, random.Random(seed)))):
        manifest = trained(rows, held_out, model, seed)
        arms.setdefault("before", manifest.before)
        if manifest.rows.refused:
            raise SystemExit(f"rows were refused: {manifest.rows.refused}")
        if arm == "true labels":
            print(_line(seed, "before", manifest.before), flush=True)
        arms[arm] = manifest.after
        print(_line(seed, arm, manifest.after), f"{manifest.seconds:8.0f}", flush=True)
    return arms


def summary(by_seed: Sequence[Mapping[str, Figures]]) -> None:
    """Mean and range of each figure over the seeds, and how far the arms are apart."""
    print(f"mean over the seeds (and range): {', '.join(FIGURES[:4])}")
    for arm in by_seed[0]:
        print(
            f"mean   {arm:12}",
            *(f"{_spread([_value(seed[arm], name) for seed in by_seed]):>24}" for name in FIGURES[:4]),
        )
    for other in ("before", "half turned"):
        gains = [_value(seed["true labels"], "accuracy") - _value(seed[other], "accuracy") for seed in by_seed]
        print(f"preference accuracy, true labels less {other}: {_spread(gains, sign='+')}")


def _value(found: Figures, name: str) -> float:
    assert isinstance(found, Preference)
    return float(found.model_dump()[name])


def _spread(values: Sequence[float], sign: str = "") -> str:
    low, high = min(values), max(values)
    return f"{statistics.mean(values):{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _line(seed: int, arm: str, found: Figures) -> str:
    return f"seed {seed} {arm:12}" + "".join(f"{_value(found, name):17.4f}" for name in FIGURES)


def _say(told: Progress) -> None:
    if not told.of or told.done % 10 == 0:
        print(f"  {told.stage} {told.done or ''}", file=sys.stderr, flush=True)


def _hash(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def without_system_prompt(folder: Path) -> Path:
    """The embedded model in `folder`, with TEMPLATE."""
    shutil.copytree(embedded_model(), folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def main() -> None:
    """Read the flags, train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="AlpacaEval's outputs, Parquet")
    parser.add_argument("--pairs", choices=list(KINDS), default="matched")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=160, help="pairs")
    parser.add_argument("--held-out", type=int, default=80, help="pairs")
    flags = parser.parse_args()
    if not flags.outputs.exists():
        raise SystemExit(f"there is no file {flags.outputs}: give AlpacaEval's outputs as Parquet with --outputs")
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as name:
        model = without_system_prompt(Path(name) / "model")
        tokenizer = AutoTokenizer.from_pretrained(model)
        asked, cut, sizes = read_answers(flags.outputs, tokenizer), cutting(tokenizer), (flags.train, flags.held_out)
        print(f"{flags.pairs} pairs of {len(asked)} instructions")
        print(" " * 19 + "".join(f"{figure:>17}" for figure in FIGURES) + "  seconds")
        parts = {seed: split(asked, flags.pairs, cut, random.Random(seed), sizes) for seed in flags.seeds}
        summary([one_seed(parts[seed], model, seed) for seed in flags.seeds])


if __name__ == "__main__":
    main()
