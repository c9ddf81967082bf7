"""What was registered to be done at a barrier: here, and in the processes that said they have something."""

from __future__ import annotations

from mosaic._core import CallKind
from mosaic.core import network
from mosaic.errors import RuntimeDisconnectedError
from mosaic.runtime.current import current

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
                # What it had to do is gone with it; its death was told.
                runtime.logger.warning("a barrier task was lost: %s", error)
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]


async def _run_registered_there() -> None:
    runtime = current()
    if runtime is not None:
        await run_registered(runtime)
