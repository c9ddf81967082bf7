"""Barrier tasks: runs the functions that were registered for the next barrier, here and in other processes."""

from __future__ import annotations

from mosaic._core import CallKind
from mosaic.core import network
from mosaic.core.services import services
from mosaic.errors import RuntimeDisconnectedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mosaic.runtime.runtime import Runtime


async def run_registered(runtime: Runtime, elsewhere: Iterable[int] = ()) -> None:
    """Await what was registered here, and have others do the same; each is awaited whichever of them fail.

    Parameters
    ----------
    runtime : Runtime
        That of this process.
    elsewhere : iterable of int
        The numbers of others that have something to do.

    Raises
    ------
    Exception
        What the first that failed raised.
    """
    asked = [
        runtime.engine.functions(number).method(
            "barrier", kind=CallKind.FUNCTION, coroutine=True, reserved=frozenset()
        )(_run_registered_there)
        for number in elsewhere
    ]
    failures: list[Exception] = []
    for function in runtime.take_registered():
        try:
            await function()
        except Exception as error:
            failures.append(error)
    for task in asked:
        try:
            await task
        except RuntimeDisconnectedError as error:
            if task.host in network.living():
                failures.append(error)
            else:
                # Its barrier tasks ended with it; its death has been reported.
                runtime.logger.warning("a barrier task was lost: %s", error)
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]


async def _run_registered_there() -> None:
    runtime = services().current_runtime()
    if runtime is not None:
        await run_registered(runtime)
