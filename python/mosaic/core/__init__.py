"""A facade: tesserae, tasks and their proxies. Names are imported when they are first asked for."""

from __future__ import annotations

from mosaic._facade import lazy_names

# Where some modules of mosaic 1.2 lie.
__path__ = [*__path__, f"{__path__[0]}/../compat/facades/core"]

_HOMES = {
    "ArrayProxy": "mosaic.core.array",
    "Base": "mosaic.compat.bases",
    "CMDBase": "mosaic.compat.bases",
    "MemoryOverflowError": "mosaic.errors",
    "ParameterMixin": "mosaic.parameter.mixin",
    "PickleClass": "mosaic.serialise.pickle_class",
    "ProxyBase": "mosaic.compat.bases",
    "RemoteBase": "mosaic.compat.bases",
    "RuntimeDisconnectedError": "mosaic.errors",
    "Task": "mosaic.core.task",
    "TaskArray": "mosaic.core.task",
    "TaskArrayProxy": "mosaic.core.task",
    "TaskDone": "mosaic.core.task",
    "TaskOutput": "mosaic.core.task",
    "TaskOutputGenerator": "mosaic.core.task",
    "TaskProxy": "mosaic.core.task",
    "Tessera": "mosaic.core.host",
    "TesseraProxy": "mosaic.core.proxy",
}


__all__ = ["tessera"]
__all__ += list(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES, {"base", "task", "tessera"})
