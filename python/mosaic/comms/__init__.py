"""How values become bytes, and the name of this machine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MODULES = frozenset({"compression", "serialisation"})


def get_hostname() -> str:
    """Return the name of this machine."""
    import socket

    return socket.gethostname()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
