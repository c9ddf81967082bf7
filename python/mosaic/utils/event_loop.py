"""`EventLoop`: coroutine functions run from anywhere, by the names that old programs use."""

from __future__ import annotations

import asyncio
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any


class EventLoop:
    """Runs coroutine functions on the event loop that was running when this was made, if one was.

    Parameters
    ----------
    loop : AbstractEventLoop, optional
        Another loop to run on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop if loop is not None else _running()

    def get_event_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the loop that this runs on, None if none ran when it was made."""
        return self.loop

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
        running = _running()
        if running is not None:
            return running.create_task(result)
        if self.loop is not None and self.loop.is_running():
            return asyncio.run_coroutine_threadsafe(result, self.loop)
        return asyncio.run(result)

    def run_in_executor(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a plain function on a thread of the loop's that runs here, or on one of its own where none does.

        Returns
        -------
        asyncio.Future or concurrent.futures.Future
            The latter where no loop runs.
        """
        running = _running()
        if running is not None:
            return running.run_in_executor(None, function, *args)
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
        """Run a function once, after that many seconds.

        Returns
        -------
        asyncio.Task or concurrent.futures.Future
            As for `run`; without a running loop a future, and a thread waits. Cancelled, the function does not run.
        """

        async def later() -> Any:
            await asyncio.sleep(timeout)
            return await _called(function, args, kwargs)

        return self._in_background(later)

    def interval(
        self, function: Callable[..., Any], interval: float = 1.0, *args: Any, **kwargs: Any
    ) -> Any:
        """Run a function every so many seconds, until what this returns is cancelled.

        Returns
        -------
        asyncio.Task or concurrent.futures.Future
            As for `timeout`. It ends with the function's failure, if that raises.
        """

        async def again() -> None:
            while True:
                await asyncio.sleep(interval)
                await _called(function, args, kwargs)

        return self._in_background(again)

    def _in_background(self, function: Callable[[], Any]) -> Any:
        if _running() is None and (self.loop is None or not self.loop.is_running()):
            return _on_thread(function)
        return self.run(function)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _on_thread(function: Callable[[], Any]) -> Future[Any]:
    """Run a coroutine function on a loop and a thread of its own, which end with it or when it is cancelled."""
    import threading
    from concurrent.futures import Future

    future: Future[Any] = Future()

    async def supervised() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(function())

        def cancel(ended: Future[Any]) -> None:
            if ended.cancelled():
                # The task may have ended at this moment, and its loop with it.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(task.cancel)

        future.add_done_callback(cancel)
        try:
            value = await task
        except asyncio.CancelledError:
            future.cancel()
        except Exception as error:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(value)

    # A daemon: an interval that nobody cancels does not keep the program from ending.
    threading.Thread(
        target=asyncio.run, args=(supervised(),), name="mosaic-timer", daemon=True
    ).start()
    return future


_HOMES = {
    "Future": "mosaic.utils.future",
    "async_property": "mosaic.utils.properties",
    "gather": "mosaic.core.gather",
}
"""Names that programs of mosaic 1.2 import from here."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


async def _called(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return await result if asyncio.iscoroutine(result) else result
