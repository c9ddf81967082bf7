"""Files that programs exchange."""

from __future__ import annotations

from mosaic._facade import lazy_names

_NAMES = ("HDF5", "append", "file_exists", "read", "rm", "write")

__all__ = ["h5"]
__all__ += list(_NAMES)

__getattr__ = lazy_names(__name__, dict.fromkeys(_NAMES, f"{__name__}.h5"), {"h5"})
