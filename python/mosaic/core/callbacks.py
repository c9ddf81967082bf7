"""Calls functions at the end of tasks: on the event loop where one runs, else on the thread that reads notices.

`add` is what `asyncio.wait` and its like call; an event loop gets one future a callback. Without a loop the
engine sends a ``done`` notice with a token, which `fire` answers.
"""

from __future__ import annotations

from mosaic.core import network
from mosaic.core.services import services

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from mosaic._core import Subscription
    from mosaic.core.task import TaskProxy

    Registered: TypeAlias = list[tuple[Callable[[Any], object], Any]]

_tokens: dict[int, tuple[TaskProxy, Callable[[Any], object], object, Any]] = {}
_count = 0


def add(
    task: TaskProxy,
    registered: Registered,
    function: Callable[[Any], object],
    future: object,
    context: Any = None,
) -> None:
    """Have a function called with a future that stands for the task, once the task has ended."""
    if network.on_event_loop():
        import asyncio

        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(_: object) -> None:
            _discard(registered, end)
            if not end.cancelled():
                function(future)

        if context is None:
            end.add_done_callback(ended)
        else:
            end.add_done_callback(ended, context=context)
        registered.append((function, _OnLoop(end, task.subscribe(end))))
    elif task.ended:
        call_soon(function, future, context)
    else:
        _add_notice(task, registered, function, future, context)


def call_soon(function: Callable[[Any], object], future: object, context: Any = None) -> None:
    """Have a function called with a future that is done: by the running loop, or here without one."""
    if network.on_event_loop():
        import asyncio

        asyncio.get_running_loop().call_soon(function, future, context=context)
    elif context is None:
        function(future)
    else:
        context.run(function, future)


def _add_notice(
    task: TaskProxy,
    registered: Registered,
    function: Callable[[Any], object],
    future: object,
    context: Any,
) -> None:
    global _count
    services().watch_notices()
    _count += 1
    token = _count
    _tokens[token] = (task, function, future, context)
    registered.append((function, token))
    task.subscribe_notice(token)


def remove(registered: Registered, function: Callable[[Any], object]) -> int:
    """Take back every registration of a function; return how many there were."""
    found = [entry for entry in registered if entry[0] == function]
    for entry in found:
        registered.remove(entry)
        if isinstance(entry[1], int):
            waiting = _tokens.pop(entry[1], None)
            if waiting is not None:
                waiting[0].unsubscribe_notice(entry[1])
        else:
            entry[1].cancel()
    return len(found)


def fire(token: int) -> None:
    """Call what was registered under a token, on this thread."""
    found = _tokens.pop(token, None)
    if found is not None:
        _, function, future, context = found
        call_soon(function, future, context)


class _OnLoop:
    """A callback that an event loop will call."""

    __slots__ = ("_subscription", "future")

    def __init__(self, future: asyncio.Future[None], subscription: Subscription) -> None:
        self.future = future
        self._subscription = subscription

    def cancel(self) -> None:
        self._subscription.cancel()
        self.future.cancel()


def _discard(registered: Registered, future: object) -> None:
    for position, entry in enumerate(registered):
        if getattr(entry[1], "future", None) is future:
            del registered[position]
            return
