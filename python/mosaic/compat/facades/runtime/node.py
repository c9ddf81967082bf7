"""`Node`, where mosaic 1.2 had it."""

from mosaic.runtime.roles import Node

__all__ = ["Node"]
