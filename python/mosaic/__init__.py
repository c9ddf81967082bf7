"""Mosaic: actors for simulations. Classes become tesserae, live in worker processes, are called through proxies.

Names are imported when they are first asked for: workers start with little. An attribute that the module does not have
is looked up on the current runtime: ``mosaic.get_worker()``.
"""

from __future__ import annotations

from mosaic._facade import lazy_names as _lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic._version import __version__
    from mosaic.core.arrays import asarray, empty, zeros
    from mosaic.core.decorator import tessera
    from mosaic.core.gather import gather
    from mosaic.core.stop import stop_tessera
    from mosaic.errors import (
        AuthenticationError,
        BackpressureError,
        ConnectionLostError,
        DescriptorLimitError,
        MemoryOverflowError,
        MosaicError,
        ObjectLostError,
        RemoteError,
        RuntimeDisconnectedError,
        SerialisationError,
        TesseraStoppedError,
    )
    from mosaic.log import logger
    from mosaic.profile import profiler
    from mosaic.runtime.driver import clear_runtime, init, interactive, run, session, stop

_HOMES = {
    "__version__": "mosaic._version",
    "AuthenticationError": "mosaic.errors",
    "BackpressureError": "mosaic.errors",
    "ConnectionLostError": "mosaic.errors",
    "DescriptorLimitError": "mosaic.errors",
    "MemoryOverflowError": "mosaic.errors",
    "MosaicError": "mosaic.errors",
    "ObjectLostError": "mosaic.errors",
    "RemoteError": "mosaic.errors",
    "RuntimeDisconnectedError": "mosaic.errors",
    "SerialisationError": "mosaic.errors",
    "TesseraStoppedError": "mosaic.errors",
    "asarray": "mosaic.core.arrays",
    "clear_runtime": "mosaic.runtime.driver",
    "empty": "mosaic.core.arrays",
    "gather": "mosaic.core.gather",
    "init": "mosaic.runtime.driver",
    "interactive": "mosaic.runtime.driver",
    "logger": "mosaic.log",
    "profiler": "mosaic.profile",
    "run": "mosaic.runtime.driver",
    "session": "mosaic.runtime.driver",
    "stop": "mosaic.runtime.driver",
    "stop_tessera": "mosaic.core.stop",
    "tessera": "mosaic.core.decorator",
    "zeros": "mosaic.core.arrays",
}

_OLD_HOMES = {
    "__version__": "mosaic._version",
    "Head": "mosaic.runtime.roles",
    "Monitor": "mosaic.runtime.roles",
    "Node": "mosaic.runtime.roles",
    "Runtime": "mosaic.runtime.runtime",
    "RuntimeProxy": "mosaic.core.runtime_proxy",
    "Warehouse": "mosaic.runtime.roles",
    "Worker": "mosaic.runtime.roles",
    "default_logger": "mosaic.log",
}
"""Names that programs of mosaic 1.2 import from here."""

_MODULES = frozenset(
    {"comms", "core", "errors", "file_manipulation", "profile", "runtime", "types", "utils"}
)

_MODULES_ELSEWHERE = {"h5": "mosaic.file_manipulation.h5", "subprocess": "mosaic.compat.subprocess"}
"""Modules of sub-packages that programs find at the top."""

__all__ = [
    "AuthenticationError",
    "BackpressureError",
    "ConnectionLostError",
    "DescriptorLimitError",
    "MemoryOverflowError",
    "MosaicError",
    "ObjectLostError",
    "RemoteError",
    "RuntimeDisconnectedError",
    "SerialisationError",
    "TesseraStoppedError",
    "__version__",
    "asarray",
    "clear_runtime",
    "empty",
    "gather",
    "init",
    "interactive",
    "logger",
    "profiler",
    "run",
    "session",
    "stop",
    "stop_tessera",
    "tessera",
    "zeros",
]


_lazy_name = _lazy_names(__name__, {**_HOMES, **_OLD_HOMES}, _MODULES)


def __getattr__(name: str) -> Any:
    if name in _HOMES or name in _OLD_HOMES or name in _MODULES:
        return _lazy_name(name)
    if name in _MODULES_ELSEWHERE:
        from importlib import import_module

        value = globals()[name] = import_module(_MODULES_ELSEWHERE[name])
        return value
    if not name.startswith("_"):
        from mosaic.runtime.current import current

        found = current()
        if found is not None:
            return getattr(found, name)
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}, and there is no runtime to ask",
            name=name,
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES, *_MODULES_ELSEWHERE})
