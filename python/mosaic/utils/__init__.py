"""Small things that programs import. Names are imported when they are first asked for."""

from __future__ import annotations

from mosaic._facade import lazy_names

# Where some modules of mosaic 1.2 lie.
__path__ = [*__path__, f"{__path__[0]}/../compat/facades/utils"]

_HOMES: dict[str, str] = {
    "EventLoop": "mosaic.utils.event_loop",
    "Future": "mosaic.utils.future",
    "LoggerManager": "mosaic.utils.logger",
    "MultiError": "mosaic.utils.multi_error",
    "async_property": "mosaic.utils.properties",
    "camel_case": "mosaic.utils.naming",
    "cpu_count": "mosaic.utils.cpu",
    "default_logger": "mosaic.utils.logger",
    "gather": "mosaic.core.gather",
    "gpu_count": "mosaic.utils.gpu",
    "lowercase": "mosaic.utils.naming",
    "memory_limit": "mosaic.utils.memory",
    "memory_used": "mosaic.utils.memory",
    "physical_cpu_count": "mosaic.utils.cpu",
    "remote_sizeof": "mosaic.utils.memory",
    "set_main_thread": "mosaic.utils.threads",
    "sizeof": "mosaic.utils.memory",
    "snake_case": "mosaic.utils.naming",
    "uppercase": "mosaic.utils.naming",
}

_MODULES = frozenset(
    {
        *("at_exit", "change_case", "cpu", "event_loop", "logger", "memory", "mimport", "naming"),
        *("subprocess", "utils"),
    }
)

__all__ = ["at_exit", "logger", "mimport", "subprocess"]
__all__ += list(_HOMES)


__getattr__ = lazy_names(__name__, _HOMES, _MODULES)
