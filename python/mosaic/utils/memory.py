"""How much memory this process has and may have, and how much values take, in bytes."""

from __future__ import annotations

import errno
import math
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any


def memory_limit() -> int:
    """Return the memory in bytes that this process may use: the machine's, or less by its control groups."""
    from mosaic import _core

    available = _core.available_memory()
    if available is not None:
        return available
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_used(pid: int | None = None) -> int:
    """Return the resident memory of a process in bytes.

    Parameters
    ----------
    pid : int, optional
        Which process; default is this one.

    Raises
    ------
    ProcessLookupError
        There is none of that number.
    """
    try:
        with open(f"/proc/{'self' if pid is None else int(pid)}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError as error:
        if pid is not None and pid != os.getpid():
            raise ProcessLookupError(errno.ESRCH, f"there is no process {pid}") from error
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def sizeof(obj: object, pending: bool = False) -> int:
    """Return about how many bytes a value takes, with all that it holds; shared parts count once.

    Parameters
    ----------
    obj : object
        A value. An array counts its ``nbytes``; functions, classes and modules are nobody's in particular.
    pending : bool
        Accepted for programs of mosaic 1.2: what proxies stand for is elsewhere, and counts for `remote_sizeof`.

    Examples
    --------
    >>> part = [0] * 1000
    >>> sizeof([part, part]) < 1.1 * sizeof([part])
    True
    """
    from mosaic.core.base import Base

    def measure(one: object) -> tuple[int, bool]:
        # What proxies stand for is elsewhere.
        return (0, True) if isinstance(one, (*_nobodys, Base)) else _own_size(one)

    return total_size(obj, measure)


def total_size(
    obj: object, measure: Callable[[Any], tuple[int, bool]], limit: float = math.inf
) -> int:
    """Add up what a value holds.

    Parameters
    ----------
    obj : object
        The value.
    measure : callable
        Returns the bytes of one object, and whether these are all: else its parts are looked at too.
    limit : float
        How many objects are looked at.

    Returns
    -------
    int
        Bytes; shared parts count once.
    """
    seen: set[int] = set()
    waiting = [obj]
    total = 0
    while waiting and len(seen) < limit:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        own, is_whole = measure(one)
        total += own
        if not is_whole:
            waiting += _parts_of(one)
    return total


_nobodys = (type, type(sys), type(lambda: None), type(len))


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


def _parts_of(one: Any) -> list[Any]:
    """Return what an object holds: its items, its attributes."""
    if isinstance(one, dict):
        return [*one.keys(), *one.values()]
    if isinstance(one, (list, tuple, set, frozenset)):
        return list(one)
    if getattr(getattr(one, "dtype", None), "hasobject", False) and hasattr(one, "ravel"):
        return list(one.ravel())
    parts: list[Any] = list(vars(one).values()) if hasattr(one, "__dict__") else []
    for base in type(one).__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            try:
                parts.append(getattr(one, name))
            except AttributeError:
                continue
    return parts


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
