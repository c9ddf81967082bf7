"""Runs plain functions on the workers: every runtime hosts, from its start, the tessera that they run on."""

from __future__ import annotations

from mosaic._core import CallKind
from mosaic.core import methods, network, placement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mosaic._core import Engine, RemoteMethod, Task

_turn = 0


class Retrier:
    """The tessera of one function that is run again elsewhere when its worker dies: any name calls what it is given."""

    def __getattr__(self, name: str) -> Any:
        return _call


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def caller(engine: Engine, function: Callable[..., Any], worker: int) -> RemoteMethod:
    """Return what calls ``function`` on a worker; it takes the function as its first argument."""
    return engine.functions(worker).method(
        getattr(function, "__name__", type(function).__name__),
        kind=CallKind.FUNCTION,
        coroutine=methods.is_coroutine_function(function),
        reserved=methods.RESERVED - methods.declared(function),
    )


def submit(
    engine: Engine,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    runtime: object,
) -> Task:
    """Run a function on a worker; see `Runtime.submit`."""
    if not callable(function):
        raise TypeError(f"submit runs a function, not {function!r}")
    worker = network.number_of(runtime) if runtime is not None else _next()
    if kwargs.get("max_retries") and "max_retries" not in methods.declared(function):
        return _retrying_caller(engine, function, worker, kwargs["max_retries"])(
            function, *args, **kwargs
        )
    return caller(engine, function, worker)(function, *args, **kwargs)


def _retrying_caller(
    engine: Engine, function: Callable[..., Any], worker: int, retries: int
) -> RemoteMethod:
    """Return what calls a function on a tessera of its own, which goes elsewhere when its worker dies.

    The tessera is freed when the call has ended.
    """
    name = getattr(function, "__name__", type(function).__name__)
    ref, _ = engine.construct(Retrier, name, (), {}, place=worker, retries=0, restarts=retries)
    return ref.method(
        name,
        coroutine=methods.is_coroutine_function(function),
        reserved=methods.RESERVED - methods.declared(function),
    )


def _next() -> int:
    global _turn
    if placement.strategy is not None:
        return placement.choose(placement.strategy)
    workers = network.workers()
    if not workers:
        raise network.no_worker("to run a function")
    _turn += 1
    return workers[(_turn - 1) % len(workers)][0]
