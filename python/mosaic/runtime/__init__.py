"""A process's view of the network; called, the module gives the current runtime: ``mosaic.runtime()``.

Names are imported when they are first asked for.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Where some modules of mosaic 1.2 lie.
__path__ = [*__path__, f"{__path__[0]}/../compat/homes/runtime"]

_HOMES = {
    "Head": "roles",
    "LeastLoaded": "strategy",
    "Monitor": "roles",
    "MonitorStrategy": "strategy",
    "Node": "roles",
    "RoundRobin": "strategy",
    "Runtime": "runtime",
    "RuntimeProxy": "proxies",
    "Warehouse": "roles",
    "Worker": "roles",
    "monitor_strategies": "strategy",
}

_MODULES = frozenset({"head", "monitor", "node", "runtime", "strategies", "warehouse", "worker"})

__all__ = list(_HOMES)


class _CallableModule(type(sys)):  # type: ignore[misc]
    def __call__(self) -> Any:
        """Return the current runtime, None if there is none."""
        from mosaic.runtime.current import current

        return current()

    def __reduce__(self) -> Any:
        from importlib import import_module

        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _CallableModule


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    from importlib import import_module

    if home is None:
        return import_module(f"{__name__}.{name}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value
