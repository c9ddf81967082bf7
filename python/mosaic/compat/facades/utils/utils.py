"""Names of `mosaic.utils`, where mosaic 1.2 had them."""

from __future__ import annotations

import mosaic.utils

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = list(mosaic.utils.__all__)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    return getattr(mosaic.utils, name)
