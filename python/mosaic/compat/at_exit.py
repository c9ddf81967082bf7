"""Calls functions when this process ends, the last one added first: ``mosaic.utils.at_exit.add(f)``, ``remove(f)``.

They run when the interpreter ends, and when SIGTERM ends the process, as batch systems do: the first `add` on the main
thread sets a handler for it, where nothing has, which runs them and lets the process die of the signal. Kernels of
notebooks are left alone. In a worker the end is that of its network. In new programs `atexit` does this.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mosaic._core import Engine

funcs: list[Callable[[], object]] = []
"""The functions, in the order in which they were added."""

_own: list[Callable[[], object]] = []
"""The functions that this process has added itself: the child of a fork does not clean up for its parent."""

_prepared = False
"""Whether forks are prepared for."""


def add(function: Callable[[], object]) -> None:
    """Have a function called at the end."""
    atexit.register(function)
    funcs.append(function)
    _own.append(function)
    _handle_sigterm()


def remove(function: Callable[[], object]) -> None:
    """Take a function back; one that was not added is no error."""
    atexit.unregister(function)
    for functions in (funcs, _own):
        functions[:] = [one for one in functions if one != function]


def _handle_sigterm() -> None:
    global _prepared
    # Takes the thread that imports it first for the main one, like `threading`.
    import signal

    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL or _is_kernel():
        return
    try:
        signal.signal(signal.SIGTERM, _terminated)
    except ValueError:
        # Not on the main thread.
        return
    if not _prepared:
        os.register_at_fork(after_in_child=_forked)
        _prepared = True
    from mosaic import _core

    engine = _core.engine()
    if engine is not None and engine.uid != "head":
        _interrupt_lane(engine)


def _is_kernel() -> bool:
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def _terminated(number: int, frame: object) -> None:
    """Run the functions and die: the handler of SIGTERM."""
    import signal
    import traceback

    # A second one must not interrupt the functions, or run them again.
    signal.signal(number, signal.SIG_IGN)
    while _own:
        function = _own.pop()
        try:
            with suppress(SystemExit):
                function()
        except BaseException:
            traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        # Closed at this end or at the other.
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _forked() -> None:
    import signal

    _own.clear()
    if signal.getsignal(signal.SIGTERM) is _terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


# Python runs handlers between two instructions of the main thread. That of an idle worker has none until the next call:
# it waits in the core. So a thread waits for the byte that Python writes for each signal, and makes a call.


def _interrupt_lane(engine: Engine) -> None:
    import signal
    from threading import Thread

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if before != -1:
        # The program reads them already; the handler waits for the next call.
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
        return
    Thread(target=_wake_lane, args=(engine, reader), name="mosaic-at-exit", daemon=True).start()


def _wake_lane(engine: Engine, reader: int) -> None:
    from mosaic.runtime.functions import caller

    while os.read(reader, 1):
        caller(engine, _nothing, engine.runtime)(_nothing)


def _nothing() -> None:
    """Give the interpreter an instruction before which handlers run."""


at_exit: Any = sys.modules[__name__]
"""This module: ``from mosaic.utils.at_exit import at_exit``."""
