"""Compresses payloads by LZ4 where a sample shrinks enough, in the Rust core and without the interpreter's lock.

What is written is LZ4 or nothing. What programs of mosaic 1.2 have stored is read too: its other codecs are imported
when a payload names one.
"""

from __future__ import annotations

from pickle import PickleBuffer

from mosaic import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "lz4"
"""What `maybe_compress` calls its way of compressing: an LZ4 block behind the payload's length, 32 bits."""

LONGEST = 2**32 - 1
"""The longest payload that is compressed, in bytes."""

WORTH = 0.9
"""Part of its size that a payload must shrink to: less is not worth the time at the other end."""


def maybe_compress(
    payload: Any, min_size: float = 1e4, sample_size: float = 1e4, nsamples: int = 5
) -> tuple[str | None, Any]:
    """Compress a payload, unless it is small or a sample of it does not shrink by a tenth.

    Parameters
    ----------
    payload : bytes-like, ndarray or str
        Any buffer; of one that is not contiguous a copy is compressed, of a text its UTF-8.
    min_size : float
        Payloads of fewer bytes are left alone.
    sample_size : float
        The bytes of one sample.
    nsamples : int
        How many samples are taken, evenly over the payload; one that they would cover is compressed at once.

    Returns
    -------
    str or None
        How it was compressed, for `decompress`; None if it was not.
    bytes or object
        The compressed bytes; the payload itself if it was not.

    Raises
    ------
    TypeError
        The payload is no buffer.

    Examples
    --------
    >>> name, packed = maybe_compress(bytes(100_000))
    >>> name, len(packed) < 1000, decompress(name, packed) == bytes(100_000)
    ('lz4', True, True)
    >>> maybe_compress(b"short")
    (None, b'short')
    """
    with _bytes_of(payload) as view:
        length = view.nbytes
        if length < min_size or length > LONGEST or not length:
            return None, payload
        if not _shrinks(view, int(sample_size), int(nsamples)):
            return None, payload
        packed = _core.compress(view)
    return (NAME, packed) if len(packed) <= WORTH * length else (None, payload)


def decompress(name: str | bool | None, payload: Any) -> Any:
    """Give back what `maybe_compress` was given, or its counterpart in mosaic 1.2.

    Parameters
    ----------
    name : str, None or False
        How it was compressed: ``lz4``, ``zlib``, ``blosc``, ``zstd`` or ``snappy``; None or False if it was not.
    payload : bytes-like
        The compressed bytes.

    Returns
    -------
    bytearray or object
        The payload, which may be written to; as it is where it was not compressed.

    Raises
    ------
    ValueError
        Nothing is known by that name, or the bytes are damaged.
    ImportError
        The package that reads it is not installed; the message names it.
    """
    if name is None or name is False:
        return payload
    with _bytes_of(payload) as view:
        if name == NAME:
            return bytearray(_core.decompress(view))
        from mosaic.compat import codecs

        if name in codecs.READERS:
            return codecs.decompress(name, view)
    known = ", ".join(map(repr, (NAME, *codecs.READERS)))
    raise ValueError(
        f"there is no compression called {name!r} here; what is known is {known}, and None or False for none"
    )


def _bytes_of(payload: Any) -> memoryview:
    """Return the bytes of a buffer, in the order of memory where it is contiguous."""
    if isinstance(payload, str):
        return memoryview(payload.encode())
    try:
        return PickleBuffer(payload).raw()
    except BufferError:
        return memoryview(memoryview(payload).tobytes())
    except ValueError:
        # Arrays of a type that the buffer protocol has no format for: times.
        contiguous = payload if payload.flags.forc else payload.copy()
        return memoryview(contiguous.ravel("K").view("B"))


def _shrinks(view: memoryview, size: int, count: int) -> bool:
    """Return whether samples of a payload shrink enough."""
    length = view.nbytes
    if size < 1 or count < 1 or length <= size * count:
        return True
    last = length - size
    starts = [last * index // max(count - 1, 1) for index in range(count)]
    sample = b"".join(view[start : start + size] for start in starts)
    return len(_core.compress(sample)) <= WORTH * len(sample)
