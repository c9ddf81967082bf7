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

__all__ = ["RuntimeDisconnectedError"]
__all__ += list(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "RuntimeDisconnectedError":
        from mosaic.errors import RuntimeDisconnectedError

        return RuntimeDisconnectedError
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value
