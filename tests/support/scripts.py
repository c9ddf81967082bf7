"""Whole programs: written to a file, run by a fresh interpreter, and looked after.

A program gets a private temporary directory and a mark in its environment that its children
inherit, so that a test can tell what it left behind, whoever else runs on the machine.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.support.rendezvous import Flag, eventually, on_a_busy_machine

MARK = "MOSAIC_TEST_MARK"
ROOT = Path(__file__).resolve().parents[2]


class Script:
    """A program under test; use as a context manager."""

    def __init__(
        self,
        text: str,
        *args: object,
        env: dict[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> None:
        # Not below pytest's own directory: addresses of Unix sockets have at most 107 bytes.
        self.home = Path(tempfile.mkdtemp(prefix="mt-"))
        self.temporary = self.home / "tmp"
        self.temporary.mkdir(mode=0o700)
        self.path = self.home / "script.py"
        self.path.write_text(textwrap.dedent(text))
        self.mark = uuid.uuid4().hex
        self.out = self.home / "out.txt"
        self.err = self.home / "err.txt"
        environment = dict(os.environ)
        environment.pop("PYTHONPATH", None)
        environment |= {
            MARK: self.mark,
            "TMPDIR": str(self.temporary),
            "XDG_RUNTIME_DIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
        }
        environment |= env or {}
        self.shared_memory = _shared_memory()
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*under, sys.executable, str(self.path), *map(str, args)],
                cwd=self.home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                # A group of its own: what is sent to it does not reach the test.
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"stdout: {self.stdout[-4000:]}\nstderr: {self.stderr[-8000:]}")
        for process in self.processes():
            process.kill()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        return self.out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self.err.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """Return every living process that this program started, and itself."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and (
                    process.environ().get(MARK) == self.mark
                ):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def wait(self, timeout: float = 40) -> int:
        return self.process.wait(timeout)

    def wait_for_line(self, line: str, timeout: float = 20) -> None:
        """Wait until the program has printed a line."""
        self._wait_for(lambda: line in self.stdout.splitlines(), f"line {line!r}", timeout)

    def wait_for_flag(self, name: str, timeout: float = 20) -> None:
        """Wait until the program, or one of its workers, has set the flag of that name."""
        self._wait_for(Flag(self.home / name).is_set, f"flag {name!r}", timeout)

    def _wait_for(self, fact: Callable[[], bool], what: str, timeout: float) -> None:
        def stated() -> bool:
            if fact():
                return True
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} before {what}")
            return False

        eventually(stated, what, timeout)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def leftovers(self) -> list[str]:
        """Return processes and files that should not be there any more."""
        found = [f"process {p.pid}" for p in self.processes()]
        # Not by `rglob`, which fails when a directory goes meanwhile.
        for place in (self.temporary, self.home / "mosaic-workspace"):
            for directory, directories, files in os.walk(place):
                # A profile is there to stay.
                names = [name for name in directories + files if not name.endswith(".mprof")]
                found += [f"file {Path(directory, name)}" for name in sorted(names)]
        found += [f"shared memory {name}" for name in _shared_memory() - self.shared_memory]
        return found

    def assert_nothing_left(self, within: float = 2.0) -> None:
        within = on_a_busy_machine(within)
        try:
            eventually(lambda: not self.leftovers(), "nothing left", within)
        except AssertionError:
            raise AssertionError(f"left after {within:.1f} s: {self.leftovers()}") from None


def run_script(
    text: str,
    *args: object,
    expect: int = 0,
    timeout: float = 40,
    env: dict[str, str] | None = None,
    under: Sequence[str] = (),
) -> tuple[str, str]:
    """Run a program to its end, under a launcher if one is named; return its output and its errors."""
    with Script(text, *args, env=env, under=under) as script:
        code = script.wait(timeout)
        out, err = script.stdout, script.stderr
        assert code == expect, f"exit code {code}\nstdout: {out}\nstderr: {err}"
        script.assert_nothing_left()
        return out, err


def run_in(
    directory: Path,
    command: Sequence[str],
    expect: int = 0,
    env: dict[str, str] | None = None,
    said: str = "",
) -> tuple[str, str]:
    """Run a command in a directory to its end, with ``said`` as its input; return its output and its errors."""
    done = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | (env or {}),
        input=said,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == expect, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout, done.stderr


def _shared_memory() -> set[str]:
    return {n for n in os.listdir("/dev/shm") if n.startswith("mosaic")}


def run_code(code: str) -> str:
    """Run code in an interpreter that has imported nothing of ours, with warnings as errors; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
