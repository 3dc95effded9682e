"""The kernel: records, recipes, taxonomy, engines, ledger and store. It knows nothing of any method.

`seedbed.Home`, `seedbed.read` and the errors are the front door (docs/python.md): they are of `flows.front`, which is
loaded when one of them is asked for, so that the kernel itself stays as light as it is.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.front import (
        BadInput,
        EngineError,
        Home,
        InputError,
        Outcome,
        RunBusy,
        StoreError,
        preview_rows,
        read,
    )

__version__ = "0.1.0"
__all__ = ["BadInput", "EngineError", "Home", "InputError", "Outcome", "RunBusy", "StoreError", "preview_rows", "read"]


if not TYPE_CHECKING:  # who checks types sees the names above, and no others

    def __getattr__(name: str) -> object:
        if name in __all__:
            return getattr(import_module("flows.front"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
