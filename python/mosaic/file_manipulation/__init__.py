"""Files that programs exchange."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = ("HDF5", "append", "file_exists", "read", "rm", "write")

__all__ = ["h5"]
__all__ += list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        h5 = import_module(f"{__name__}.h5")
        return h5 if name == "h5" else getattr(h5, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
