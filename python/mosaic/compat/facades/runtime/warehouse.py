"""`Warehouse`, where mosaic 1.2 had it."""

from mosaic.runtime.roles import Warehouse

__all__ = ["Warehouse"]
