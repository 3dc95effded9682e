"""What is told of a vLLM that does not start: the cause, out of logs as vLLM 0.26 and 0.32 write them."""

from __future__ import annotations

import pytest

from seedbed.engines import EngineError
from seedbed.engines.server_log import THEN, end_of
from seedbed.engines.vllm_server import Pace
from tests.test_vllm import Fake, answers

BANNER = """\
(APIServer pid=11) INFO 11-27 18:21:04 [api_utils.py:347]        █     █     █▄   ▄█
(APIServer pid=11) INFO 11-27 18:21:04 [api_utils.py:286] non-default args: {'host': '127.0.0.1', 'port': 8972}
(APIServer pid=11) WARNING 11-27 18:21:04 [system_utils.py:255] This can cause fd limit errors like `OSError: [Errno 24]
(APIServer pid=11) INFO 11-27 18:21:18 [model.py:733] Resolved architecture: LlamaForCausalLM
(EngineCore pid=12) INFO 11-27 18:21:41 [core.py:133] Initializing a V1 LLM engine (v0.32.0)
"""
DOOR = """\
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/venv/vllm/entrypoints/openai/api_server.py", line 59, in <module>
    main()
  File "/venv/vllm/v1/engine/utils.py", line 1431, in wait_for_engine_startup
    raise RuntimeError(
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
"""
OUT_OF_MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB. GPU 0 has a total capacity of 79.11 GiB"
)
TOO_OLD = (
    "RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver by "
    "downloading and installing a new version"
)
NO_BLOCKS = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"
FULL = "ValueError: Free memory on device cuda:0 (3.2/79 GiB) on startup is less than desired GPU memory utilization"
UNKNOWN = "Model architectures ['NobodyForCausalLM'] are not supported for now. Supported architectures: dict_keys(["
MISSING = "FileNotFoundError: [Errno 2] No such file or directory: '/models/qwen/model-00002-of-00004.safetensors'"


def raised(process: str, said: str, error: str) -> str:
    """An exception as vLLM logs it: a record of many lines, each with its head."""
    head = f"({process} pid=12) ERROR 11-27 18:22:01 [core.py:1510]"
    frames = [
        '  File "/venv/vllm/v1/worker/gpu_worker.py", line 594, in load_model',
        "    self.load()",
        "    ^^^^^^^^^",
    ]
    return "".join(f"{head} {line}\n" for line in [said, "Traceback (most recent call last):", *frames * 9, error])


def printed(process: str, error: str) -> str:
    """An exception that nobody logged, as 0.26 prints it: with the process before each line."""
    lines = ["Process EngineCore_DP0:", "Traceback (most recent call last):", '  File "/usr/lib/process.py", line 314']
    return "".join(f"({process} pid=12) {line}\n" for line in [*lines, error])


def refused(error: str) -> str:
    """A configuration that is refused at the door."""
    told = f"pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, {error}\n"
    return f"{BANNER}{DOOR.rpartition('RuntimeError')[0]}{told}    For further information visit the manual\n"


WORKER = raised("Worker_TP0", "WorkerProc failed to start.", OUT_OF_MEMORY)
AFTER = raised("EngineCore", "EngineCore failed to start.", "Exception: WorkerProc initialization failed due to an exc")
TAKEN = DOOR.rpartition("RuntimeError")[0] + "OSError: [Errno 98] Address already in use\n"
LOGS = {
    "a worker out of memory": (BANNER + WORKER + AFTER + DOOR, OUT_OF_MEMORY, "Lower args: gpu_memory_utilization"),
    "the engine out of memory": (
        BANNER + raised("EngineCore_DP0", "EngineCore failed to start.", OUT_OF_MEMORY) + DOOR,
        OUT_OF_MEMORY,
        "Lower args: gpu_memory_utilization",
    ),
    "printed by 0.26": (BANNER + printed("EngineCore_DP0", TOO_OLD) + DOOR, TOO_OLD, "Update the GPU's driver"),
    "a driver too old": (
        BANNER + raised("EngineCore", "EngineCore failed to start.", TOO_OLD) + DOOR,
        TOO_OLD,
        "Update the GPU's driver",
    ),
    "an unknown architecture": (refused(UNKNOWN), UNKNOWN, "Take a model that this vLLM knows"),
    "a missing file": (
        BANNER + raised("EngineCore", "EngineCore failed to start.", MISSING) + DOOR,
        MISSING,
        "Look whether the model's folder is whole",
    ),
    "a trouble that brings another": (
        BANNER
        + raised("EngineCore", "EngineCore failed to start.", NO_BLOCKS)
        + raised("EngineCore", "it does not end well", OUT_OF_MEMORY)
        + DOOR,
        NO_BLOCKS,
        "Raise args: kv_cache_memory_bytes",
    ),
    "an argument that is none": (
        "usage: api_server.py [-h] [--headless]\napi_server.py: error: argument --dtype: invalid choice: 'x'\n",
        "api_server.py: error: argument --dtype: invalid choice: 'x'",
        "The lines below say why",
    ),
    "no memory left by others": (
        BANNER
        + "(APIServer pid=11) ERROR 11-27 18:21:05 [repo_utils.py:126] Error retrieving safetensors: retrying 1 of 2\n"
        + raised(
            "EngineCore", "EngineCore failed to start.", "ValueError: Free memory on device cuda:0 (3.2/79 GiB) is"
        )
        + DOOR,
        "ValueError: Free memory on device cuda:0 (3.2/79 GiB) is",
        "Free the GPU",
    ),
}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    made = Fake(tmp_path)
    monkeypatch.setenv("FAKE_VLLM", str(tmp_path))
    monkeypatch.setenv("SEEDBED_VLLM", str(made.python))
    return made


@pytest.mark.parametrize("case", LOGS)
def test_why_vllm_does_not_start_is_told_before_what_its_door_says_of_it(fake, case):
    log, cause, remedy = LOGS[case]
    (fake.folder / "broken").write_text(log)
    [error] = answers(fake.model(), "a")
    assert isinstance(error, EngineError) and "did not start: it ended with exit code 1" in str(error)
    first, _, below = str(error).partition("\n")
    assert remedy in first, first
    told, _, last = below.partition(THEN)
    assert cause in told.splitlines()[:2] or cause in told.splitlines()[-1], told
    assert len(told.splitlines()) <= 6 and 'File "' not in told
    assert last.splitlines()[-1] in log and len(fake.told("starts")) == 1


def test_a_port_that_was_taken_meanwhile_is_no_reason_to_give_up(fake):
    (fake.folder / "broken").write_text(TAKEN)
    [error] = answers(fake.model(), "a")
    assert len(fake.told("starts")) == 5 and "Address already in use" in str(error)


def test_a_log_without_an_error_is_told_by_its_last_lines(tmp_path):
    (tmp_path / "log").write_text(BANNER * 8)
    assert end_of(tmp_path / "log") == "\n".join((BANNER * 8).splitlines()[-12:])
    (tmp_path / "log").write_text("")
    assert end_of(tmp_path / "log") == ""


def test_what_is_told_of_a_log_is_short_and_says_what_it_leaves_out(tmp_path):
    records = "".join(
        raised(f"Worker_TP{n}", "WorkerProc failed to start.", f"{OUT_OF_MEMORY} {n} {'x' * 400}") for n in range(8)
    )
    (tmp_path / "log").write_bytes(BANNER.encode() + b"\xff\n" + records.encode() + DOOR.encode())
    told = end_of(tmp_path / "log").splitlines()
    assert told[0] == "WorkerProc failed to start." and told[1].startswith(OUT_OF_MEMORY) and told[1].endswith("x…")
    assert len(told) == 6 + 1 + 6 and max(map(len, told)) <= 301 and told[-1] == DOOR.splitlines()[-1]


def test_what_a_start_complained_of_is_no_cause_of_a_later_fall(fake):
    (fake.folder / "noise").write_text(raised("EngineCore", "no NUMA here", "OSError: harmless"))
    pace = Pace(look=0.02, backoff=0.01, falls=2)
    [error] = answers(fake.model(), "DIE", pace=pace)
    assert "fell 2 times" in str(error) and "harmless" not in str(error)
