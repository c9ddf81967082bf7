"""Shows the output of workers on the streams of this process, in a notebook under the cells that caused it.

Written on the thread that reads notices.
"""

from __future__ import annotations

import itertools
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mosaic._core import Engine, Notice
    from mosaic.notebook.cells import Cells

_cells: Cells | None = None
_drains: dict[int, threading.Event] = {}
_tokens = itertools.count(1)

writer: int | None = None
"""The thread that writes, which cannot wait for itself."""

writing = False
"""Whether it writes at this moment, to a stream that may be slow."""


def follow(cells: Cells | None, engine: Engine) -> None:
    """Show what is printed under the cells of a notebook, until `leave`."""
    global _cells
    _cells = cells
    if cells is not None:
        cells.follow(engine)


def attend() -> None:
    """Have an interrupt of the kernel end what the cells of a notebook wait for; called on the kernel's main thread."""
    if _cells is not None:
        _cells.attend()


def leave() -> None:
    """Forget the notebook, and let go of who waits: nothing will be printed any more."""
    global _cells
    cells, _cells = _cells, None
    if cells is not None:
        cells.leave()
    for drained in list(_drains.values()):
        drained.set()


class Lines:
    """Collects lines of one batch of notices, to write those that belong together at once."""

    def __init__(self) -> None:
        self._place: tuple[str, int | None] = "", None
        self._lines: list[str] = []

    def add(self, notice: Notice.Output) -> None:
        """Add a line that a worker printed."""
        place = "stderr" if notice.error else "stdout", notice.origin
        if self._place != place:
            self.write()
            self._place = place
        self._lines.append(f"[{notice.uid}] {notice.text}\n")

    def write(self) -> None:
        """Write what has been added."""
        if not self._lines:
            return
        (name, origin), text = self._place, "".join(self._lines)
        self._lines = []
        cells = _cells
        if cells is None:
            _write(name, text)
        else:
            cells.run(origin, lambda: _write(name, text))


def _write(name: str, text: str) -> None:
    global writing
    stream = getattr(sys, name, None)
    if stream is None:
        return
    writing = True
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        # The program closed its own output: there is nowhere left to show the workers'.
        pass
    finally:
        writing = False


def drain(engine: Engine, timeout: float) -> bool:
    """Wait until all is shown that the workers have printed by now.

    Parameters
    ----------
    engine : Engine
        The engine of this process, whose notices are read.
    timeout : float
        Seconds.

    Returns
    -------
    bool
        Whether it is, rather than the time being up.
    """
    if threading.get_ident() == writer:
        return False
    token = next(_tokens)
    drained = _drains[token] = threading.Event()
    try:
        engine.drain_output(token)
        return drained.wait(timeout)
    finally:
        del _drains[token]


def set_drained(token: int) -> None:
    """Wake the thread that waits in `drain`."""
    drained = _drains.get(token)
    if drained is not None:
        drained.set()
