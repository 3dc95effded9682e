"""What a recipe says of a model that Seedbed serves with vLLM.

Only what is listed here reaches vLLM's command line: a recipe that came from somebody else can neither run code
(plug-ins, remote code) nor open a port.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo

from seedbed.asking import Asking
from seedbed.faults import fault
from seedbed.folders import out_of
from seedbed.records import Frozen

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _adapter(path: Path, info: ValidationInfo) -> Path:
    """The folder, looked for beside the recipe first, then where we stand."""
    for folder in (Path((info.context or {}).get("folder", ".")), Path()):
        found = folder / path.expanduser()
        if (found / "adapter_config.json").is_file():
            if problem := next(filter(None, (out_of(file, found) for file in sorted(found.iterdir()))), None):
                raise fault(f"{problem.file}: {problem.what}", problem.write)
            return found.resolve()
    raise fault(
        f"there is no adapter in {str(path)!r}: no adapter_config.json",
        "Give the folder of an adapter that `seedbed train` made, such as .seedbed/adapters/NAME",
    )


class VllmArguments(Frozen):
    """Options of vLLM by its own names; left out, vLLM's defaults hold (on a CPU: eager, 2 GiB of cache)."""

    tensor_parallel_size: Annotated[Count, Field(description="GPUs that one server spreads the model over")] = 1
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Share of each GPU's memory."
    )
    kv_cache_memory_bytes: Count | None = Field(default=None, description="Memory of the cache of each GPU, in bytes.")
    kv_cache_dtype: Name | None = Field(default=None, description="Numbers of the cache, such as fp8.")
    quantization: Name | None = Field(default=None, description="How the weights are quantized, such as awq.")
    max_num_seqs: Count | None = Field(default=None, description="Calls in one batch, at most.")
    max_num_batched_tokens: Count | None = Field(default=None, description="Tokens in one step, at most.")
    cpu_offload_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Part of the weights that is kept in the machine's memory, in GiB."
    )
    enforce_eager: bool | None = Field(default=None, description="Run without CUDA graphs.")
    enable_prefix_caching: bool | None = Field(
        default=None, description="Read what prompts begin with alike only once."
    )
    enable_expert_parallel: bool | None = Field(
        default=None, description="Spread the experts of a mixture over the GPUs."
    )
    reasoning_parser: Name | None = Field(
        default=None, description="How reasoning is told from the answer, such as deepseek_r1."
    )
    tokenizer_mode: Name | None = Field(default=None, description="Which tokenizer, such as mistral.")


class VllmModel(Asking):
    """A model that Seedbed serves itself, with vLLM from an environment of its own (`make vllm`)."""

    model_config = ConfigDict(hide_input_in_errors=True)

    engine: Literal["vllm"] = Field(default="vllm", description="Served by Seedbed itself.")
    model: Annotated[str, Field(min_length=1, description="smollm2-135m, a folder, or a name on the hub")]
    revision: str = Field(default="", description="Of a model on the Hub: branch, tag or commit.")
    licence: str = Field(default="unknown", description="Recorded with every run.")
    adapter: Annotated[Path, AfterValidator(_adapter)] | None = Field(
        default=None, description="Folder of a LoRA adapter."
    )
    servers: Annotated[Count, Field(description="Copies of the model, each a server with GPUs of its own")] = 1
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", description="Numbers of the weights."
    )
    max_model_len: Count | None = Field(default=None, description="Tokens of prompt and answer together.")
    args: VllmArguments = Field(default=VllmArguments(), description="Options of vLLM, by its own names.")
    concurrency: Annotated[Count, Field(description="Calls in flight, over all servers")] = 64
    timeout: Annotated[Seconds, Field(description="Seconds that one try of a call may take")] = 300.0
    retries: Annotated[int, Field(ge=0)] = Field(default=2, description="Further tries of a call that fails.")
    start_timeout: Annotated[Seconds, Field(description="Seconds that a server may take to start")] = 900.0
