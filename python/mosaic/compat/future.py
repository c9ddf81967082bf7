"""`Future`: set from any thread, awaited on any event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future as _Future
from itertools import count

from mosaic.core import network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any


_numbers = count(1)


class Future(_Future["Any"]):
    """A `concurrent.futures.Future` that can be awaited too.

    In new programs `asyncio.Future` does this on one loop, and tasks need neither.

    Parameters
    ----------
    name : str
        For display; part of its ``uid``, which no other future of this process has.
    loop : object, optional
        Accepted and not needed: an ``await`` uses the loop that runs there.

    Examples
    --------
    >>> import asyncio, threading
    >>> async def main():
    ...     future = Future()
    ...     threading.Timer(0.01, future.set_result, [3]).start()
    ...     return await future
    >>> asyncio.run(main())
    3
    """

    def __init__(self, name: str = "anon", loop: object = None) -> None:
        super().__init__()
        self.name = name
        self.uid = f"fut-{name}-{next(_numbers):x}"

    @property
    def state(self) -> str:
        """``pending``, ``done``, ``failed`` or ``cancelled``."""
        if not self.done():
            return "pending"
        if self.cancelled():
            return "cancelled"
        return "done" if super().exception() is None else "failed"

    @property
    def future(self) -> Future:
        """The future itself, which programs of mosaic 1.2 ask for by that name."""
        return self

    def result(self, timeout: float | None = None) -> Any:
        """Return the value, or raise the exception; block until it is there.

        Raises
        ------
        asyncio.InvalidStateError
            It is not there, and an event loop runs on this thread, which must not be blocked.
        TimeoutError
            That many seconds have passed.
        """
        self._check()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception, None for a value; otherwise as `result`."""
        self._check()
        return super().exception(timeout)

    def _check(self) -> None:
        if not self.done() and network.on_event_loop():
            raise asyncio.InvalidStateError(
                f"the future {self.name!r} is not done: await it, blocking would stop the event loop of this thread"
            )

    def __await__(self) -> Generator[Any, None, Any]:
        # A waiter that is cancelled leaves the future as it is, for others.
        return asyncio.shield(asyncio.wrap_future(self)).__await__()
