"""The bytes that the live values of this process take.

The owner of a value reports it here when it is stored and after each change. `MemoryAccount` calls ``on_change`` with
each change of the total, on the thread that made the change: the main thread or the event loop's. The lock is
reentrant, since the garbage collector may free a value while the lock is held.

The total counts against the memory quota of the node's stores. Arrays that map a buffer of a store count there, and
not here.
"""

from __future__ import annotations

import sys
from _thread import RLock

from mosaic import _core
from mosaic.core.names import ProcessNames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

MAX_OBJECTS = 512
"""The most objects that are measured of one value; further ones count as nothing."""

_function_type = type(lambda: None)
_whole = (
    str,
    bytes,
    bytearray,
    int,
    float,
    complex,
    type,
    _function_type,
    type(sys),
    ProcessNames,
    _core.Output,
)
"""Types whose objects are measured without their parts. The remote object of a proxy is not here."""


class MemoryAccount:
    """Sizes by value, and their sum."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._sizes: dict[Hashable, int] = {}
        self.total = 0
        self.on_change: Callable[[int], object] | None = None

    def keep(self, key: Hashable, value: object) -> int:
        """Measure a value that is kept, or has changed; return its size in bytes."""
        size = measure(value)
        self._set(key, size)
        return size

    def forget(self, key: Hashable) -> None:
        """Note that a value is not kept any more."""
        self._set(key, None)

    def size(self, key: Hashable) -> int:
        """Return the size in bytes of a value when it was measured last."""
        return self._sizes.get(key, 0)

    def __len__(self) -> int:
        return len(self._sizes)

    def _set(self, key: Hashable, size: int | None) -> None:
        with self._lock:
            change = (size or 0) - self._sizes.pop(key, 0)
            if size is not None:
                self._sizes[key] = size
            self.total += change
        if change and self.on_change is not None:
            self.on_change(change)


def _report(change: int) -> None:
    engine = _core.engine()
    # Without an engine there is no quota to report to.
    if engine is not None and not engine.stopped:
        engine.account(change)


account = MemoryAccount()
"""The account of this process."""
account.on_change = _report


def measure(value: object) -> int:
    """Return about how many bytes a value takes: the data of its arrays, and the rest as far as it is small.

    Parameters
    ----------
    value : object
        What to measure, with what it holds; shared parts count once.
    """
    from mosaic.system.memory import total_size

    return total_size(value, lambda one: (_own_size(one), isinstance(one, _whole)), MAX_OBJECTS)


def _own_size(one: Any) -> int:
    try:
        size = sys.getsizeof(one, 0)
        nbytes = one.nbytes if hasattr(type(one), "nbytes") else 0
    except Exception:
        # A method of the user's class failed.
        return 0
    if _shows_store(one):
        return size
    # An array that owns its data reports its bytes in both.
    return max(size, nbytes) if isinstance(nbytes, int) else size


def _shows_store(one: Any) -> bool:
    """Return whether an array's data lie in a buffer of a store."""
    for _ in range(4):
        # A view of a view of a memory view of it.
        one = getattr(one, "base", None) if not isinstance(one, memoryview) else one.obj
        if one is None:
            return False
        if isinstance(one, _core.Segment):
            return True
    return False
