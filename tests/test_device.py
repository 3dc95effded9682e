"""Where a model in this process runs, in which precision, and how many rows of it the memory holds."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
import torch

from seedbed.engines import Sampling, memory
from seedbed.engines import device as device_module
from seedbed.engines import transformers as engine_module
from seedbed.engines.device import Device, device, usual_rows
from seedbed.engines.forward import Model
from seedbed.engines.transformers import TransformersEngine
from seedbed.recipe import TransformersModel
from seedbed.records import Message
from tests.tiny_model import tiny_model


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """What tells of a GPU, as on a machine that has one; the words that go before torch's own."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    monkeypatch.setattr(device_module, "_DEV", tmp_path / "dev")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    return monkeypatch


def test_on_a_gpu_a_model_runs_in_half_precision_where_that_is_no_emulation(gpu):
    assert device() == Device("cuda", "bfloat16")
    gpu.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert device() == Device("cuda", "float32")
    gpu.setattr(torch.cuda, "is_available", lambda: False)
    assert device() == Device("cpu", "float32")


def test_a_gpu_is_given_more_calls_at_once_unless_it_is_hidden_or_the_recipe_says_how_many(gpu):
    assert TransformersModel().concurrency == usual_rows() == 128
    assert TransformersModel(concurrency=7).concurrency == 7
    gpu.setenv("CUDA_VISIBLE_DEVICES", "")
    assert TransformersModel().concurrency == 32 and device() == Device()


def test_who_has_no_gpu_waits_for_no_torch_until_a_model_is_needed():
    asked = "from seedbed.engines.transformers import TransformersEngine as E; E(); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", f"import sys; {asked}"], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_a_model_in_half_precision_is_another_one_to_the_ledger_and_that_of_a_cpu_keeps_its_name(tmp_path, monkeypatch):
    folder, seen = tiny_model(tmp_path / "tiny"), list[torch.dtype]()
    plain, embedded = TransformersEngine(folder).card, TransformersEngine().card
    assert plain.revision.startswith("files:") and "+" not in plain.revision + embedded.revision
    monkeypatch.setattr(engine_module, "device", lambda: Device("cpu", "bfloat16"))
    assert TransformersEngine().card.revision == f"{embedded.revision}+bfloat16"
    generate = Model.generate

    def spied(model, jobs):
        seen.append(model._network.dtype)
        generate(model, jobs)

    async def says():
        async with TransformersEngine(folder) as engine:
            said = await engine.chat([Message(role="user", content="w1")], Sampling(0, 1, 4), step="test")
            return engine.card, said

    monkeypatch.setattr(Model, "generate", spied)
    card, said = asyncio.run(says())
    assert card.revision == f"{plain.revision}+bfloat16" and said.tokens_out and seen == [torch.bfloat16]


# Memory


def shaped(dtype=torch.float32, **shape):
    from transformers import LlamaConfig, LlamaForCausalLM

    given = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=1000, **(given | shape))
    return LlamaForCausalLM(config).to(dtype)


@pytest.mark.parametrize("shape", [{}, {"num_key_value_heads": 2}, {"num_key_value_heads": 1, "head_dim": 40}])
def test_a_token_is_counted_with_all_that_is_kept_of_it(shape):
    network = shaped(**shape)
    with torch.inference_mode():
        cache = network(torch.ones(2, 5, dtype=torch.long), use_cache=True).past_key_values
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) / 10
    found = memory.footprint(network)
    reading = (6 * 64 + 4 * 96) * 4
    assert found.token == 2 * kept + reading and found.row == 24_000
    assert memory.footprint(shaped(torch.bfloat16, **shape)).token == found.token / 2
    assert found.of(3, 5) == 3 * found.row + 15 * found.token


def test_a_model_whose_configuration_leaves_figures_out_is_counted_all_the_same():
    from transformers import GPT2Config, GPT2LMHeadModel

    network = GPT2LMHeadModel(GPT2Config(vocab_size=1000, n_embd=64, n_layer=3, n_head=4))
    assert not hasattr(network.config, "num_key_value_heads") and network.config.n_inner is None
    assert memory.footprint(network).token == 2 * (2 * 3 * 64 * 4) + (6 * 64 + 4 * 256) * 4


def test_on_a_gpu_what_is_free_is_what_the_driver_and_torch_have_left(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (40 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 25 << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 15 << 30)
    assert memory.free("cuda") == int(0.7 * (50 << 30))


def test_on_a_cpu_a_quarter_of_what_is_free_is_taken_in_a_container_of_its_share(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CONTAINER", tmp_path)
    assert memory.free("cpu") == 2 << 30, "where nobody says"
    (tmp_path / "meminfo").write_text(
        "MemTotal: 16777216 kB\nMemFree: 5 kB\nMemAvailable:    8388608 kB\nHugePages: 0\n"
    )
    assert memory.free("cpu") == 2 << 30
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text(f"{3 << 30}\n")
    (tmp_path / "memory.stat").write_text(f"anon 12\nfile 55\ninactive_file {1 << 30}\n")
    assert memory.free("cpu") == 2 << 30, "no limit"
    (tmp_path / "memory.max").write_text(f"{6 << 30}\n")
    assert memory.free("cpu") == 1 << 30
    (tmp_path / "memory.max").write_text(f"{2 << 30}\n")
    assert memory.free("cpu") <= 0


@pytest.mark.parametrize(("rows", "largest"), [(3, 3), (100, 6), (0, 1)])
def test_a_batch_has_the_rows_that_the_memory_holds_and_the_recipe_allows(tmp_path, monkeypatch, rows, largest):
    folder, batches = tiny_model(tmp_path / "tiny"), list[int]()
    generate = Model.generate

    def spied(model, jobs):
        batches.append(len(jobs))
        generate(model, jobs)

    def holds(on):
        return memory.footprint(shape).of(rows, 12)

    from transformers import AutoModelForCausalLM

    shape = AutoModelForCausalLM.from_pretrained(folder)
    monkeypatch.setattr(Model, "generate", spied)
    monkeypatch.setattr(engine_module, "free", holds)

    async def says():
        async with TransformersEngine(folder, batch=6) as engine:
            asked = [Message(role="user", content="w1 w2")]
            chats = (engine.chat(asked, Sampling(1, 1, 7), step="test", ordinal=n) for n in range(12))
            return await asyncio.gather(*chats)

    assert len(asyncio.run(says())) == 12 and max(batches) == largest
