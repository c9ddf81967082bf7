"""Shows output under the cells of a notebook that caused it.

A call carries the number of the cell that it comes from (`mosaic._core.trace_origins`), also when it comes from a task
of asyncio that an earlier cell started, or from a method that such a call runs. Workers mark what they print with the
number (`mosaic.notebook.stdio`), and here it is written as the code of that cell would write it. Nothing of this
exists outside of a Jupyter kernel, and ipykernel is not imported unless it is there.

ipykernel keeps the request that output belongs to in a context variable of its streams, so that what is written in a
copy of a cell's context is shown under that cell, at any time.

Runs on the kernel's main thread, which runs cells, and on the thread that reads notices.

- CELL-1: a line that a call prints is shown under the cell that the call comes from, whatever runs meanwhile.
- CELL-2: what a call printed before its end is shown before the cell that awaited it goes on, and before it ends.
"""

from __future__ import annotations

import itertools
import sys
import threading

from mosaic import _core
from mosaic.notebook import display

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any

    from mosaic._core import Engine
    from mosaic.notebook.wakeup import Wakeup

DRAIN_TIMEOUT = 1.0
"""Seconds that a cell waits at most for what the workers have printed to be shown."""

MOST_CELLS = 10_000
"""Runs of cells that are remembered: each takes about a kilobyte. What a call of an older one prints is shown under the
cell that runs at that moment."""


class Cells:
    """The cells that calls come from, by number.

    Parameters
    ----------
    shell : ZMQInteractiveShell
        What runs cells in a Jupyter kernel.
    stream : OutStream
        A standard stream of the kernel.
    """

    def __init__(self, shell: Any, stream: Any) -> None:
        self._shell = shell
        # What programs put in its place for a while, to catch output, knows of no cells.
        self._stream = stream
        self._count = itertools.count(1)
        self._numbers: dict[str, int] = {}
        self._cells: dict[int, tuple[dict[str, Any], Context]] = {}
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._wakeup: Wakeup | None = None
        # The cell that starts the runtime.
        self.current()

    def current(self) -> int | None:
        """Return the number of the cell whose code runs in the current context; None where there is none."""
        header = self._stream.parent_header
        identity = header.get("msg_id")
        if identity is None:
            return None
        number = self._numbers.get(identity)
        return number if number is not None else self._add(identity, header)

    def _add(self, identity: str, header: dict[str, Any]) -> int:
        from contextvars import copy_context

        with self._lock:
            number = self._numbers.get(identity)
            if number is None:
                number = self._numbers[identity] = next(self._count)
                self._cells[number] = header, copy_context()
                if len(self._numbers) > MOST_CELLS:
                    oldest = next(iter(self._numbers))
                    del self._cells[self._numbers.pop(oldest)]
        return number

    def enter(self, number: int) -> None:
        """Have what a method prints that runs in this very process shown under the cell of its call."""
        cell = self._cells.get(number)
        set_parent = getattr(self._shell, "set_thread_parent", None)
        if cell is not None and set_parent is not None:
            set_parent({"header": cell[0]})

    def run(self, number: int | None, write: Callable[[], None]) -> None:
        """Call what writes, as the code of that cell."""
        cell = None if number is None else self._cells.get(number)
        if cell is None:
            write()
        else:
            cell[1].run(write)

    def show(self, *, certain: bool = False) -> None:
        """Wait until all is shown that the workers have printed by now; without being certain, if there is anything."""
        engine = self._engine
        if engine is not None and not engine.stopped and (certain or engine.output_is_due()):
            display.drain(engine, DRAIN_TIMEOUT)

    def follow(self, engine: Engine) -> None:
        """Have calls carry their cell from now on."""
        self._engine = engine
        self.attend()
        _core.trace_origins(self.current, self.enter, self.show)
        self._shell.events.register("pre_run_cell", self._begun)
        self._shell.events.register("post_run_cell", self._ended)

    def attend(self) -> None:
        """Have an interrupt end what a cell waits for; does nothing on any but the kernel's main thread."""
        if self._wakeup is not None or threading.current_thread() is not threading.main_thread():
            return
        import asyncio

        from mosaic.notebook.wakeup import Wakeup

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._wakeup = Wakeup(loop)

    def leave(self) -> None:
        """Forget the cells; the runtime has stopped."""
        self._engine = None
        if self._wakeup is not None:
            self._wakeup.close()
        _core.trace_origins()
        self._shell.events.unregister("pre_run_cell", self._begun)
        self._shell.events.unregister("post_run_cell", self._ended)

    def _begun(self, _: object) -> None:
        # In the context of the cell; its threads have contexts of their own.
        self.current()
        self.attend()

    def _ended(self, _: object) -> None:
        self.show(certain=True)


def find() -> Cells | None:
    """Return what follows the cells of the kernel that this process is; None if it is none, or one without contexts."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import get_ipython

    shell = get_ipython()
    if not hasattr(shell, "kernel"):
        return None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(getattr(stream, "parent_header", None), dict):
            return Cells(shell, stream)
    return None
