"""Reads the notices of the engine: workers' output, deaths, reports, ends of tasks.

One daemon thread an engine blocks in `Engine.notices`, without the GIL. It starts with the head; in a worker with the
first use. `stop` of the engine ends the thread after the last notice, so that no output is lost.
"""

from __future__ import annotations

import os
import threading

from mosaic._core import Notice
from mosaic.core import callbacks, network, placement
from mosaic.errors import RuntimeDisconnectedError
from mosaic.notebook import display
from mosaic.notebook.display import Lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from mosaic._core import Engine
    from mosaic._core import _AnyNotice as AnyNotice

_LEVELS = {"trace": 5, "debug": 10, "perf": 19, "info": 20, "warning": 30, "warn": 30, "error": 40}

REPLACEMENT_TIMEOUT = float(os.environ.get("MOSAIC_REPLACEMENT_TIMEOUT", "30"))
"""Seconds to wait for a worker to join where none is left and one is needed."""

_lock = threading.Lock()
_watched: tuple[Engine, threading.Thread] | None = None
_waiting: list[Membership] = []
_leaving = False
_exhausted: tuple[Engine, str] | None = None


def watch(engine: Engine | None = None) -> None:
    """Make sure that a thread reads the notices of an engine."""
    global _watched, _leaving
    engine = engine if engine is not None else network.engine()
    with _lock:
        if _watched is not None and not _watched[0].stopped:
            return
        _leaving = False
        thread = threading.Thread(target=_read, args=(engine,), name="mosaic-notices", daemon=True)
        _watched = (engine, thread)
        thread.start()


def expect_deaths() -> None:
    """Do not report the ends of workers from now on: the network is about to stop."""
    global _leaving
    _leaving = True


def join(timeout: float) -> None:
    """Wait until the thread of a stopped engine has handed on what it had.

    Parameters
    ----------
    timeout : float
        Seconds that functions of the program may take. For a stream that takes what workers printed there is no limit,
        as for the program's own `print`.
    """
    global _watched, _exhausted
    with _lock:
        watched, _watched, _exhausted = _watched, None, None
    if watched is not None and watched[1] is not threading.current_thread():
        watched[1].join(timeout)
        while watched[1].is_alive() and display.writing:
            watched[1].join(timeout)


def _read(engine: Engine) -> None:
    display.writer = threading.get_ident()
    while True:
        batch = engine.notices()
        if batch is None:
            _wake()
            return
        try:
            _handle(engine, batch)
        except Exception:
            _log(40, "a notice of the engine could not be handled", error=True)


def _handle(engine: Engine, batch: Iterable[AnyNotice]) -> None:
    lines = Lines()
    for notice in batch:
        if isinstance(notice, Notice.Output):
            lines.add(notice)
            continue
        lines.write()
        try:
            _handle_one(engine, notice)
        except Exception:
            _log(40, f"the notice {notice!r} could not be handled", error=True)
    lines.write()


def _handle_one(engine: Engine, notice: AnyNotice) -> None:
    match notice:
        case Notice.Ended(token=token):
            callbacks.fire(token)
        case Notice.Log(uid=uid, level=level, text=text):
            # Of calls that nobody waited for when the program stopped nothing is reported.
            if not (_leaving and "the runtime was stopped" in text):
                _log(_LEVELS.get(level, 20), text if uid == "head" else f"[{uid}] {text}")
        case Notice.Joined():
            _wake()
        case Notice.Died(uid=uid, cause=cause):
            if not _leaving:
                _log(30, cause)
            _wake(uid)
        case Notice.Exhausted(reason=reason):
            global _exhausted
            _exhausted = (engine, reason)
            _wake()
        case Notice.Drained(token=token):
            display.set_drained(token)
        case Notice.Choose(tessera=tessera):
            _choose(engine, tessera)
        case Notice.Output():
            # `_handle` writes it, with the lines around it.
            pass


def _wake(dead: str | None = None) -> None:
    for membership in list(_waiting):
        membership.change(dead)


def exhausted(engine: Engine) -> str | None:
    """Return the reason why no worker will join this engine's network any more; None while one may."""
    return _exhausted[1] if _exhausted is not None and _exhausted[0] == engine else None


def _choose(engine: Engine, tessera: tuple[int, int]) -> None:
    try:
        strategy = placement.strategy
        if strategy is None:
            engine.chosen(tessera, None, "there is no placement strategy any more")
        else:
            engine.chosen(tessera, placement.choose(strategy), "")
    except Exception as error:
        engine.chosen(
            tessera, None, f"the placement strategy failed: {type(error).__name__}: {error}"
        )


def _log(level: int, text: str, *, error: bool = False) -> None:
    from mosaic.log import logger

    logger().log(level, text, exc_info=error)


class Membership:
    """Wakes a coroutine whenever a runtime joins or dies, no worker will join any more, or the network stops.

    A context manager, used on a running loop.

    Parameters
    ----------
    engine : Engine
        The engine of this process.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dead: set[str] = set()

    def __enter__(self) -> Self:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        watch(self._engine)
        _waiting.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _waiting.remove(self)

    def change(self, dead: str | None) -> None:
        """Take in a change, with the uid of a runtime that died; on the thread that reads notices."""
        if dead is not None:
            self.dead.add(dead)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    def wake(self) -> None:
        """Wake who waits, from the loop's own thread."""
        self._event.set()

    async def changed(self) -> None:
        """Wait until something has changed since the last call."""
        await self._event.wait()
        self._event.clear()

    async def joined(self, undone: str) -> None:
        """Wait for a change where no worker is left.

        Parameters
        ----------
        undone : str
            What is not done, for the message.

        Raises
        ------
        RuntimeDisconnectedError
            No worker will join any more, or none has within the time that one takes to start.
        """
        reason = exhausted(self._engine)
        if reason is not None and not self._event.is_set():
            raise RuntimeDisconnectedError(
                f"no worker is left, and none will join: {reason}; {undone}"
            )
        import asyncio

        try:
            async with asyncio.timeout(REPLACEMENT_TIMEOUT):
                await self.changed()
        except TimeoutError:
            raise RuntimeDisconnectedError(
                f"no worker is left, and none has joined for {REPLACEMENT_TIMEOUT:g} s: {undone}"
            ) from None


def _forget_after_fork() -> None:
    global _watched, _lock, _exhausted
    _watched = _exhausted = None
    _lock = threading.Lock()
    _waiting.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
