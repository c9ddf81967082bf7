"""The event loops that coroutine methods run on: a worker's own thread, or a loop of the driver.

The warehouse is a worker in this. A worker's loop starts with the first coroutine call, so that workers which never
get one do not import asyncio.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import threading

    from mosaic._core import Engine

LOOP_FAILED = 70
"""Exit code of a worker whose event loop failed: an internal error, as `sysexits.h` numbers it."""

_SHORTAGE = 0.05
"""Seconds before another try to make a loop where no file descriptor is left."""

_attached: tuple[Engine, asyncio.AbstractEventLoop] | None = None
_thread: threading.Thread | None = None
_worker_loop: asyncio.AbstractEventLoop | None = None


def run_worker_loop(engine: Engine) -> None:
    """Run a worker's coroutine calls, on the calling thread, until the engine stops.

    A loop that fails takes the worker with it: calls that nothing will ever run must not wait.
    """
    try:
        _run_worker_loop(engine)
    except BaseException:
        import os
        import traceback

        traceback.print_exc()
        flush()
        os._exit(LOOP_FAILED)


def flush() -> None:
    """Write out what the program has printed."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - cheaper than contextlib
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # Closed at this end or at the other.
            pass


def _run_worker_loop(engine: Engine) -> None:
    global _worker_loop
    if not engine.wait_coroutine():
        return
    loop = _worker_loop = _first_loop()
    engine.attach_coroutine_lane(loop, False)
    loop.run_forever()


def _first_loop() -> asyncio.AbstractEventLoop:
    """Make the loop; the calls wait for it as long as the methods of the worker hold every file that it may open."""
    from errno import EMFILE, ENFILE

    short = False
    while True:
        try:
            return _prepare_loop(short)
        except OSError as error:
            if error.errno not in {EMFILE, ENFILE}:
                raise
        from mosaic import _core

        short = True
        if not _core.free_descriptors():
            import time

            # The kernel has no event for a descriptor that is closed.
            time.sleep(_SHORTAGE)


def _prepare_loop(short: bool) -> asyncio.AbstractEventLoop:
    import asyncio

    from mosaic.system.threads import set_main_thread

    # It takes three descriptors, uvloop's takes seven.
    loop = asyncio.new_event_loop() if short else _new_loop()
    asyncio.set_event_loop(loop)
    # Compilers and plotting libraries ask in coroutine methods, too.
    set_main_thread()
    return loop


def stop_worker_loop() -> None:
    """Have `run_worker_loop` return."""
    loop = _worker_loop
    if loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)


def _new_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()  # type: ignore[no-any-return, unused-ignore]


def ensure_lane(engine: Engine) -> None:
    """Make sure that calls of tesserae hosted here can run: on the running loop, or on a thread's own.

    Workers and the warehouse have their lanes from the start.
    """
    global _attached, _thread
    if engine.uid != "head":
        return
    if _attached is not None and not _attached[0].stopped and not _attached[1].is_closed():
        return
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import threading

        loop = asyncio.new_event_loop()
        _thread = threading.Thread(target=_run, args=(loop,), name="mosaic-local", daemon=True)
        _thread.start()
        loop.call_soon_threadsafe(engine.attach_coroutine_lane, loop, True)
    else:
        engine.attach_coroutine_lane(loop, True)
    _attached = (engine, loop)


def release_lane() -> None:
    """End the thread that `ensure_lane` started; the engine has stopped."""
    global _attached, _thread
    attached, thread, _attached, _thread = _attached, _thread, None, None
    if attached is not None and thread is not None:
        attached[1].call_soon_threadsafe(attached[1].stop)
        thread.join()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
