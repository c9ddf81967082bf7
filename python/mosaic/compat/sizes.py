"""`sizeof` and `remote_sizeof`: the bytes that values take, here and elsewhere."""

from __future__ import annotations

import sys

from mosaic.compat.bases import Base
from mosaic.system.memory import total_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any


def sizeof(obj: object, pending: bool = False) -> int:
    """Return about how many bytes a value takes, with all that it holds; shared parts count once.

    Parameters
    ----------
    obj : object
        A value. An array counts its ``nbytes``; functions, classes and modules count nothing, since they are shared.
    pending : bool
        Accepted for programs of mosaic 1.2: what proxies stand for is elsewhere, and counts for `remote_sizeof`.

    Examples
    --------
    >>> part = [0] * 1000
    >>> sizeof([part, part]) < 1.1 * sizeof([part])
    True
    """

    def measure(one: object) -> tuple[int, bool]:
        # What proxies stand for is elsewhere.
        return (0, True) if isinstance(one, (*_shared, Base)) else _own_size(one)

    return total_size(obj, measure)


_shared = (type, type(sys), type(lambda: None), type(len))


def _own_size(one: Any) -> tuple[int, bool]:
    """Return the size of an object without its parts, or of the whole where it tells that."""
    try:
        size = sys.getsizeof(one, 0)
        nbytes = one.nbytes if hasattr(type(one), "nbytes") else None
    except Exception:
        # Whatever the class does in there.
        return 0, False
    if isinstance(nbytes, int):
        holds_objects = getattr(getattr(one, "dtype", None), "hasobject", False)
        is_array = hasattr(type(one), "dtype") and hasattr(type(one), "shape")
        return nbytes if is_array else max(size, nbytes), not holds_objects
    return size, isinstance(one, (str, bytes, bytearray, int, float, complex, range))


class RemoteSize(int):
    """A number of bytes, as far as it is known; awaited, it is known."""

    _waiting: tuple[Any, ...] = ()

    def __await__(self) -> Generator[Any, None, int]:
        known = int(self)
        for one in self._waiting:
            known += yield from one.size().__await__()
        return known


def remote_sizeof(obj: object, pending: bool = False) -> RemoteSize:
    """Return how many bytes a value takes where it lies: of tasks, outputs and references the encoded value.

    Parameters
    ----------
    obj : object
        A task (an output stands for its whole result), a reference to a stored value, or anything else; lists,
        tuples, sets and dictionaries of these.
    pending : bool
        Accepted for programs of mosaic 1.2: awaited, the size counts what is still being made in any case.

    Returns
    -------
    int
        What is known at once; values that are still being made count nothing. Awaited, it waits for those.

    Examples
    --------
    ``nbytes = await remote_sizeof([task, reference])``
    """
    from mosaic.compat.kinds import awaitable_types
    from mosaic.core.output import TaskDone, TaskOutput
    from mosaic.core.task import TaskArrayProxy

    known, waiting = 0, []
    left: list[Any] = [obj]
    while left:
        one = left.pop()
        if isinstance(one, TaskDone):
            continue
        if isinstance(one, TaskOutput):
            # Its value comes with the whole result.
            one = one.task
        if isinstance(one, TaskArrayProxy):
            left += (one[index] for index in range(len(one)))
        elif isinstance(one, awaitable_types):
            if one.nbytes is None:
                waiting.append(one)
            else:
                known += one.nbytes
        elif isinstance(one, (list, tuple, set, frozenset)):
            left += one
        elif isinstance(one, dict):
            left += one.values()
        else:
            known += sizeof(one)
    size = RemoteSize(known)
    size._waiting = tuple(waiting)
    return size
