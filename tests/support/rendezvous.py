"""Meeting points between processes: files that appear, lines that are appended, bounded waits.

Nothing here guesses how long something takes. Who waits, waits for a fact, and gives up with an
`AssertionError` that names the fact.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

DEADLINE = 20.0
INTERVAL = 0.005


def on_a_busy_machine(seconds: float) -> float:
    """Return how long what takes that long may take while others want the processors too."""
    wanted = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(1.0, wanted)


def eventually(condition: Callable[[], Any], what: str = "", timeout: float = DEADLINE) -> Any:
    """Return the first true value of the condition; for facts that nothing announces."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        time.sleep(INTERVAL)


async def eventually_async(
    condition: Callable[[], Any], what: str = "", timeout: float = DEADLINE
) -> Any:
    """Do the same without holding the event loop up."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if hasattr(type(value), "__await__"):
            value = await value
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        await asyncio.sleep(INTERVAL)


async def soon(awaitable: Awaitable[T], timeout: float = DEADLINE) -> T:
    """Wait for something that must not hang."""
    return await asyncio.wait_for(awaitable, timeout)


class Flag:
    """A fact that one process states and others wait for: a file that exists."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)

    def set(self) -> None:
        Path(self.path).touch()

    def set_first(self) -> bool:
        """State the fact; tell whether nobody has before, however many try at once."""
        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def is_set(self) -> bool:
        return os.path.exists(self.path)

    def wait(self, timeout: float = DEADLINE) -> None:
        eventually(self.is_set, f"flag {self.path}", timeout)

    async def wait_async(self, timeout: float = DEADLINE) -> None:
        await eventually_async(self.is_set, f"flag {self.path}", timeout)


class Log:
    """Lines that any process may append; each append is one write."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)

    def add(self, line: object) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)

    def lines(self) -> list[str]:
        try:
            return Path(self.path).read_text().splitlines()
        except FileNotFoundError:
            return []
