"""The entry points of programs: `run`, `init`, `stop`, `session`, `interactive`, `runtime`, `clear_runtime`."""

from __future__ import annotations

from contextvars import copy_context

from mosaic import log
from mosaic.core import network
from mosaic.core.methods import is_coroutine_function
from mosaic.errors import MosaicError
from mosaic.notebook import display
from mosaic.runtime import head
from mosaic.runtime.current import current, set_current

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

    from mosaic.runtime.roles import Head
    from mosaic.runtime.runtime import Runtime


def init(*args: Any, **options: Any) -> Runtime:
    """Start the runtime; for synchronous scripts too, where tasks are waited for with ``task.wait()``.

    Where a runtime runs already, it is returned, if it is as the options ask.

    Parameters
    ----------
    *args
        Options by position, as programs of mosaic 1.2 give them: ``init("head")``.
    **options
        See `mosaic.runtime.head.start`: ``num_workers``, ``num_threads``, ``monitor_strategy``, ``log_level``, ….
        ``asyncio_loop`` is the event loop that `Runtime.get_event_loop` gives where none runs.

    Returns
    -------
    Runtime

    Raises
    ------
    MosaicError
        A runtime runs here already, started with other options.
    TypeError
        There is no such option.
    """
    if len(args) > len(head.POSITIONS):
        raise TypeError(f"mosaic.init takes at most {len(head.POSITIONS)} options by position")
    for name, value in zip(head.POSITIONS, args, strict=False):
        if name in options:
            raise TypeError(f"mosaic.init got {name} twice: by position and as a keyword")
        options[name] = value
    running = current()
    if running is not None:
        head.refuse_unknown(options)
        _check_agreement(running, options, "mosaic.stop()")
        return running
    return _start(options)


def _start(options: dict[str, Any]) -> Head:
    """Start the runtime, and remember what was asked for; None is as good as nothing."""
    global _asked
    options = {name: value for name, value in options.items() if value is not None}
    loop = options.pop("asyncio_loop", None)
    started = head.start(**options)
    started.use_event_loop(loop)
    _asked = started, options
    return started


def stop(*_: object, **__: object) -> None:
    """Stop the runtime; every process, thread and file of it is gone when this returns. Without one nothing happens."""
    head.stop()


def runtime() -> Runtime | None:
    """Return the runtime of this process, None if there is none."""
    return current()


def clear_runtime() -> None:
    """Stop and forget the runtime of this process, if there is one."""
    head.stop()
    set_current(None)


def run(
    main: Callable[[Runtime], Any],
    *args: Any,
    asyncio_loop: asyncio.AbstractEventLoop | None = None,
    **options: Any,
) -> Any:
    """Start the runtime, run ``await main(runtime)``, stop everything, return main's value.

    Parameters
    ----------
    main : callable
        A coroutine function, or a plain one, which uses ``task.wait()``; takes the runtime.
    *args
        Further arguments of main. Programs of mosaic 1.2 give the type of the runtime here, ``"head"``: a main that
        takes one argument does not get it.
    asyncio_loop : AbstractEventLoop, optional
        The loop to run on; it is left open. Default is a new one.
    **options
        See `init`.

    Returns
    -------
    object
        What main returned.

    Raises
    ------
    MosaicError
        A runtime, or an event loop, runs here already.

    Examples
    --------
    >>> import mosaic
    >>> async def main(runtime):
    ...     return await runtime.map(abs, [-1, -2, 3])
    >>> mosaic.run(main, num_workers=1)
    [1, 2, 3]
    """
    if network.on_event_loop():
        raise MosaicError(
            "mosaic.run() starts an event loop, but one runs already: use 'await mosaic.interactive(\"on\")'"
        )
    if args == ("head",) and _takes_one_argument(main):
        args = ()
    started = _start({**options, "asyncio_loop": asyncio_loop})
    grace: float | None = None
    try:
        if is_coroutine_function(main):
            return _run(_call(main, started, args), asyncio_loop)
        result = main(started, *args)
        if hasattr(type(result), "__await__"):
            return _run(_await(result), asyncio_loop)
        return result
    except KeyboardInterrupt as error:
        grace = head.INTERRUPT_GRACE
        # That asyncio cancelled main on the way is nothing to show.
        error.__suppress_context__ = True
        raise
    finally:
        head.stop(grace)


def _takes_one_argument(function: Callable[..., Any]) -> bool:
    """Return whether a function can be called with one argument and not with two."""
    from inspect import signature

    try:
        found = signature(function)
        found.bind(None)
    except (TypeError, ValueError):
        return False
    try:
        found.bind(None, None)
    except TypeError:
        return True
    return False


async def _call(main: Callable[..., Any], started: Runtime, args: tuple[Any, ...]) -> Any:
    return await main(started, *args)


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _run(coroutine: Any, loop: asyncio.AbstractEventLoop | None) -> Any:
    if loop is not None:
        return loop.run_until_complete(coroutine)
    import asyncio

    return asyncio.run(coroutine)


class Session:
    """Starts the runtime at the beginning of a ``with`` or ``async with`` block, and stops it at the end.

    Parameters
    ----------
    **options
        See `init`.

    Examples
    --------
    >>> import mosaic
    >>> with mosaic.session(num_workers=1) as runtime:
    ...     runtime.submit(max, 3, 7).wait()
    7
    """

    def __init__(self, **options: Any) -> None:
        self._options = options

    def __enter__(self) -> Runtime:
        return _start(dict(self._options))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        head.stop(_grace(kind))

    async def __aenter__(self) -> Runtime:
        started: Runtime = await _off_loop(lambda: _start(dict(self._options)))
        display.attend()
        return started

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await _off_loop(lambda: head.stop(_grace(kind)))


session = Session


def _grace(kind: type[BaseException] | None) -> float | None:
    import asyncio

    interrupted = kind is not None and issubclass(kind, (KeyboardInterrupt, asyncio.CancelledError))
    return head.INTERRUPT_GRACE if interrupted else None


async def _off_loop(function: Callable[[], Any]) -> Any:
    """Run what blocks on a thread, to its end even if the waiter is cancelled."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    executor = ThreadPoolExecutor(1, "mosaic-driver")
    # In this context: a notebook tells by it which cell it is.
    run = copy_context().run
    future = asyncio.get_running_loop().run_in_executor(executor, run, function)
    # The thread ends with what it runs.
    executor.shutdown(wait=False)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


async def interactive(switch: str = "on", **options: Any) -> Runtime | None:
    """Start (``"on"``) or stop (``"off"``) the runtime within a running event loop, as a notebook has one.

    A cell may be run again: where a runtime runs already, ``"on"`` gives it back if it is as the options ask. What the
    workers print is shown under the cell whose calls print it.

    Parameters
    ----------
    switch : str
        ``on`` or ``off``.
    **options
        See `init`.

    Returns
    -------
    Runtime or None
        The runtime that runs; None after ``off``.

    Raises
    ------
    ValueError
        The switch is neither.
    MosaicError
        A runtime runs already, started with other options.

    Examples
    --------
    ``runtime = await mosaic.interactive("on", num_workers=2)`` in the first cell, and in the last one
    ``await mosaic.interactive("off")``.
    """
    if switch not in {"on", "off"}:
        raise ValueError(f"mosaic.interactive takes 'on' or 'off', not {switch!r}")
    if switch == "off":
        await _off_loop(head.stop)
        return None
    running = current()
    if running is not None:
        _check_agreement(running, options, "'await mosaic.interactive(\"off\")'")
        return running
    started: Runtime = await _off_loop(lambda: _start({"mode": "interactive", **options}))
    display.attend()
    return started


_asked: tuple[Runtime, dict[str, Any]] | None = None
"""The runtime that was started here last, and with which options."""


def _check_agreement(running: Runtime, options: dict[str, Any], stop: str) -> None:
    """Refuse options that are not those of the runtime that runs; what is not given is left as it is."""
    from inspect import signature

    defaults = {name: value.default for name, value in signature(head.start).parameters.items()}
    asked = _asked[1] if _asked is not None and _asked[0] is running else {}
    known = {**defaults, **asked, "num_workers": running.num_workers}
    known |= {"num_threads": running.num_threads, "mode": running.mode}
    known["log_level"] = log.log_level
    others = [
        f"{name}={known.get(name)!r} instead of {value!r}"
        for name, value in options.items()
        # What was asked may differ from what there is: a worker has died, or a launcher's word counts for more.
        if name not in head.NOT_COMPARED
        and value is not False
        and value not in (None, known.get(name), asked.get(name))
    ]
    if others:
        raise MosaicError(
            f"a mosaic runtime runs here already, with {', '.join(others)}: "
            f"{stop} stops it, then start it anew"
        )
