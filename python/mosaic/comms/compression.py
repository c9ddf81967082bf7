"""Payloads made smaller where a sample says that it pays: by LZ4, in the Rust core, without the interpreter's lock."""

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
    payload : bytes-like or ndarray
        Any contiguous buffer.
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
    BufferError
        It is not contiguous.

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


def decompress(name: str | None, payload: Any) -> Any:
    """Give back what `maybe_compress` was given.

    Parameters
    ----------
    name : str or None
        How it was compressed; None if it was not.
    payload : bytes-like
        The compressed bytes.

    Returns
    -------
    bytes or object
        The payload; as it is where the name is None.

    Raises
    ------
    ValueError
        Nothing is known by that name, or the bytes are damaged.
    """
    if name is None:
        return payload
    if name != NAME:
        raise ValueError(
            f"there is no compression called {name!r} here; what is known is {NAME!r}, and None for none"
        )
    with _bytes_of(payload) as view:
        return _core.decompress(view)


def _bytes_of(payload: Any) -> memoryview:
    """Return the bytes of a buffer, in the order of memory."""
    try:
        return PickleBuffer(payload).raw()
    except ValueError:
        # Arrays of a type that the buffer protocol has no format for: times.
        return memoryview(payload.view("B")).cast("B")


def _shrinks(view: memoryview, size: int, count: int) -> bool:
    """Tell whether samples of a payload shrink enough."""
    length = view.nbytes
    if size < 1 or count < 1 or length <= size * count:
        return True
    last = length - size
    starts = [last * index // max(count - 1, 1) for index in range(count)]
    sample = b"".join(view[start : start + size] for start in starts)
    return len(_core.compress(sample)) <= WORTH * len(sample)
