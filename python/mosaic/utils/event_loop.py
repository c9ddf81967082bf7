"""`EventLoop`: coroutine functions run from anywhere, by the names that old programs use."""

from __future__ import annotations

import asyncio

from mosaic.errors import MosaicError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class EventLoop:
    """Runs coroutine functions on the event loop that was running when this was made, if one was.

    Parameters
    ----------
    loop : AbstractEventLoop, optional
        Another loop to run on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        if loop is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                loop = None
        self.loop = loop

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a coroutine function, or call a plain one.

        Returns
        -------
        asyncio.Task, concurrent.futures.Future or object
            On the loop's own thread the task, from another thread a future, without a running loop the result.
        """
        result = function(*args, **kwargs)
        if not asyncio.iscoroutine(result):
            return result
        try:
            return asyncio.get_running_loop().create_task(result)
        except RuntimeError:
            pass
        if self.loop is not None and self.loop.is_running():
            return asyncio.run_coroutine_threadsafe(result, self.loop)
        return asyncio.run(result)

    def run_in_executor(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a plain function on a thread of the loop's, or on one of its own where no loop runs.

        Returns
        -------
        asyncio.Future or concurrent.futures.Future
        """
        if self.loop is not None:
            return self.loop.run_in_executor(None, function, *args)
        from concurrent.futures import ThreadPoolExecutor

        executor = ThreadPoolExecutor(1, "mosaic-executor")
        try:
            return executor.submit(function, *args)
        finally:
            # The thread ends with what it runs.
            executor.shutdown(wait=False)

    def timeout(
        self, function: Callable[..., Any], timeout: float = 1.0, *args: Any, **kwargs: Any
    ) -> Any:
        """Run a function once, after that many seconds; see `run` for what it gives."""

        async def later() -> Any:
            await asyncio.sleep(timeout)
            return await _called(function, args, kwargs)

        return self.run(later)

    def interval(
        self, function: Callable[..., Any], interval: float = 1.0, *args: Any, **kwargs: Any
    ) -> Any:
        """Run a function every so many seconds, until what this returns is cancelled.

        Raises
        ------
        MosaicError
            No event loop runs here.
        """
        if self.loop is None:
            raise MosaicError("loop.interval() needs a running event loop")

        async def again() -> None:
            while True:
                await asyncio.sleep(interval)
                await _called(function, args, kwargs)

        return self.run(again)


async def _called(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return await result if asyncio.iscoroutine(result) else result
