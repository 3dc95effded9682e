"""How large a batch may be: bytes that are free, and bytes that its rows and tokens take, by the model's shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Of what is free. On a GPU the rest is for what the estimate leaves out, and a batch that fails is halved; on a CPU
# nothing fails: whoever takes too much is killed, and other programs need memory too.
_ON_GPU, _ON_CPU = 0.7, 0.25
_UNKNOWN = 8 << 30  # bytes taken for free where the system does not say
_MEMINFO, _CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_COPIES = 2  # of keys and values: groups of rows are read apart, then joined
_HIDDEN, _INNER = 6, 4  # tensors as wide as the hidden and the inner state that a layer holds while it reads
_ODDS = 24  # bytes for each word that a row may go on with: its logits, and their copies in double precision


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a batch takes at most: for each token that it may come to hold, and for each row besides."""

    token: int
    row: int

    def of(self, rows: int, widest: int) -> int:
        """Bytes of so many rows, padded to the `widest` one's tokens."""
        return rows * (self.row + widest * self.token)


def footprint(network: PreTrainedModel) -> Footprint:
    """What a model's batches take, from its configuration."""
    config, item = network.config.get_text_config(decoder=True), network.dtype.itemsize
    hidden = _number(config, "hidden_size", 4096)
    heads = _number(config, "num_attention_heads", 32)
    kept = _number(config, "num_key_value_heads", heads) * _number(config, "head_dim", hidden // heads)
    keys_and_values = 2 * _number(config, "num_hidden_layers", 32) * kept * item
    reading = (_HIDDEN * hidden + _INNER * _number(config, "intermediate_size", 4 * hidden)) * item
    return Footprint(_COPIES * keys_and_values + reading, _ODDS * _number(config, "vocab_size", 1 << 18))


def free(on: str) -> int:
    """Bytes that a batch may take at this moment on `cuda` or `cpu`."""
    if on != "cuda":
        return int(_ON_CPU * _of_machine())
    import torch

    unused, _ = torch.cuda.mem_get_info()
    ours = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # torch keeps it for whoever asks next
    return int(_ON_GPU * (unused + ours))


def _of_machine() -> int:
    """Bytes that programs may still take: of the machine, or of the share that the container was given."""
    try:
        unused = _figures(_MEMINFO)["MemAvailable"] * 1024
    except (OSError, KeyError):
        return _UNKNOWN
    try:
        share = int((_CONTAINER / "memory.max").read_text())
        taken = int((_CONTAINER / "memory.current").read_text())
        return min(unused, share - taken + _figures(_CONTAINER / "memory.stat")["inactive_file"])
    except (OSError, KeyError, ValueError):  # no container, or one without a limit
        return unused


def _figures(path: Path) -> dict[str, int]:
    """The numbers in a file of lines such as `MemFree: 12 kB` or `file 12`. Raises OSError."""
    lines = [line.replace(":", " ").split() for line in path.read_text().splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _number(config: PretrainedConfig, name: str, otherwise: int) -> int:
    """A figure of the configuration; some models leave it out, or give one for each layer."""
    found = getattr(config, name, None)
    return found if isinstance(found, int) and found > 0 else otherwise
