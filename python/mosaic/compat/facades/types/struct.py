"""`Struct`, where mosaic 1.2 had it."""

from mosaic.core.struct import Struct

__all__ = ["Struct"]
