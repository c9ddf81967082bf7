"""The event loops that coroutine methods run on: a worker's own thread, and whatever loop the driver has.

A worker's loop starts with the first coroutine call, so that workers which never get one do not import asyncio.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from mosaic._core import Engine

_attached: tuple[Engine, object] | None = None
_worker_loop: asyncio.AbstractEventLoop | None = None


def run_worker_loop(engine: Engine) -> None:
    """Run a worker's coroutine calls, on the calling thread, until the engine stops."""
    global _worker_loop
    if not engine.wait_coroutine():
        return
    import asyncio

    loop = _new_loop()
    asyncio.set_event_loop(loop)
    _worker_loop = loop
    engine.attach_coroutine_lane(loop, False)
    loop.run_forever()


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

    Workers have their lanes from the start.
    """
    global _attached
    if engine.uid.startswith("worker"):
        return
    if (
        _attached is not None
        and _attached[0] is engine
        and not getattr(_attached[1], "is_closed", bool)()
    ):
        return
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = _start_thread()
        loop.call_soon_threadsafe(engine.attach_coroutine_lane, loop, True)
    else:
        engine.attach_coroutine_lane(loop, True)
    _attached = (engine, loop)


def _start_thread() -> asyncio.AbstractEventLoop:
    import asyncio
    import threading

    loop = asyncio.new_event_loop()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()

    threading.Thread(target=run, name="mosaic-local", daemon=True).start()
    return loop
