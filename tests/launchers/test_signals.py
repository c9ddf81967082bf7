"""Signals that come to `mrun`, or from its terminal, are the program's."""

import os
import pty
import signal
import subprocess
import sys

import psutil
import pytest

from tests.support.launching import MRUN, Mrun
from tests.support.rendezvous import Flag, eventually

HANDLING = """
import signal
import time
import mosaic
from tests.support.rendezvous import Flag

def handle(number, frame):
    Flag(f"got {number}").set()

for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, handle)

with mosaic.session():
    Flag("ready").set()
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_signals_are_handed_on():
    with Mrun(HANDLING, options=("-nw", "1")) as script:
        script.wait_for_flag("ready")
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM):
            script.send(number)
            script.wait_for_flag(f"got {int(number)}")
        script.send(signal.SIGINT)
        assert script.wait(10) == 0
        assert script.stdout == "interrupted\n"
        assert script.stderr == ""
        script.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_program_is_the_exit_code(number):
    program = """
    import time
    import mosaic
    from tests.support.rendezvous import Flag

    async def main(runtime):
        await runtime.submit(Flag("ready").set)
        await runtime.submit(Flag("never").wait)

    mosaic.run(main)
    """
    with Mrun(program, options=("-nw", "1")) as script:
        script.wait_for_flag("ready")
        script.send(number)
        assert script.wait(10) == 128 + number
        script.assert_nothing_left()


def is_stopped(pid):
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def test_stopping_and_going_on():
    program = """
    import time
    from tests.support.rendezvous import Flag
    Flag("ready").set()
    Flag("go").wait()
    """
    with Mrun(program, options=("-nw", "1")) as script:
        script.wait_for_flag("ready")
        child = script.find("script")
        # To a group without a terminal, TSTP does nothing; STOP stops what it is sent to.
        child.send_signal(signal.SIGSTOP)
        eventually(lambda: is_stopped(script.pid), "mrun stops with its command")
        script.send(signal.SIGCONT)
        eventually(lambda: not is_stopped(child.pid), "the command goes on")
        Flag(script.home / "go").set()
        assert script.wait(10) == 0


def test_what_is_stopped_ends_all_the_same():
    program = """
    from tests.support.rendezvous import Flag
    Flag("ready").set()
    Flag("go").wait()
    """
    with Mrun(program, options=("-nw", "1")) as script:
        script.wait_for_flag("ready")
        script.find("script").send_signal(signal.SIGSTOP)
        eventually(lambda: is_stopped(script.pid), "mrun stops with its command")
        script.send(signal.SIGTERM)
        script.send(signal.SIGCONT)
        assert script.wait(10) == 128 + signal.SIGTERM


TYPING = """
import os
import time
from pathlib import Path
import sys
import mosaic
home = Path(sys.argv[1])
with mosaic.session() as runtime:
    print("foreground:", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
    print("read:", input(), flush=True)
    try:
        (home / "ready").touch()
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        print("read:", input(), flush=True)
"""


SHELL = """
import fcntl, os, signal, sys, termios, tty
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
tty.setcbreak(0)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        break
    print("stopped", flush=True)
    assert sys.stdin.readline() == "fg\\n"
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
print("code", os.waitstatus_to_exitcode(status), flush=True)
"""


class Shell:
    """Stands for a shell with job control: a session with a terminal, whose job `mrun` is."""

    def __init__(self, program, cwd):
        self.program = program
        self.seen = ""
        self.terminal, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHELL, *MRUN, "-nw", "1", sys.executable, program, cwd],
            cwd=cwd,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def expect(self, text):
        while text not in self.seen:
            try:
                read = os.read(self.terminal, 4096).decode()
            except OSError:
                read = ""
            assert read, f"the terminal closed before {text!r}: {self.seen}"
            self.seen += read
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def close(self):
        os.close(self.terminal)
        self.process.kill()
        self.process.wait()


def test_at_a_terminal(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(TYPING)
    shell = Shell(program, tmp_path)
    try:
        shell.expect("foreground: True")
        shell.type("one\n")
        shell.expect("read: one")
        eventually((tmp_path / "ready").exists)
        # Ctrl-Z, and back into the foreground.
        shell.type("\x1a")
        shell.expect("stopped")
        shell.type("fg\n")
        # Ctrl-C.
        eventually(lambda: _foreground_is_another(shell), "the command has the terminal again")
        shell.type("\x03")
        shell.expect("interrupted")
        shell.type("two\n")
        shell.expect("read: two")
        shell.expect("code 0")
    finally:
        shell.close()
    assert not (tmp_path / "mosaic-workspace").exists()


def _foreground_is_another(shell):
    leader = os.tcgetpgrp(shell.terminal)
    try:
        return psutil.Process(leader).cmdline()[1:2] == [str(shell.program)]
    except psutil.NoSuchProcess:
        return False
