"""`EventLoop`: coroutine functions run from anywhere, by the names that old programs use."""

from __future__ import annotations

import asyncio

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
        """Run a plain function on a thread of the loop's."""
        loop = self.loop if self.loop is not None else asyncio.get_running_loop()
        return loop.run_in_executor(None, function, *args)
