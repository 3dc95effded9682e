"""Commands that train and measure: train, evaluate."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_versions import Name
from flows.terminal import HOME, Home, Json, console, here, open_store, print_json, program, say

if TYPE_CHECKING:
    from trainer.options import Training

MODEL = "The model to start from: smollm2-135m, a folder, or a name on the Hugging Face Hub."


def train(
    name: Name,
    options: Annotated[
        Path | None, typer.Option(help="A YAML file of options, such as recipes/train-dpo.yaml.")
    ] = None,
    objective: Annotated[
        str, typer.Option(help="sft or dpo; left out: dpo where the version holds only preferences.")
    ] = "",
    model: Annotated[str, typer.Option(help=MODEL)] = "",
    out: Annotated[Path | None, typer.Option(help="The adapter's folder; left out: in the home folder.")] = None,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Fine-tune a model on a version: a LoRA adapter by SFT or DPO, measured on held-out rows before and after.

    The training is a process of its own. Ctrl-C stops it, and leaves nothing behind.
    """
    from flows.show_training import show_trained, watching
    from flows.train import train as make

    training = _training(options, objective, model)
    store = open_store(home)
    try:
        with watching() as tell:
            trained = make(store, name, training, out, tell)
    except KeyboardInterrupt:
        say("Interrupted: no adapter was written. The same command begins again.", err=True)
        raise typer.Exit(130) from None
    if as_json:
        print_json({"adapter": str(trained.adapter), **trained.manifest.model_dump(mode="json")})
    else:
        show_trained(console(), trained, f"{program()} evaluate {shlex.quote(str(trained.adapter))}{here(home)}")


def evaluate(
    adapter: Annotated[Path, typer.Argument(help="The folder of an adapter that `seedbed train` made.")],
    name: Annotated[
        str, typer.Argument(help="Measure on the rows held out of this version; left out: of the adapter's own.")
    ] = "",
    model: Annotated[str, typer.Option(help="Where the adapter's base model is now, if it was moved.")] = "",
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Measure an adapter again: loss, preference accuracy and reward margin on held-out rows, beside those recorded."""
    from flows.show_training import show_evaluated, watching
    from flows.train import evaluate as measure

    store = open_store(home)
    try:
        with watching() as tell:
            evaluated = measure(store, adapter, name, model, tell)
    except KeyboardInterrupt:
        say("Interrupted: nothing was changed.", err=True)
        raise typer.Exit(130) from None
    if as_json:
        manifest = evaluated.manifest
        recorded = {"before": manifest.before.model_dump(), "after": manifest.after.model_dump()}
        measured = evaluated.measured.model_dump(mode="json")
        print_json({"version": evaluated.version, "seen": evaluated.seen, **measured, "recorded": recorded})
    else:
        show_evaluated(console(), evaluated)


def _training(path: Path | None, objective: str, model: str) -> Training:
    from seedbed.errors import InputError
    from seedbed.options_file import read_options_file
    from trainer.options import RATES, Training

    told = read_options_file(path, Training).model_dump(exclude_unset=True) if path else {}
    if objective:
        if objective not in RATES:
            raise InputError(f"unknown objective {objective!r}: write --objective {' or '.join(RATES)}")
        told["objective"] = objective
    if model:  # what the file says of its own model is not said of this one
        told = {key: value for key, value in told.items() if key not in ("revision", "licence")} | {"model": model}
    return Training(**told)
