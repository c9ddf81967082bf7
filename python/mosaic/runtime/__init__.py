"""A facade: the kinds of runtimes and strategies. Called, the module gives the current runtime: ``mosaic.runtime()``.

Names are imported when they are first asked for.
"""

from __future__ import annotations

from mosaic._facade import lazy_names, make_callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Where some modules of mosaic 1.2 lie.
__path__ = [*__path__, f"{__path__[0]}/../compat/facades/runtime"]

_HOMES = {
    "Head": "mosaic.runtime.roles",
    "LeastLoaded": "mosaic.runtime.strategy",
    "Monitor": "mosaic.runtime.roles",
    "MonitorStrategy": "mosaic.runtime.strategy",
    "Node": "mosaic.runtime.roles",
    "RoundRobin": "mosaic.runtime.strategy",
    "Runtime": "mosaic.runtime.runtime",
    "RuntimeProxy": "mosaic.core.runtime_proxy",
    "Warehouse": "mosaic.runtime.roles",
    "Worker": "mosaic.runtime.roles",
    "monitor_strategies": "mosaic.runtime.strategy",
}

_MODULES = frozenset({"head", "monitor", "node", "runtime", "strategies", "warehouse", "worker"})

__all__ = list(_HOMES)


def _current(_: object) -> Any:
    """Return the current runtime, None if there is none."""
    from mosaic.runtime.current import current

    return current()


make_callable(__name__, _current)

__getattr__ = lazy_names(__name__, _HOMES, _MODULES)
