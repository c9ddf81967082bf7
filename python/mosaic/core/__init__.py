"""Tesserae, tasks and their proxies. Names are imported when they are first asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HOMES = {
    "ArrayProxy": "array",
    "Base": "base",
    "CMDBase": "base",
    "ParameterMixin": "parameter",
    "PickleClass": "pickle_class",
    "ProxyBase": "base",
    "RemoteBase": "base",
    "Task": "task",
    "TaskArray": "task",
    "TaskArrayProxy": "task",
    "TaskDone": "task",
    "TaskOutput": "task",
    "TaskOutputGenerator": "task",
    "TaskProxy": "task",
    "Tessera": "tessera",
    "TesseraProxy": "proxy",
}

_MODULES = frozenset({"base", "task", "tessera"})

__all__ = ["MemoryOverflowError", "RuntimeDisconnectedError", "tessera"]
__all__ += list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if name in _MODULES:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    if home is None:
        from mosaic.core.base import ERRORS

        if name in ERRORS:
            import mosaic.errors

            return getattr(mosaic.errors, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value
