"""`mimport`, where mosaic 1.2 had it; the module itself can be called like the function."""

from mosaic._facade import make_callable
from mosaic.compat.imports import mimport

__all__ = ["mimport"]

# `from mosaic.utils import mimport` gives the module once that has been imported.
make_callable(__name__, staticmethod(mimport))
