"""A Jupyter kernel under test: a real ipykernel, driven by messages as a notebook does it.

Everything that the kernel publishes is kept by the cell that it names as its cause, so that a test can look at what is
shown under a cell long after the cell has ended.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager

from tests.support.rendezvous import Flag, eventually, on_a_busy_machine
from tests.support.scripts import MARK, ROOT

DEADLINE = 30.0


@dataclass
class Cell:
    """What has come of one request to run code."""

    code: str
    msg_id: str
    streams: list[tuple[str, str]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    status: str | None = None
    idle: bool = False

    def text(self, name: str = "stdout") -> str:
        """Return what is shown under the cell of that stream."""
        return "".join(text for stream, text in self.streams if stream == name)

    def lines(self, name: str = "stdout") -> list[str]:
        return self.text(name).splitlines()


class Kernel:
    """A kernel, on the running event loop; use as an asynchronous context manager."""

    client: AsyncKernelClient
    _reader: asyncio.Task[None]

    def __init__(self) -> None:
        # Not below pytest's own directory: addresses of Unix sockets have at most 107 bytes.
        self.home = Path(tempfile.mkdtemp(prefix="mk-"))
        self.temporary = self.home / "tmp"
        self.temporary.mkdir(mode=0o700)
        self.mark = uuid.uuid4().hex
        self.cells: dict[str, Cell] = {}
        self._news = asyncio.Condition()
        environment = dict(os.environ) | {
            MARK: self.mark,
            "TMPDIR": str(self.temporary),
            "XDG_RUNTIME_DIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
            "IPYTHONDIR": str(self.home / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(self.home),
        }
        # What the manager needs to start it.
        self.start_options: dict[str, Any] = {"env": environment, "cwd": str(self.home)}
        self.manager = AsyncKernelManager(
            transport="ipc", connection_file=str(self.home / "kernel.json")
        )
        spec = self.manager.kernel_spec
        assert spec is not None
        spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    async def __aenter__(self) -> Self:
        await self.manager.start_kernel(**self.start_options)
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._hang_up()
        await self.manager.shutdown_kernel(now=True)
        self.close()

    def close(self) -> None:
        """Remove what there is besides the kernel's own process, which has ended."""
        self.manager.context.destroy()
        for process in self.others():
            process.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    async def _listen(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels(stdin=False, hb=False)
        await self.client.wait_for_ready(timeout=DEADLINE)
        self._reader = asyncio.create_task(self._read())

    async def _hang_up(self) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])
        self.client.stop_channels()

    async def _read(self) -> None:
        while True:
            message = await self.client.get_iopub_msg()
            async with self._news:
                self._take_in(message)
                self._news.notify_all()

    def _take_in(self, message: dict[str, Any]) -> None:
        cell = self.cells.get(message["parent_header"].get("msg_id", ""))
        if cell is None:
            return
        content = message["content"]
        kind = message["msg_type"]
        if kind == "stream":
            cell.streams.append((content["name"], content["text"]))
        elif kind in {"execute_result", "display_data"}:
            cell.results.append(content["data"])
        elif kind == "error":
            cell.error = f"{content['ename']}: {content['evalue']}"
        elif kind == "status" and content["execution_state"] == "idle":
            cell.idle = True

    def start(self, code: str) -> Cell:
        """Have the kernel run code, and do not wait for its end."""
        code = textwrap.dedent(code)
        msg_id = self.client.execute(code, allow_stdin=False)
        cell = self.cells[msg_id] = Cell(code, msg_id)
        return cell

    async def finish(self, cell: Cell) -> Cell:
        """Wait until a cell has ended: what was published before that is in it."""
        async with asyncio.timeout(DEADLINE):
            while cell.status is None:
                reply = await self.client.get_shell_msg()
                asked = self.cells.get(reply["parent_header"].get("msg_id", ""))
                if asked is not None:
                    asked.status = reply["content"]["status"]
        await self.until(lambda: cell.idle, f"the end of {cell.code!r}")
        return cell

    async def run(self, code: str) -> Cell:
        """Run code to its end, which must be a good one."""
        cell = await self.finish(self.start(code))
        assert cell.status == "ok", f"{cell.error}\n{cell.streams}"
        return cell

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a fact about what the kernel publishes."""
        try:
            async with asyncio.timeout(DEADLINE), self._news:
                await self._news.wait_for(condition)
        except TimeoutError:
            told = [vars(cell) for cell in self.cells.values()]
            raise AssertionError(f"not within {DEADLINE} s: {what}; {told}") from None

    def flag(self, name: str) -> Flag:
        """Return the flag that code in the kernel names ``Flag(name)``."""
        return Flag(self.home / name)

    @property
    def pid(self) -> int:
        pid: int = self.manager.provisioner.pid  # type: ignore[union-attr]
        return pid

    async def interrupt(self) -> None:
        """Interrupt the kernel as the button of a notebook does."""
        await self.manager.interrupt_kernel()

    async def restart(self) -> None:
        """Restart the kernel as the button of a notebook does."""
        await self._hang_up()
        await self.manager.restart_kernel(**self.start_options)
        await self._listen()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def others(self) -> list[psutil.Process]:
        """Return what lives that the kernel has started."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.pid != self.pid
                    and process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get(MARK) == self.mark
                ):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def leftovers(self) -> list[str]:
        """Return processes and files that should not be there where no runtime is."""
        found = [f"process {p.pid}: {p.cmdline()}" for p in self.others()]
        return found + [f"file {p}" for p in sorted(self.temporary.glob("mosaic-*"))]

    def assert_nothing_left(self, within: float = 2.0) -> None:
        within = on_a_busy_machine(within)
        try:
            eventually(lambda: not self.leftovers(), "nothing left", within)
        except AssertionError:
            raise AssertionError(f"left after {within:.1f} s: {self.leftovers()}") from None


@contextlib.asynccontextmanager
async def kernel_with_runtime(num_workers: int) -> AsyncIterator[Kernel]:
    """A kernel that has a runtime, and what the tests use imported."""
    async with Kernel() as kernel:
        await kernel.run(
            "import asyncio, os, sys, threading, mosaic\n"
            f'runtime = await mosaic.interactive("on", num_workers={num_workers})\n'
            "from tests.support.actors import Blocker, Echo\n"
            "from tests.support.rendezvous import Flag, eventually_async"
        )
        yield kernel
