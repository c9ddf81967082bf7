"""A facade: `Struct`, `WarehouseObject`, and the tuples of classes that separate references from plain values."""

from __future__ import annotations

from mosaic._facade import lazy_names

# A module of mosaic 1.2 lies there.
__path__ = [f"{__path__[0]}/../compat/facades/types"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mosaic.file_manipulation.struct import Struct
    from mosaic.warehouse.reference import WarehouseObject

__all__ = ["Struct", "WarehouseObject", "awaitable_types", "proxy_types", "remote_types"]

_HOMES = {
    "Struct": "mosaic.file_manipulation.struct",
    "WarehouseObject": "mosaic.warehouse.reference",
    "awaitable_types": "mosaic.compat.kinds",
    "proxy_types": "mosaic.compat.kinds",
    "remote_types": "mosaic.compat.kinds",
}

__getattr__ = lazy_names(__name__, _HOMES, {"struct"})
