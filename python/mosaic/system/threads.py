"""Chooses the thread that `threading.main_thread` returns."""

from __future__ import annotations

import threading
import weakref

_real = threading.main_thread
_chosen: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_NAME = "MainThread"


def set_main_thread() -> None:
    """Have `threading.main_thread` give the calling thread when that asks; it is called ``MainThread`` too.

    For libraries that refuse to work elsewhere (compilers, plotting) and look at that. In workers this is done for the
    thread of ``async`` methods; plain ones run on the main thread. Signal handlers can be set on the real one only,
    which Python sees to itself. Other threads are told of the real one.
    """
    thread = threading.current_thread()
    if thread is _real():
        return
    _chosen.add(thread)
    thread.name = _NAME
    # Its module's own variable stays, which ends the interpreter's threads in order.
    threading.main_thread = _main_thread


def _main_thread() -> threading.Thread:
    thread = threading.current_thread()
    return thread if thread in _chosen else _real()
