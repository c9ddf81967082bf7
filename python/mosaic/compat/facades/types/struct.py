"""`Struct`, where mosaic 1.2 had it."""

from mosaic.file_manipulation.struct import Struct

__all__ = ["Struct"]
