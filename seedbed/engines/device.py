"""Where a model in this process runs, in which precision, and how many calls it is given at once.

torch, which takes seconds to import, is asked only where a driver for a GPU is there.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROWS_ON_CPU, ROWS_ON_GPU = 32, 128  # a GPU takes about as long for a token of 128 rows as for one of 32
_DEV = Path("/dev")
_DRIVERS = ("nvidia*", "nvmap", "dxg", "kfd")  # NVIDIA's, Jetson's, that of WSL, AMD's
_HIDDEN = ("", "-1")


@dataclass(frozen=True, slots=True)
class Device:
    """What torch calls the device, and the precision of weights and arithmetic on it."""

    name: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def mark(self) -> str:
        """What it adds to a model's revision: other precision, other words. Single precision adds nothing."""
        return "" if self.dtype == "float32" else f"+{self.dtype}"


def device() -> Device:
    """A GPU where torch has one, in bfloat16 where it computes so; else the CPU, in single precision."""
    if not _driver():
        return Device()
    import torch

    if not torch.cuda.is_available():
        return Device()
    return Device("cuda", "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32")


def usual_rows() -> int:
    """How many calls a model in this process is given at once where nobody says."""
    return ROWS_ON_GPU if _driver() else ROWS_ON_CPU


def _driver() -> bool:
    """Whether a GPU may be there for torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in _HIDDEN:
        return False
    return sys.platform == "win32" or any(next(_DEV.glob(name), None) for name in _DRIVERS)
