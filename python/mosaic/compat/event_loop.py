"""`EventLoop`: functions run on an event loop from anywhere, by the names that programs of mosaic 1.2 use."""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextlib import suppress

from mosaic._facade import lazy_names
from mosaic.compat.future import Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine
    from typing import Any


class EventLoop:
    """Runs functions on the event loop that was running when this was made, if one was.

    Where none was, `get_event_loop` makes one, which is closed when this object goes.

    Parameters
    ----------
    loop : AbstractEventLoop, optional
        Another loop to run on.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None = None, *, shared: EventLoops | None = None
    ) -> None:
        self._given = loop
        running = _running() if loop is None else None
        # A loop that has ended is not kept by those who asked for it once.
        self._running = None if running is None else weakref.ref(running)
        self._shared = shared if shared is not None else EventLoops()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that this runs on; None where none ran when it was made, and none was asked for."""
        if self._given is not None:
            return self._given
        return self._shared.own if self._running is None else self._running()

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that this runs on, whether it runs or not."""
        loop = self.loop
        if loop is None or loop.is_closed():
            loop = _running() or self._shared.make()
        return loop

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a coroutine function or a plain one.

        Returns
        -------
        asyncio.Task, concurrent.futures.Future or object
            On the loop's own thread the task, from another thread a future, without a running loop the result.
        """
        from mosaic.core.methods import is_coroutine_function

        running, elsewhere = _running(), self._elsewhere()
        if running is None and elsewhere is None:
            result = function(*args, **kwargs)
            if not asyncio.iscoroutine(result):
                return result
            loop = self.loop
            if loop is None or loop.is_closed():
                return asyncio.run(result)
            return loop.run_until_complete(result)
        # That the arguments do not fit is said at once.
        called = (
            function(*args, **kwargs)
            if is_coroutine_function(function)
            else _called(function, args, kwargs)
        )
        if elsewhere is not None:
            return asyncio.run_coroutine_threadsafe(called, elsewhere)
        return _create_task(asyncio.get_running_loop(), called)

    def run_in_executor(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a plain function on a thread that runs one such function after the other.

        Returns
        -------
        asyncio.Future or concurrent.futures.Future
            The latter where no loop runs.
        """
        future = self._shared.submit(function, args, kwargs)
        running = _running()
        return future if running is None else asyncio.wrap_future(future, loop=running)

    def wrap_future(self, future: Any) -> asyncio.Future[Any]:
        """Return a future that is awaited on the loop, for one of `concurrent.futures`."""
        return asyncio.wrap_future(future, loop=_running() or self.get_event_loop())

    def timeout(
        self, function: Callable[..., Any], timeout: float = 1.0, *args: Any, **kwargs: Any
    ) -> Future:
        """Run a function once, after that many seconds.

        Returns
        -------
        Future
            One of `concurrent.futures` that can be awaited, too. Cancelled, the function does not run. Without a
            running loop a thread waits.
        """

        async def later() -> Any:
            await asyncio.sleep(timeout)
            return await _called(function, args, kwargs)

        return self._in_background("timeout", later)

    def interval(
        self, function: Callable[..., Any], interval: float = 1.0, *args: Any, **kwargs: Any
    ) -> Future:
        """Run a function every so many seconds, until what this returns is cancelled.

        Returns
        -------
        Future
            As for `timeout`. It ends with the function's failure, if that raises.
        """

        async def again() -> None:
            while True:
                await asyncio.sleep(interval)
                await _called(function, args, kwargs)

        return self._in_background("interval", again)

    def run_forever(self) -> None:
        """Run the loop on this thread until `stop` is called."""
        self.get_event_loop().run_forever()

    def stop(self) -> None:
        """Have the loop stop: now, or when it is run the next time."""
        loop = self.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(loop.stop)

    def set_main_thread(self) -> None:
        """Have the thread of the loop taken for the main one; see `mosaic.utils.set_main_thread`."""
        from mosaic.system.threads import set_main_thread

        elsewhere = self._elsewhere()
        if elsewhere is not None:
            elsewhere.call_soon_threadsafe(set_main_thread)
        else:
            set_main_thread()

    def _elsewhere(self) -> asyncio.AbstractEventLoop | None:
        """Return the loop if it runs on another thread, and none runs on this one."""
        loop = self.loop
        return loop if loop is not None and loop.is_running() and _running() is None else None

    def _in_background(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Future:
        future, running, elsewhere = Future(name), _running(), self._elsewhere()
        if running is not None:
            task = _create_task(running, _supervised(future, work))
            # One that is cancelled before its first step runs nothing.
            task.add_done_callback(lambda _: future.cancel())
        elif elsewhere is not None:
            began = asyncio.run_coroutine_threadsafe(_supervised(future, work), elsewhere)
            began.add_done_callback(lambda _: future.cancel())
        else:
            # A daemon: an interval that is never cancelled does not keep the program from ending.
            threading.Thread(
                target=asyncio.run,
                args=(_supervised(future, work),),
                name="mosaic-timer",
                daemon=True,
            ).start()
        return future


class EventLoops:
    """What the event loops of one runtime share: a thread for plain functions, and a loop where none runs.

    Used from any thread. Both are made when they are needed, and end with `close` or with this object.

    Parameters
    ----------
    given : AbstractEventLoop, optional
        The loop that the program wants to be used where none runs.
    """

    def __init__(self, given: asyncio.AbstractEventLoop | None = None) -> None:
        self._lock = threading.Lock()
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._closing: weakref.finalize[..., Any] | None = None
        self._given = given
        self._idle: EventLoop | None = None
        self._last: EventLoop | None = None
        self.own: asyncio.AbstractEventLoop | None = None

    def get(self) -> EventLoop:
        """Return the event loop that runs on this thread, or the one for threads on which none does."""
        running, last = _running(), self._last
        if running is None:
            if self._idle is None:
                self._idle = EventLoop(self._given, shared=self)
            return self._idle
        if last is None or last.loop is not running:
            last = self._last = EventLoop(shared=self)
        return last

    def submit(
        self, function: Callable[..., Any], args: Any, kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        """Run a function on the thread for plain functions, after those before it."""
        with self._lock:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(1, "mosaic-executor")
            return self._pool.submit(function, *args, **kwargs)

    def make(self) -> asyncio.AbstractEventLoop:
        """Return the loop for threads on which none runs; make it if there is none."""
        with self._lock:
            loop = self.own
            if loop is None or loop.is_closed():
                loop = self.own = asyncio.new_event_loop()
                self._closing = weakref.finalize(self, _close, loop)
            return loop

    def close(self) -> None:
        """End the thread after what it runs, and close the loop unless it runs."""
        with self._lock:
            pool, self._pool = self._pool, None
            closing, self._closing, self.own = self._closing, None, None
        if pool is not None:
            pool.shutdown(wait=False)
        if closing is not None:
            closing()


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop as `asyncio.run` does, unless it runs."""
    if loop.is_running() or loop.is_closed():
        return
    if _running() is None:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


_tasks: set[asyncio.Task[Any]] = set()
"""Tasks that run: a loop alone would not keep them."""


def _create_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]
) -> asyncio.Task[Any]:
    task = loop.create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _supervised(future: Future, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Run a coroutine function until a future is cancelled, and have the future end as it does."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work())

    def cancel(ended: concurrent.futures.Future[Any]) -> None:
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


_HOMES = {
    "Future": "mosaic.compat.future",
    "async_property": "mosaic.compat.properties",
    "gather": "mosaic.core.gather",
}
"""Names that programs of mosaic 1.2 import from here."""

__getattr__ = lazy_names(__name__, _HOMES)


async def _called(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return await result if asyncio.iscoroutine(result) else result
