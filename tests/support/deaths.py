"""Ways for a worker to die, and what the others must be told."""

import ctypes
import os
import resource
import signal
import threading
from pathlib import Path

import mosaic
from tests.support.rendezvous import Flag, Log, eventually

# How, and what names it in the error.
WAYS = {
    "kill": r"SIGKILL|signal 9",
    "terminate": r"SIGTERM|signal 15",
    "exit": r"(?i)code:? 3",
    "segfault": r"SIGSEGV|signal 11",
    "abort": r"SIGABRT|signal 6",
}


def die(how: str = "kill") -> None:
    """End this process, and do not come back."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    os.kill(os.getpid(), signal.SIGTERM if how == "terminate" else signal.SIGKILL)
    threading.Event().wait()


def freeze(pid: int) -> None:
    """Stop a process, and wait until each of its threads has stopped: they do so one after another."""
    os.kill(pid, signal.SIGSTOP)

    def is_stopped() -> bool:
        states = [task / "stat" for task in Path(f"/proc/{pid}/task").iterdir()]
        return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in states)

    eventually(is_stopped)


def die_once(flag: Flag, how: str = "kill") -> None:
    """Die unless somebody did already."""
    if flag.set_first():
        die(how)


def work(log: Log, item: int, deadly: dict[int, int]) -> int:
    """Note an item, and die of it as often as was said."""
    log.add(item)
    if log.lines().count(str(item)) <= deadly.get(item, 0):
        die()
    return item * item


def slow_work(log: Log, item: int) -> int:
    """Compute for about 10 ms, so that kills from outside fall into it."""
    total = 0
    for i in range(200_000):
        total += i
    return item * item


@mosaic.tessera
class Doomed:
    """Dies on demand."""

    def __init__(self, how: str | None = None, flag: Flag | None = None):
        if how is not None:
            if flag is None:
                die(how)
            else:
                die_once(flag, how)
        self.count = 0

    def die(self, how="kill"):
        die(how)

    async def die_async(self, how="kill"):
        die(how)

    def die_once(self, flag, how="kill"):
        die_once(flag, how)
        return "survived"

    def add(self, n=1):
        self.count += n
        return self.count

    def pid(self):
        return os.getpid()

    def until(self, started, release, value=None):
        started.set()
        release.wait()
        return value

    async def until_async(self, started, release, value=None):
        started.set()
        await release.wait_async()
        return value

    def large(self):
        return bytes(10_000_000)

    async def arrived(self, tasks):
        return await tasks[0].init_future

    async def ask(self, other, name, *args):
        return await other[name](*args).result()
