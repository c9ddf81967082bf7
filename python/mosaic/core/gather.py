"""`mosaic.gather`: waits for many tasks at the cost of one."""

from __future__ import annotations

from _collections_abc import Iterator, Sequence, Set, ValuesView

from mosaic import _core
from mosaic.core.output import TaskDone, TaskOutput
from mosaic.core.task import TaskArrayProxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any


class GatherProxy:
    """What `gather` returns: awaited it gives the list of tasks, `result` the list of values.

    Parameters
    ----------
    items : list
        Tasks, anything else that can be awaited, and values, which are given as they are.
    return_exceptions : bool
        Exceptions take the place of what failed, as in `asyncio.gather`.
    """

    __slots__ = ("_exceptions", "_items", "_plain")

    def __init__(self, items: list[Any], return_exceptions: bool) -> None:
        self._items = items
        self._exceptions = return_exceptions
        # By its type: a task made by hand only says that it is one.
        self._plain = not return_exceptions and all(
            issubclass(type(item), _core.Task) for item in items
        )

    def __await__(self) -> Generator[Any, None, Any]:
        if self._plain:
            return _core.Gather(self._items, False).__await__()
        return self._collect(False).__await__()

    async def result(self) -> Any:
        """Wait for all, and return the list of their values."""
        if self._plain:
            return await _core.Gather(self._items, True)
        return await self._collect(True)

    def wait(self, timeout: float | None = None) -> Any:
        """Block until all values are here, and return them.

        Parameters
        ----------
        timeout : float, optional
            Seconds for all together.

        Raises
        ------
        TimeoutError
            The time has passed; the tasks go on.
        """
        if self._plain:
            return _core.Gather(self._items, True).wait(timeout)
        return self._wait_each(timeout)

    def _wait_each(self, timeout: float | None) -> list[Any]:
        from time import monotonic

        end = None if timeout is None else monotonic() + timeout
        values: list[Any] = []
        for item in self._items:
            if not _can_be_awaited(item):
                values.append(item)
                continue
            if not hasattr(item, "wait"):
                raise TypeError(f"{item!r} cannot be waited for in synchronous code")
            try:
                values.append(item.wait(None if end is None else max(0.0, end - monotonic())))
            except Exception as error:
                if not self._exceptions or (
                    isinstance(error, TimeoutError) and end is not None and monotonic() >= end
                ):
                    raise
                values.append(error)
        return values

    async def _collect(self, values: bool) -> list[Any]:
        import asyncio

        if not self._exceptions:
            return list(await asyncio.gather(*(_one(item, values) for item in self._items)))
        # What fails late must not end the wait for the others, and CancelledError of a task is a result here.
        waiting = [asyncio.ensure_future(_one(item, values)) for item in self._items]
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    def __len__(self) -> int:
        return len(self._items)


class GatherOne(GatherProxy):
    """What `gather` returns of one thing that is no list: awaited it gives the task, or the value as it is.

    Parameters
    ----------
    item : object
        A task, anything else that can be awaited, or a value.
    return_exceptions : bool
        An exception takes the place of what failed.
    """

    __slots__ = ()

    def __init__(self, item: Any, return_exceptions: bool) -> None:
        super().__init__([item], return_exceptions)

    def __await__(self) -> Generator[Any, None, Any]:
        (one,) = yield from super().__await__()
        return one

    async def result(self) -> Any:
        """Wait for it, and return its value."""
        (value,) = await super().result()
        return value

    def wait(self, timeout: float | None = None) -> Any:
        """Block until its value is here, and return it; see `GatherProxy.wait`."""
        (value,) = super().wait(timeout)
        return value

    __len__ = None  # type: ignore[assignment]


_FLAT = (str, bytes, bytearray, memoryview, range)
"""Sequences in which there is nothing to wait for."""


def _can_be_awaited(item: Any) -> bool:
    return hasattr(type(item), "__await__")


async def _one(item: Any, values: bool) -> Any:
    if values and isinstance(item, (_core.Task, TaskOutput, TaskDone, TaskArrayProxy, GatherProxy)):
        return await item.result()
    return await item if _can_be_awaited(item) else item


def gather(*tasks: Any, return_exceptions: bool = False) -> GatherProxy:
    """Wait for many tasks together.

    Parameters
    ----------
    *tasks : TaskProxy, awaitable, or one iterable of them
        What to wait for. Values that cannot be awaited are given as they are.
    return_exceptions : bool
        Give exceptions in place of what failed, instead of raising the first.

    Returns
    -------
    GatherProxy
        ``await`` gives what `asyncio.gather` would (tasks for tasks), ``await ….result()`` the values,
        ``….wait(timeout)`` the values in synchronous code. Of one argument that is no iterable of tasks it is the
        task itself, its value, or the argument as it is.

    Examples
    --------
    ``values = await mosaic.gather(solver.run(shot) for shot in shots).result()``
    """
    if len(tasks) != 1:
        return GatherProxy(list(tasks), return_exceptions)
    (only,) = tasks
    if isinstance(only, list):
        return GatherProxy(list(only), return_exceptions)
    if not _can_be_awaited(only):
        # Iterating takes nothing away from these.
        if isinstance(only, (Sequence, Set, ValuesView)) and not isinstance(only, _FLAT):
            items = list(only)
            if any(_can_be_awaited(item) for item in items):
                return GatherProxy(items, return_exceptions)
        elif isinstance(only, Iterator):
            return GatherProxy(list(only), return_exceptions)
    return GatherOne(only, return_exceptions)
