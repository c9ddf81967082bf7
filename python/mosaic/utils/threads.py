"""Which thread others take for the main one."""

from __future__ import annotations

import threading

_real = threading.main_thread
_chosen: threading.Thread | None = None
_NAME = "MainThread"


def set_main_thread() -> None:
    """Have `threading.main_thread` give the calling thread, for as long as it lives; it is called ``MainThread`` too.

    For libraries that refuse to work elsewhere (compilers, plotting) and look at that. Methods of tesserae need it only
    where they are ``async``: plain ones run on the main thread. Signal handlers can be set on the real one only, which
    Python sees to itself.
    """
    global _chosen
    thread = threading.current_thread()
    if thread is _real():
        _chosen = None
        return
    _chosen = thread
    thread.name = _NAME
    # Its module's own variable stays, which ends the interpreter's threads in order.
    threading.main_thread = _main_thread


def _main_thread() -> threading.Thread:
    chosen = _chosen
    return chosen if chosen is not None and chosen.is_alive() else _real()
