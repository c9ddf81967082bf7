"""`serialise` and `deserialise`, where mosaic 1.2 had them."""

from mosaic.serialise.codec import deserialise, serialise

__all__ = ["deserialise", "serialise"]
