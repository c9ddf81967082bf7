"""Makes arrays in the store: filled there and passed on, they are not copied.

`empty` gives memory of the store, kept warm. When such an array is passed on whole for the first time, what was
written to it stays in the store, and the array goes its own way: later writes are the program's own, as with any
array. Passed on again unchanged, it is not copied either; changed, it is copied as any other. To pass on many
different contents without a copy, allocate an array for each.
"""

from __future__ import annotations

from mosaic import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    Order = Literal["C", "F"]

THRESHOLD = _core.STORE_THRESHOLD
"""Arrays of fewer bytes are ordinary ones: they travel with the message."""


def empty(
    shape: int | tuple[int, ...], dtype: DTypeLike = float, order: Order = "C"
) -> NDArray[Any]:
    """Return an array in the store, of arbitrary content.

    Parameters
    ----------
    shape : int or tuple of int
        Its shape.
    dtype : data-type, optional
        Its type. Default is float64.
    order : {'C', 'F'}, optional
        How its elements lie in memory.

    Returns
    -------
    ndarray
        Writable. An ordinary array if it is small (`THRESHOLD`), has objects for elements, or no runtime runs here.

    Raises
    ------
    MemoryOverflowError
        The store has no room for it.

    Examples
    --------
    >>> import mosaic
    >>> with mosaic.session(num_workers=1) as runtime:
    ...     field = mosaic.empty((400, 500))
    ...     field[...] = 2.0
    ...     float(runtime.submit(lambda a: a.sum(), field).wait())
    400000.0
    """
    import operator

    import numpy as np

    kind: np.dtype[Any] = np.dtype(dtype)
    whole = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    size = kind.itemsize
    for length in whole:
        size *= operator.index(length)
    if size < THRESHOLD or kind.hasobject or _core.engine() is None:
        return np.empty(whole, kind, order)
    return np.ndarray(whole, kind, memoryview(_core.allocate(size)), order=order)  # type: ignore[arg-type]


def zeros(
    shape: int | tuple[int, ...], dtype: DTypeLike = float, order: Order = "C"
) -> NDArray[Any]:
    """Return an array in the store, full of zeros; see `empty`."""
    array = empty(shape, dtype, order)
    array.fill(0)
    return array


def asarray(
    values: ArrayLike, dtype: DTypeLike | None = None, order: Order | None = None
) -> NDArray[Any]:
    """Return an array in the store with the values of another; see `empty`.

    Parameters
    ----------
    values : array-like
        The values, which are copied.
    dtype : data-type, optional
        Its type. Default is that of the values.
    order : {'C', 'F'}, optional
        How its elements lie in memory. Default is as those of ``values`` do.
    """
    import numpy as np

    given = np.asarray(values, dtype)
    if order is None:
        fortran = given.flags.f_contiguous and not given.flags.c_contiguous
        order = "F" if fortran else "C"
    array: np.ndarray[Any, Any] = empty(given.shape, given.dtype, order)
    array[...] = given
    return array
