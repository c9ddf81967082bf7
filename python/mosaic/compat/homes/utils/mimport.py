"""`mimport`, where mosaic 1.2 had it; the module itself can be called like the function."""

from __future__ import annotations

import sys

from mosaic.utils.imports import mimport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["mimport"]


class _CallableModule(type(sys)):  # type: ignore[misc]
    # `from mosaic.utils import mimport` gives the module once that has been imported.
    __call__ = staticmethod(mimport)

    def __reduce__(self) -> Any:
        from importlib import import_module

        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _CallableModule
