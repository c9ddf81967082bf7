"""Small things that programs import. Names are imported when they are first asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HOMES = {
    "EventLoop": "mosaic.utils.event_loop",
    "LoggerManager": "mosaic.utils.logger",
    "at_exit": "mosaic.utils.at_exit",
    "camel_case": "mosaic.utils.naming",
    "cpu_count": "mosaic.utils.cpu",
    "default_logger": "mosaic.utils.logger",
    "gather": "mosaic.core.gather",
    "lowercase": "mosaic.utils.naming",
    "memory_limit": "mosaic.utils.memory",
    "memory_used": "mosaic.utils.memory",
    "physical_cpu_count": "mosaic.utils.cpu",
    "sizeof": "mosaic.utils.memory",
    "snake_case": "mosaic.utils.naming",
    "uppercase": "mosaic.utils.naming",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    from importlib import import_module

    module = import_module(home)
    value = globals()[name] = getattr(module, name)
    return value
