"""Pickles and unpickles values: protocol 5 with out-of-band buffers, cloudpickle only where pickle refuses.

Functions and classes that a worker cannot import (those of ``__main__`` and of notebooks, lambdas, closures)
travel by value. A class by value is pickled once and remembered (`mosaic.serialise.classes`), a function
sends the whole value through cloudpickle, so that what its parts share stays shared.

Nothing here imports `pickle` or cloudpickle until they are needed: workers start with this module.
"""

from __future__ import annotations

from _io import BytesIO
from _pickle import Pickler, PicklingError, loads

from mosaic.serialise import by_value, preload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pickle import PickleBuffer
    from typing import Any

PROTOCOL = 5

IN_BAND_LIMIT = 2048
"""Buffers of fewer bytes stay in the pickle: a segment of its own costs more than the copy."""

_function_type = type(lambda: None)


_UNKNOWN = object()
_package_of_named: Any = by_value.packages.get

_plain_kinds: set[type] = set()
"""Types whose objects are neither functions nor classes, nor named: 0.1 us of 0.4 an object."""


class _RefusedError(Exception):
    """The value has a part that only cloudpickle can pickle."""


class _FastPickler(Pickler):
    """The C pickler, which stops at functions that must go by value."""

    packages: frozenset[str] = frozenset()

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _plain_kinds:
            return NotImplemented
        package = _package_of_named(id(obj), _UNKNOWN)
        if package is not _UNKNOWN:
            if package is not None and package not in self.packages:
                self.packages |= {package}
            return NotImplemented
        if kind is _function_type:
            if by_value.importable(obj):
                preload.note(self, obj)
                return NotImplemented
            raise _RefusedError
        if kind is type or issubclass(kind, type):
            if by_value.importable(obj):
                preload.note(self, obj)
                return NotImplemented
            from mosaic.serialise.classes import reduce_class

            reduced = reduce_class(obj)
            if reduced is None:
                raise _RefusedError
            return reduced
        if kind.__name__ in by_value.KINDS_BY_NAME and kind.__module__ in {"functools", "typing"}:
            if not by_value.importable(obj):
                raise _RefusedError
            preload.note(self, obj)
        elif by_value.importable(kind):
            _plain_kinds.add(kind)
        return NotImplemented


def _dump(obj: object, buffer_callback: Callable[[PickleBuffer], Any] | None) -> bytes:
    stream = BytesIO()
    pickler = _FastPickler(stream, PROTOCOL, buffer_callback=buffer_callback)
    try:
        pickler.dump(obj)
    except (_RefusedError, PicklingError, TypeError, AttributeError):
        pass
    else:
        if pickler.packages:
            stream.write(preload.trailer(pickler.packages))
        return stream.getvalue()
    return b""


def _dump_by_value(obj: object, buffer_callback: Callable[[PickleBuffer], Any] | None) -> bytes:
    from mosaic.serialise.classes import ValuePickler

    stream = BytesIO()
    pickler = ValuePickler(stream, PROTOCOL, buffer_callback=buffer_callback)
    pickler.dump(obj)
    if pickler.packages:
        stream.write(preload.trailer(pickler.packages))
    return stream.getvalue()


def serialise(obj: object) -> tuple[bytes, list[Any]]:
    """Turn any value into bytes.

    Parameters
    ----------
    obj : object
        The value.

    Returns
    -------
    bytes
        The pickle.
    list of pickle.PickleBuffer
        The large contiguous buffers in it (arrays), not copied.

    Raises
    ------
    pickle.PicklingError, TypeError
        Neither pickle nor cloudpickle can pickle it.

    Examples
    --------
    >>> body, buffers = serialise({"a": [1, 2]})
    >>> deserialise(body, buffers)
    {'a': [1, 2]}
    """
    buffers: list[Any] = []

    def keep(buffer: PickleBuffer) -> bool:
        # A true answer leaves the buffer in the pickle.
        with buffer.raw() as view:
            if view.nbytes < IN_BAND_LIMIT:
                return True
        buffers.append(buffer)
        return False

    body = _dump(obj, keep)
    if not body:
        buffers.clear()
        body = _dump_by_value(obj, keep)
    return body, buffers


def deserialise(in_band: Any, buffers: Sequence[Any] = ()) -> Any:
    """Rebuild the value that `serialise` took.

    Parameters
    ----------
    in_band : bytes-like
        The pickle.
    buffers : sequence of bytes-like
        Its buffers, in order. Arrays are built upon them without a copy.
    """
    if in_band[-1:] != preload.STOP:
        preload.preload(in_band)
    try:
        return loads(in_band, buffers=buffers)
    except RecursionError as error:
        from mosaic.serialise.diagnostics import explain_recursion

        explain_recursion(error)
        raise


def dumps(obj: object) -> bytes:
    """Turn any value into one piece of bytes, buffers included."""
    body = _dump(obj, None)
    if not body:
        body = _dump_by_value(obj, None)
    return body
