"""A facade: names of mosaic 1.2; the code is in `mosaic.compat`, `mosaic.system` and `mosaic.log`."""

from __future__ import annotations

from mosaic._facade import lazy_names

# Where some modules of mosaic 1.2 lie.
__path__ = [*__path__, f"{__path__[0]}/../compat/facades/utils"]

_HOMES: dict[str, str] = {
    "EventLoop": "mosaic.compat.event_loop",
    "Future": "mosaic.compat.future",
    "LoggerManager": "mosaic.log",
    "MultiError": "mosaic.compat.multi_error",
    "async_property": "mosaic.compat.properties",
    "camel_case": "mosaic.core.naming",
    "cpu_count": "mosaic.system.cpu",
    "default_logger": "mosaic.log",
    "gather": "mosaic.core.gather",
    "gpu_count": "mosaic.compat.gpu",
    "lowercase": "mosaic.core.naming",
    "memory_limit": "mosaic.system.memory",
    "memory_used": "mosaic.system.memory",
    "physical_cpu_count": "mosaic.system.cpu",
    "remote_sizeof": "mosaic.compat.sizes",
    "set_main_thread": "mosaic.system.threads",
    "sizeof": "mosaic.compat.sizes",
    "snake_case": "mosaic.core.naming",
    "uppercase": "mosaic.core.naming",
}

_MODULES = frozenset(
    {"at_exit", "change_case", "event_loop", "logger", "mimport", "subprocess", "utils"}
)

__all__ = ["at_exit", "logger", "mimport", "subprocess"]
__all__ += list(_HOMES)


__getattr__ = lazy_names(__name__, _HOMES, _MODULES)
