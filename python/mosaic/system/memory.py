"""Memory of this process and its limit, and the sum of the sizes of a value's parts, in bytes."""

from __future__ import annotations

import errno
import math
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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
