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
import time
from pathlib import Path
import sys
import mosaic
home = Path(sys.argv[1])

def wait(name):
    try:
        (home / name).touch()
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        print("interrupted", name, flush=True)

with mosaic.session() as runtime:
    wait("first")
    print("read:", input(), flush=True)
    wait("second")
    print("read:", input(), flush=True)
    wait("third")
    sys.exit("the third interrupt ends it")
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

    def __init__(self, program, cwd, *job):
        self.seen = ""
        options = "-nw", "1", sys.executable
        self.terminal, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHELL, *map(str, job or [*MRUN, *options, program, cwd])],
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

    def foreground(self):
        """Return the program of the group that has the terminal."""
        try:
            return psutil.Process(os.tcgetpgrp(self.terminal)).cmdline()[1:2]
        except psutil.NoSuchProcess:
            return []

    def close(self):
        os.close(self.terminal)
        self.process.kill()
        self.process.wait()


def test_at_a_terminal(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(TYPING)
    shell = Shell(program, tmp_path)

    def stop_and_go_on(foreground):
        shell.type("\x1a")
        shell.expect("stopped")
        shell.type("fg\n")
        eventually(lambda: shell.foreground() == foreground, "it has the terminal again")

    try:
        # Ctrl-C and Ctrl-Z, while the terminal is mrun's.
        eventually((tmp_path / "first").exists)
        stop_and_go_on(["-m"])
        shell.type("\x03")
        shell.expect("interrupted first")
        # Reading gives it to the command, whose Ctrl-C and Ctrl-Z they are now.
        shell.type("one\n")
        shell.expect("read: one")
        eventually((tmp_path / "second").exists)
        assert shell.foreground() == [str(program)]
        stop_and_go_on([str(program)])
        shell.type("\x03")
        shell.expect("interrupted second")
        shell.type("two\n")
        shell.expect("read: two")
        eventually((tmp_path / "third").exists)
        shell.type("\x03")
        shell.expect("the third interrupt ends it")
        shell.expect("code 1")
    finally:
        shell.close()
    assert not (tmp_path / "mosaic-workspace").exists()


def test_what_stands_beside_mrun_keeps_the_terminal_and_gets_its_signals(tmp_path):
    """As a pager behind it, or the shell of a script around it."""
    program = tmp_path / "program.py"
    program.write_text(
        # Ended by the signal itself: Python would look for it only after a sleep that was just about to begin.
        "import signal, sys, time\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "open('ready', 'w').close()\n"
        "if sys.argv[2:] == ['read']: print('read:', input(), flush=True)\n"
        "time.sleep(60)\n"
    )
    beside = tmp_path / "beside.py"
    beside.write_text(
        "import signal, subprocess, sys\n"
        "heard = []\n"
        # Not an exception, which may come just when the status of the job has been fetched.
        "signal.signal(signal.SIGINT, lambda *_: heard.append('beside'))\n"
        "job = subprocess.Popen(sys.argv[1:])\n"
        "if sys.argv[-1] != 'read': print('typed:', input(), flush=True)\n"
        "code = job.wait()\n"
        "print(*heard, code, flush=True)\n"
    )
    for last in ("", "read"):
        shell = Shell(
            None,
            tmp_path,
            sys.executable,
            beside,
            *MRUN,
            "-nw",
            "1",
            sys.executable,
            program,
            tmp_path,
            last,
        )
        try:
            eventually((tmp_path / "ready").exists)
            shell.type("text\n")
            shell.expect("read: text" if last else "typed: text")
            shell.type("\x03")
            shell.expect("beside 130")
        finally:
            shell.close()
        (tmp_path / "ready").unlink()
