"""What a training shows: how far it is, and what it did to the held-out rows, before beside after."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from flows.screen import Screen, line
from flows.tables import Column, show_table
from flows.terminal import say
from flows.train import Evaluated, Trained
from trainer.manifest import Manifest
from trainer.measure import Figures, Preference
from trainer.progress import Progress, Tell

PLAIN_SECONDS = 5.0
LABELS = {
    "loss": "loss",
    "perplexity": "perplexity",
    "accuracy": "preference accuracy (implicit reward)",
    "margin": "reward margin",
    "policy_accuracy": "preference accuracy (log-probability a token)",
    "chosen_drift": "chosen answers' drift, nats a token",
    "rejected_drift": "rejected answers' drift, nats a token",
}


@contextmanager
def watching() -> Iterator[Tell]:
    """Progress on stderr: a bar in a terminal, a plain line now and then elsewhere."""
    console = Screen(err=True)
    if not console.is_terminal:
        yield _plainly()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda told: bar.update(task, description=_line(told), completed=told.done, total=told.of or None)


def show_trained(console: Screen, trained: Trained, evaluate: str) -> None:
    """Print what was trained on, the figures before and after, and what to do next."""
    manifest = trained.manifest
    rows, training = manifest.rows, manifest.training
    console.print(
        f"{training.objective} on {manifest.origin.version}: {rows.train} rows, {rows.held_out} held out"
        f"{_refused(rows.refused)}",
    )
    console.print(
        f"from {manifest.base.model} ({manifest.base.revision}, {manifest.base.licence}), LoRA of rank "
        f"{training.lora_rank}, {manifest.steps} steps in {training.epochs} epochs, "
        f"{manifest.seconds:.0f} s on {manifest.device}",
    )
    for remark, n in rows.remarks.items():
        console.print(f"{n} rows: {remark}")
    _show_figures(console, {"before": manifest.before, "after": manifest.after}, manifest.rows.held_out, change=True)
    for remark in _remarks(manifest.after):
        console.print(remark)
    console.print(f"adapter and manifest in {trained.adapter}")
    console.print(line((evaluate, "bold"), "  the same measure again"), soft_wrap=True)


def show_evaluated(console: Screen, evaluated: Evaluated) -> None:
    """Print the figures of now beside those recorded at the training."""
    manifest, measured, version = evaluated.manifest, evaluated.measured, evaluated.version
    own = version == manifest.origin.version
    seen = f"; {evaluated.seen} others left out: the adapter was trained on their prompts" if evaluated.seen else ""
    console.print(
        f"{manifest.training.objective} adapter of {manifest.origin.version}, measured on {measured.rows} rows held "
        f"out of {version}{_refused(measured.refused)}{seen}",
    )
    now = {"before": measured.before, "after": measured.after}
    then = {"recorded before": manifest.before, "recorded after": manifest.after}
    if own:
        _show_figures(console, {**then, **now}, measured.rows)
        console.print(_repeated(manifest, measured.before, measured.after))
    else:
        of = {f"{manifest.origin.version} {name}": found for name, found in then.items()}
        columns = {**of, **{f"{version} {name}": found for name, found in now.items()}}
        _show_figures(console, columns, measured.rows)
    for remark in _remarks(measured.after):
        console.print(remark)


def _show_figures(console: Screen, columns: dict[str, Figures], rows: int, change: bool = False) -> None:
    """One line a figure; `change` adds the last column less the first."""
    titles = [*columns, *(["change"] if change else [])]
    values = [found.model_dump() for found in columns.values()]
    lines = []
    for field in (field for field in values[0] if field != "rows"):
        cells = [f"{value[field]:.4f}" for value in values]
        more = [f"{values[-1][field] - values[0][field]:+.4f}"] if change else []
        lines.append([LABELS[field], *cells, *more])
    show_table(console, [Column(f"held-out rows: {rows}", "name"), *(Column(name, "number") for name in titles)], lines)


def _remarks(after: Figures) -> Sequence[str]:
    """What a reader should know before believing the figures."""
    if not isinstance(after, Preference):
        return ()
    unsure = 1.96 * math.sqrt(0.25 / after.rows)
    remarks = [f"an accuracy over {after.rows} pairs is good to about ±{unsure:.2f}"]
    if after.chosen_drift < 0:
        remarks.append(
            "the chosen answers have become less likely too, as DPO may have it; `nll_weight` in the options holds them"
        )
    return remarks


def _repeated(manifest: Manifest, before: Figures, after: Figures) -> str:
    same = (before, after) == (manifest.before, manifest.after)
    if same:
        return "the recorded figures, to the last digit"
    return f"not the recorded figures to the last digit; they were taken on {manifest.device}"


def _refused(reasons: dict[str, int]) -> str:
    told = ", ".join(f"{n} x {reason}" for reason, n in reasons.items())
    return f"; {sum(reasons.values())} refused: {told}" if reasons else ""


def _line(told: Progress) -> str:
    loss = "" if told.loss is None else f" (loss {told.loss:.3f})"
    return f"{told.stage}{loss}"


def _plainly() -> Tell:
    said, when = "", 0.0

    def tell(told: Progress) -> None:
        nonlocal said, when
        if told.stage != said or time.monotonic() - when >= PLAIN_SECONDS:
            said, when = told.stage, time.monotonic()
            steps = f", {told.done} of {told.of} steps" if told.of else ""
            say(f"{_line(told)}{steps}", err=True)

    return tell
