"""Marks the output of a worker with the notebook cell from which the printing call came.

Only in workers of a notebook, whose head asks for it. The number of the call's origin is in a context variable,
so that coroutines that take turns keep theirs; threads that a method started have none and print for the latest call.
The head's I/O thread takes the marks out again (`node/stdio.rs`).
"""

from __future__ import annotations

import io
import sys
import threading
from _contextvars import ContextVar

from mosaic import _core

_origin: ContextVar[int] = ContextVar("mosaic_origin")
_latest: int | None = None
_streams: list[Marked] = []


class Marked(io.TextIOWrapper):
    """A standard stream that writes whole lines, each after a mark of where it belongs.

    Parameters
    ----------
    stream : TextIOWrapper
        The stream whose place it takes; it cannot be used any more.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        encoding, errors = stream.encoding, stream.errors
        super().__init__(stream.detach(), encoding=encoding, errors=errors, write_through=True)
        # A destructor may print while its own thread does.
        self._own_lock = threading.RLock()
        self._begun: dict[int | None, str] = {}
        self._open: int | None = None

    def write(self, text: str) -> int:
        """Write the lines that are complete; what follows the last waits for its end, or for `flush`."""
        origin = current()
        with self._own_lock:
            lines, newline, rest = (self._begun.pop(origin, "") + text).rpartition("\n")
            if newline:
                self._emit(origin, lines + newline)
            if rest:
                self._begun[origin] = rest
        return len(text)

    def flush(self) -> None:
        """Write what has been printed, complete lines or not."""
        with self._own_lock:
            while self._begun:
                origin, text = self._begun.popitem()
                self._emit(origin, text)
            super().flush()

    def announce(self, origin: int) -> None:
        """Have what others write to the same descriptor belong there: libraries, programs that are started."""
        with self._own_lock:
            try:  # noqa: SIM105 - cheaper than contextlib
                self._emit(origin, "")
            except (OSError, ValueError):
                # A method has closed it, or put another in its place.
                pass

    def _emit(self, origin: int | None, text: str) -> None:
        # What continues an unfinished line must not begin another.
        marked = origin is not None and origin != self._open
        super().write(f"\x1b_mosaic {origin}\x1b\\{text}" if marked else text)
        super().flush()
        self._open = origin if text and not text.endswith("\n") else None


def current() -> int | None:
    """Return the number of the origin of the call that runs in this context."""
    return _origin.get(_latest)


def enter(origin: int) -> None:
    """Begin a call of that origin in this context."""
    global _latest
    _origin.set(origin)
    if origin != _latest:
        _latest = origin
        for stream in _streams:
            stream.announce(origin)


def install() -> None:
    """Mark what this process prints from now on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            marked = Marked(stream)
            setattr(sys, name, marked)
            setattr(sys, f"__{name}__", marked)
            _streams.append(marked)
    _core.trace_origins(current, enter)
