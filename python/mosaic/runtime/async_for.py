"""`Runtime.async_for`: a coroutine for every item, each with a worker of its own.

Owned by one event loop and run on its thread alone. Invariants:

- LOOP-1: a worker has at most one item of a loop at a time.
- LOOP-2: an item is given out again only after its worker died or was of no use, or by ``retries``.
- LOOP-3: a worker on which an array that the function uses has no element gets no more items: one that replaced
  another is of no use to such a loop.
- LOOP-4: every wait ends: with a worker that becomes free or joins, with the word that none will join any more, with
  the end of the network, or with the time limit.
"""

from __future__ import annotations

import asyncio
from collections import deque

from mosaic.core.array import NoElementError
from mosaic.errors import RuntimeDisconnectedError
from mosaic.runtime import deaths
from mosaic.runtime.notices import Membership
from mosaic.runtime.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
    from typing import Any

    from mosaic.core.runtime_proxy import RuntimeProxy
    from mosaic.runtime.runtime import Runtime


class Settings:
    """The options of a loop; see `Runtime.async_for`."""

    __slots__ = ("max_await", "max_deaths", "ordered", "progress", "retries", "safe", "timeout")

    def __init__(
        self,
        *,
        safe: bool,
        timeout: float | None,
        max_await: int | None,
        ordered: bool,
        progress: bool,
        retries: int,
        max_deaths: int,
    ) -> None:
        if max_await is not None and max_await < 0:
            raise ValueError(f"max_await must not be negative, but is {max_await}")
        if max_deaths < 1:
            raise ValueError(f"max_deaths must be at least 1, but is {max_deaths}")
        self.safe = safe
        self.timeout = timeout
        self.max_await = max_await
        self.ordered = ordered
        self.progress = progress
        self.retries = retries
        self.max_deaths = max_deaths


class Item:
    """One item: its place, its values, and what has happened to it."""

    __slots__ = ("deaths", "failures", "index", "values")

    def __init__(self, index: int, values: tuple[Any, ...]) -> None:
        self.index = index
        self.values = values
        self.deaths = 0
        self.failures = 0

    def __str__(self) -> str:
        values = ", ".join(deaths.short(value) for value in self.values)
        return f"item {self.index} ({values})"


class Loop:
    """What the decorated name is: awaited it runs the loop and gives the results; after an error it runs again.

    Parameters
    ----------
    runtime : Runtime
        Whose workers are used.
    function : coroutine function
        Called with a worker and the values of an item.
    iterables : tuple of iterable
        The items.
    settings : Settings
        The options.
    """

    def __init__(
        self,
        runtime: Runtime,
        function: Callable[..., Awaitable[Any]],
        iterables: tuple[Iterable[Any], ...],
        settings: Settings,
    ) -> None:
        self._runtime = runtime
        self._function = function
        # Iterators would be empty the second time.
        self._iterables = tuple(
            list(one) if iter(one) is one and settings.max_await is None else one
            for one in iterables
        )
        self._settings = settings
        self._results: list[Any] | None = None
        self.__name__ = getattr(function, "__name__", "loop")
        self.__doc__ = function.__doc__

    def __await__(self) -> Generator[Any, None, list[Any]]:
        return self._await().__await__()

    async def _await(self) -> list[Any]:
        if self._results is None:
            self._results = await _Run(
                self._runtime, self._function, zip(*self._iterables, strict=False), self._settings
            ).run()
        return self._results

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Call the function itself."""
        return self._function(*args, **kwargs)


class _Run:
    """One run of a loop."""

    def __init__(
        self,
        runtime: Runtime,
        function: Callable[..., Awaitable[Any]],
        items: Iterator[tuple[Any, ...]],
        settings: Settings,
    ) -> None:
        self._runtime = runtime
        self._function = function
        self._items = enumerate(items)
        self._settings = settings
        self._again: deque[Item] = deque()
        self._ended: deque[asyncio.Task[Any]] = deque()
        self._busy: dict[asyncio.Task[Any], tuple[RuntimeProxy, Item]] = {}
        self._results: list[tuple[int, Any]] = []
        self._unfit: dict[str, BaseException] = {}
        self._fatal: list[BaseException] = []
        self._exhausted = False

    async def run(self) -> list[Any]:
        settings = self._settings
        with (
            Membership(self._runtime.engine) as membership,
            Progress(settings.progress) as self._progress,
        ):
            limit = asyncio.timeout(settings.timeout)
            try:
                async with limit:
                    await self._loop(membership)
                    if self._fatal:
                        self._raise_fatal()
                    if not _inside_call(self._runtime):
                        await self._runtime.barrier()
            except TimeoutError:
                if limit.expired():
                    count = len(self._results)
                    raise TimeoutError(
                        f"the loop has not ended within {settings.timeout} s: {count} items were done"
                    ) from None
                raise
            finally:
                await self._cancel()
        if settings.ordered:
            self._results.sort(key=lambda result: result[0])
        return [value for _, value in self._results]

    def _raise_fatal(self) -> None:
        if len(self._fatal) == 1:
            raise self._fatal[0]
        raise RuntimeDisconnectedError(
            "; ".join(str(error) for error in self._fatal)
        ) from self._fatal[0]

    def _enough(self) -> bool:
        wanted = self._settings.max_await
        return wanted is not None and len(self._results) >= wanted

    async def _loop(self, membership: Membership) -> None:
        while not self._enough():
            self._give_out(membership)
            if self._busy:
                await membership.changed()
            elif self._exhausted and not self._again:
                return
            elif (unfit := self._all_unfit(membership)) is not None:
                raise unfit
            else:
                await membership.joined(f"{len(self._again)} items or more were not run")
            self._take_in()

    def _give_out(self, membership: Membership) -> None:
        """Start items on the workers that are free."""
        taken = {worker.uid for worker, _ in self._busy.values()}
        for worker in self._runtime.workers:
            uid = worker.uid
            if uid in taken or uid in membership.dead or uid in self._unfit:
                continue
            item = self._next()
            if item is None:
                return
            task = asyncio.ensure_future(_call(self._function, worker, item.values))
            self._busy[task] = (worker, item)
            task.add_done_callback(self._ended.append)
            task.add_done_callback(lambda _: membership.wake())

    def _all_unfit(self, membership: Membership) -> BaseException | None:
        """Return why the last worker is of no use, where all that are left are of none."""
        living = [worker.uid for worker in self._runtime.workers]
        left = [uid for uid in living if uid not in membership.dead]
        return self._unfit.get(left[-1]) if left and self._unfit.keys() >= set(left) else None

    def _next(self) -> Item | None:
        if self._again:
            return self._again.popleft()
        if not self._exhausted:
            for index, values in self._items:
                return Item(index, values)
            self._exhausted = True
        return None

    def _take_in(self) -> None:
        """Settle the items that have ended."""
        while self._ended:
            task = self._ended.popleft()
            worker, item = self._busy.pop(task)
            if task.cancelled():
                raise asyncio.CancelledError(f"{item} was cancelled")
            error = task.exception()
            if error is None:
                if not self._enough():
                    self._results.append((item.index, task.result()))
                    self._progress.add(1)
            elif self._settings.safe and isinstance(error, NoElementError):
                self._unfit[worker.uid] = error
                self._again.appendleft(item)
            elif self._settings.safe and is_lost(error, worker):
                item.deaths += 1
                if item.deaths >= self._settings.max_deaths:
                    self._fatal.append(deaths.fatal(str(item), item.deaths, error))
                else:
                    self._again.append(item)
            elif item.failures < self._settings.retries and isinstance(error, Exception):
                item.failures += 1
                self._runtime.logger.warning(
                    "%s raised %r: retry %d of %d",
                    item,
                    error,
                    item.failures,
                    self._settings.retries,
                )
                self._again.append(item)
            else:
                raise error

    async def _cancel(self) -> None:
        for task in self._busy:
            task.cancel()
        if self._busy:
            await asyncio.gather(*self._busy, return_exceptions=True)
        self._busy.clear()


def is_lost(error: BaseException, worker: RuntimeProxy) -> bool:
    """Tell whether an item failed because its worker died."""
    return deaths.is_death_of(error, worker.uid)


async def _call(
    function: Callable[..., Awaitable[Any]], worker: RuntimeProxy, values: tuple[Any, ...]
) -> Any:
    result = function(worker, *values)
    return await result if hasattr(type(result), "__await__") else result


def _inside_call(runtime: Runtime) -> bool:
    """Tell whether a tessera's call runs this loop: a barrier would wait for that very call."""
    return runtime.engine.call_is_running() is not None
