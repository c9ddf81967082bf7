"""`maybe_compress` and `decompress`, where mosaic 1.2 had them."""

from mosaic.compat.compression import decompress, maybe_compress

__all__ = ["decompress", "maybe_compress"]
