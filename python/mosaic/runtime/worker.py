"""The main function of workers and the warehouse: ``from mosaic.runtime.worker import main; main()``.

It imports as little as it can: asyncio with the first coroutine call, cloudpickle with the first value that needs it.
Plain methods run on the main thread, as compilers and plotting libraries want it.
"""

from __future__ import annotations

import os
import sys

from mosaic._facade import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

LOOP_SECONDS = 1.0
"""Time that the thread of the event loop gets to end: it may be in the midst of a method that blocks it."""


def main() -> None:
    """Join the network named in the environment, run calls until it ends, and leave."""
    import _signal  # type: ignore[import-not-found]

    # Imported here, since it takes the thread that imports it first for the main one. About 1 ms.
    import threading

    # Ctrl-C goes to the whole process group; it is the driver's to handle.
    _signal.signal(_signal.SIGINT, _ignore)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)

    from mosaic import _core

    # The head counts this worker from here on; its calls wait until it has imported what they need.
    engine = _core.join_worker()
    from mosaic.runtime import hooks, interpreter
    from mosaic.runtime.lanes import flush, run_worker_loop, stop_worker_loop
    from mosaic.serialise import import_locks, preload

    hooks.install()
    interpreter.take_over()
    if os.environ.pop("MOSAIC_MARK_OUTPUT", None):
        from mosaic.notebook import stdio

        stdio.install()
    import_locks.install()
    if _core.given_descriptors() is not None:
        from mosaic.runtime import children

        children.watch()
    preload.preload_for(engine)
    loop = threading.Thread(target=run_worker_loop, args=(engine,), name="mosaic-loop", daemon=True)
    loop.start()
    try:
        engine.run_main_lane()
    finally:
        stop_worker_loop()
        # The interpreter would end the thread where it is, among frames that cannot be left so.
        loop.join(LOOP_SECONDS)
        # Drops the objects that still live, whose destructors may print.
        engine.stop()
        flush()


def _ignore(signal: int, frame: object) -> None:
    pass


# A name that programs of mosaic 1.2 import from here.
__getattr__ = lazy_names(__name__, {"Worker": "mosaic.runtime.roles"})
