"""Wakes the event loop of the main thread when a Unix signal arrives.

Python runs signal handlers between two of its instructions; a loop that waits for events goes on waiting afterwards,
whatever a handler has put into its queue. The handler with which ipykernel interrupts a cell puts its callback there
as if the loop were awake, so that a cell that only waits would be interrupted when the wait is over. Made and closed
on the loop's thread, which is the main one.
"""

from __future__ import annotations

import signal
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class Wakeup:
    """Wakes a loop with each signal, until it is closed.

    Parameters
    ----------
    loop : AbstractEventLoop
        The running loop of the main thread.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # One that was there before is the loop's own, or the program's, and stays.
        before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._needed = before == -1
        if self._needed:
            loop.add_reader(self._reader, self._woken)
        else:
            signal.set_wakeup_fd(before)
            self._release()

    def _woken(self) -> None:
        try:
            while self._reader.recv(64):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Let go, at once on the loop's thread and as soon as the loop has its turn from another."""
        if threading.current_thread() is threading.main_thread():
            self._close()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        if not self._needed:
            return
        self._needed = False
        found = signal.set_wakeup_fd(-1)
        if found != self._writer.fileno():
            # Other code has set its own descriptor meanwhile.
            signal.set_wakeup_fd(found)
        if not self._loop.is_closed():
            self._loop.remove_reader(self._reader)
        self._release()

    def _release(self) -> None:
        self._reader.close()
        self._writer.close()
