"""`mosaic.core.tessera` of mosaic 1.2: a module with these names, which is the decorator when it is called."""

from __future__ import annotations

from mosaic._facade import lazy_names, make_callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HOMES = {
    "ArrayProxy": "mosaic.core.array",
    "MemoryOverflowError": "mosaic.errors",
    "ParameterMixin": "mosaic.parameter.mixin",
    "PickleClass": "mosaic.serialise.pickle_class",
    "RuntimeDisconnectedError": "mosaic.errors",
    "Tessera": "mosaic.core.host",
    "TesseraProxy": "mosaic.core.proxy",
    "tessera": "mosaic.core.decorator",
}

__all__ = list(_HOMES)


def _decorator(_: object) -> Any:
    from mosaic.core.decorator import tessera

    return tessera


# A property: with a frame between the program and the decorator, warnings would name that.
make_callable(__name__, property(_decorator))

__getattr__ = lazy_names(__name__, _HOMES)
