"""Runs the command that ``mrun`` was given: its terminal, its signals, its end.

The command has a process group of its own. Signals that come to ``mrun`` are handed on to it, those of the terminal
too: what stands beside ``mrun``, a script's shell or the rest of a pipeline, gets Ctrl-C as it does without. When the
command reads from the terminal or sets it up, it is given it. Signals are blocked and taken one by one, so that none
comes at a bad moment.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping, Sequence

from mosaic import _core

HANDED_ON = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGTSTP,
        signal.SIGCONT,
    }
)
"""What goes on to the command; schedulers warn with some of them."""

GRACE = 1.0
"""Seconds that programs which the command left running get to end."""

NOT_FOUND = 127
NOT_RUNNABLE = 126


_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def split_command(command: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables that are assigned before a program, and the program with its arguments.

    A single argument that is no program but could be a line for a shell (``"python x.py > out"``) is run by one. Of
    several arguments none is touched: blanks in them stay.

    Examples
    --------
    >>> split_command(["OMP_NUM_THREADS=2", "python", "a script.py"])
    ({'OMP_NUM_THREADS': '2'}, ['python', 'a script.py'])
    >>> split_command(["python x.py > out && echo done"])
    ({}, ['/bin/sh', '-c', 'python x.py > out && echo done'])
    """
    rest = list(command)
    assignments: dict[str, str] = {}
    if len(rest) > 1:
        while rest and (match := _ASSIGNMENT.fullmatch(rest[0])):
            assignments[match[1]] = match[2]
            del rest[0]
    if len(rest) == 1 and re.search(r"[\s|&;<>()$`*?]", rest[0]) and shutil.which(rest[0]) is None:
        rest = ["/bin/sh", "-c", rest[0]]
    return assignments, rest


class Signals:
    """Blocks the signals that are taken here, for the life of this process.

    Those that this process was started with ignored stay so, for the command too (``nohup``).
    """

    def __init__(self) -> None:
        self.taken = {
            number for number in HANDED_ON if signal.getsignal(number) is not signal.SIG_IGN
        } | {signal.SIGCHLD}
        # A process in the background that hands the terminal over would be stopped for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, self.taken | {signal.SIGTTOU})

    def wait(self, timeout: float | None = None) -> signal.Signals | None:
        """Return the next one; None when that many seconds have passed."""
        if timeout is None:
            return signal.Signals(signal.sigwait(self.taken))
        found = signal.sigtimedwait(self.taken, max(0.0, timeout))
        return None if found is None else signal.Signals(found.si_signo)


class Terminal:
    """The terminal of this process, if it has one."""

    def __init__(self) -> None:
        self.given = False
        self._own = os.getpgrp()
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            self._descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)

    def give(self, group: int) -> bool:
        """Give it to a group. Returns whether that group has it; it has not if this process is in the background."""
        self.given = self._move(self._own, group) or self._move(group, group)
        return self.given

    def take_back(self, group: int) -> bool:
        """Take it from a group. Returns whether that group had it."""
        return self._move(group, self._own)

    def _move(self, source: int, target: int) -> bool:
        with contextlib.suppress(OSError):
            if self._descriptor is not None and os.tcgetpgrp(self._descriptor) == source:
                os.tcsetpgrp(self._descriptor, target)
                return True
        return False


class Command:
    """A program under ``mrun``.

    Parameters
    ----------
    arguments : sequence of str
        Program and arguments.
    environment : mapping
        Added to this process's environment.
    signals : Signals
        Where they come from.

    Raises
    ------
    OSError
        It cannot be started.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], signals: Signals
    ) -> None:
        self._signals = signals
        self._terminal = Terminal()
        self.pid = _core.spawn_command(list(arguments), list(environment.items()))
        self._stopped = False

    def wait(self) -> int:
        """Wait for its end, handing signals on.

        Returns
        -------
        int
            Its exit code, or 128 and the number of the signal that ended it.
        """
        while True:
            number = self._signals.wait()
            if number == signal.SIGCHLD:
                status = self._look()
                if status is not None:
                    return self._code(status)
            elif number == signal.SIGCONT:
                self._resume()
            elif number is not None:
                self._send(number)

    def _code(self, status: int) -> int:
        had_terminal = self._terminal.take_back(self.pid)
        code = os.waitstatus_to_exitcode(status)
        if had_terminal and -code in {signal.SIGINT, signal.SIGQUIT}:
            # What stands beside this process would have got it from the terminal.
            os.killpg(os.getpgrp(), -code)
        return code if code >= 0 else 128 - code

    def _look(self) -> int | None:
        """Look what has become of it: its status if it has ended."""
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            # A program that it left behind may have ended, whose parent this process has become.
            _reap_group(self.pid, but=self.pid)
            return None
        if os.WIFSTOPPED(status):
            self._stop_too(os.WSTOPSIG(status))
            return None
        return status

    def _stop_too(self, number: int) -> None:
        """Stop as the command did, so that the shell sees it."""
        self._stopped = True
        if number in {signal.SIGTTIN, signal.SIGTTOU} and self._terminal.give(self.pid):
            self._go_on()
            return
        if self._terminal.take_back(self.pid):
            # What stands beside this process would have been stopped by the terminal.
            os.killpg(os.getpgrp(), signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGSTOP)

    def _resume(self) -> None:
        if self._terminal.given:
            # In the background the shell keeps it.
            self._terminal.give(self.pid)
        self._go_on()

    def _go_on(self) -> None:
        self._send(signal.SIGCONT)
        self._stopped = False

    def _send(self, number: int) -> None:
        # It may have ended, or run as another user.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
            if self._stopped and number in {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}:
                # What is stopped does not end before it goes on.
                os.killpg(self.pid, signal.SIGCONT)

    def end_the_rest(self) -> None:
        """End what the command left running in its process group."""
        for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
            until = time.monotonic() + patience
            try:
                os.killpg(self.pid, number)
                while _reap_group(self.pid) and (left := until - time.monotonic()) > 0:
                    self._signals.wait(left)
            except (ProcessLookupError, PermissionError):
                return


def _reap_group(group: int, but: int = 0) -> bool:
    """Reap the dead of a process group, all but one; return whether a child of this process is left in it."""
    try:
        while True:
            found = os.waitid(os.P_PGID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_pid == but:
                return True
            os.waitpid(found.si_pid, 0)
    except ChildProcessError:
        return False
