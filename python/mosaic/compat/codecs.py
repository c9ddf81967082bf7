"""Decompresses payloads that mosaic 1.2 compressed, for `mosaic.compat.compression.decompress`.

Each but zlib is a package that is imported when a payload needs it.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def decompress(name: str, payload: memoryview) -> bytearray:
    """Return what a payload was before it was compressed.

    Parameters
    ----------
    name : str
        One of `READERS`.
    payload : memoryview
        The compressed bytes.

    Returns
    -------
    bytearray

    Raises
    ------
    ImportError
        The package that reads it is not installed; the message names it.
    ValueError
        The bytes are damaged; the message has the codec's reason.
    """
    read, packages = READERS[name]
    module = _imported(name, packages)
    try:
        if not payload.nbytes:
            raise ValueError("it is empty")
        found = read(module, payload)
    except Exception as error:
        # Each codec has an error class of its own, one of them plain `Exception`.
        raise ValueError(
            f"the payload is damaged or was not compressed by {name}: {error}"
        ) from error
    return found if isinstance(found, bytearray) else bytearray(found)


def _imported(name: str, packages: dict[str, str]) -> Any:
    missing: ImportError | None = None
    for module in packages:
        try:
            return import_module(module)
        except ImportError as error:
            missing = error
    wanted = " or ".join(f"pip install {package}" for package in packages.values() if package)
    raise ImportError(
        f"a payload was compressed by {name}, which is not installed here: {wanted}", name=name
    ) from missing


def _zlib(module: Any, payload: memoryview) -> Any:
    return module.decompress(payload)


def _blosc(module: Any, payload: memoryview) -> Any:
    return module.decompress(bytes(payload), as_bytearray=True)


def _zstd(module: Any, payload: memoryview) -> Any:
    if module.__name__ == "zstandard":
        # Unlike its `decompress` this reads frames that do not tell their size.
        reader = module.ZstdDecompressor().decompressobj()
        found = reader.decompress(payload)
        if not reader.eof:
            raise ValueError("it has been cut")
        return found
    return module.decompress(payload)


def _snappy(module: Any, payload: memoryview) -> Any:
    return module.decompress(bytes(payload))


READERS: dict[str, tuple[Callable[[Any, memoryview], Any], dict[str, str]]] = {
    "zlib": (_zlib, {"zlib": ""}),
    "blosc": (_blosc, {"blosc": "blosc", "blosc2": "blosc2"}),
    "zstd": (_zstd, {"zstandard": "zstandard", "compression.zstd": ""}),
    "snappy": (_snappy, {"snappy": "python-snappy"}),
}
"""What reads a codec's payloads; and the modules that can, with the packages that have them."""
