"""Callbacks at the end of tasks: on the event loop where one runs, else on the thread that reads notices.

`add` is what `asyncio.wait` and its like call; an event loop gets one future a callback. Without a loop the
engine sends a ``done`` notice with a token, which `fire` answers.
"""

from __future__ import annotations

from mosaic.core import network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from mosaic.core.task import TaskProxy

    Registered: TypeAlias = list[tuple[Callable[[Any], object], Any]]

_tokens: dict[int, tuple[Any, Any, Any]] = {}
_count = 0

watch_notices: Callable[[], None] | None = None
"""Set by `mosaic.runtime.notices`: makes sure that a thread reads notices."""


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

        registered.append((function, end))
        if context is None:
            end.add_done_callback(ended)
        else:
            end.add_done_callback(ended, context=context)
        task.subscribe(end)
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
    if watch_notices is None:
        import mosaic.runtime.notices  # noqa: F401 - sets `watch_notices`
    if watch_notices is not None:
        watch_notices()
    _count += 1
    token = _count
    _tokens[token] = (function, future, context)
    registered.append((function, token))
    task.subscribe_notice(token)


def remove(registered: Registered, function: Callable[[Any], object]) -> int:
    """Take back every registration of a function; return how many there were."""
    found = [entry for entry in registered if entry[0] == function]
    for entry in found:
        registered.remove(entry)
        if isinstance(entry[1], int):
            _tokens.pop(entry[1], None)
        else:
            entry[1].cancel()
    return len(found)


def fire(token: int) -> None:
    """Call what was registered under a token, on this thread."""
    found = _tokens.pop(token, None)
    if found is not None:
        call_soon(*found)


def _discard(registered: Registered, handle: object) -> None:
    for position, entry in enumerate(registered):
        if entry[1] is handle:
            del registered[position]
            return
