"""The rows of arrays: what is timed, the same for every contender, each of which says how it moves an array.

numpy is in every contender's environment. A megabyte has 10⁶ bytes, elements are float32, and who receives an array
looks at it: both its ends come from memory.
"""

from __future__ import annotations

import asyncio
import statistics
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np

from benches.peers import measure
from benches.peers.measure import now

WORKERS = 2
OPERANDS = 8
OPERAND_MB = 100

# Calls that are timed one by one: as many as fit into the time, within bounds.
MOST_CALLS = 200
LEAST_CALLS = 3
CALLS_S = 1.0

FIRST, LAST = 1, 2


def marked(megabytes: int, into: np.ndarray | None = None) -> np.ndarray:
    """Return an array that `look` knows; or fill one."""
    array = np.empty(elements(megabytes), np.float32) if into is None else into
    array.fill(3)
    array[0], array[-1] = FIRST, LAST
    return array


def elements(megabytes: int) -> int:
    """Return how many elements an array has."""
    return megabytes * 1_000_000 // 4


def look(array: np.ndarray) -> int:
    """Be the receiver: touch both ends of an array, and return its bytes."""
    if (array[0], array[-1]) != (FIRST, LAST):
        raise ValueError("another array arrived than was sent")
    return array.nbytes


class Actor:
    """What takes and gives arrays: a contender makes it an actor of its own kind."""

    def take(self, array: np.ndarray) -> int:
        return look(array)

    def prepare(self, megabytes: int) -> None:
        self.array = marked(megabytes)

    def give(self) -> np.ndarray:
        return self.array


class Peer(ABC):
    """How a contender moves arrays. Three more methods are for those that can; the rows of the others are left out.

    ``store(array)`` returns what stands for a stored array in calls; ``empty(count)`` an array of float32, not filled,
    in the memory of the store; ``total()`` adds `OPERANDS` arrays that its actors keep and returns the sum, and the
    seconds from where they are results of calls that have ended, not fetched (or else from the first call) to the sum.
    """

    notes: ClassVar[dict[str, str]] = {}
    """What to say about a row, by the start of its key."""

    @abstractmethod
    async def take(self, worker: int, array: Any) -> int:
        """Call a method of a worker's actor that looks at the array, itself or a stored one."""

    @abstractmethod
    async def prepare(self, worker: int, megabytes: int) -> None:
        """Have a worker's actor keep an array."""

    @abstractmethod
    async def give(self, worker: int) -> np.ndarray:
        """Call a method of the actor that returns the array; return what arrives."""


Once = Callable[[], Awaitable[float]]


def rounds(megabytes: int) -> int:
    """Return how many transfers make a repetition that is neither tiny nor long."""
    return max(2, min(20, 200 // megabytes))


async def moved_in(peer: Any, megabytes: int) -> Once:
    """GB/s into one actor, calls one after another."""
    array = marked(megabytes)

    async def once() -> float:
        start = now()
        for _ in range(rounds(megabytes)):
            assert await peer.take(0, array) == array.nbytes
        return rounds(megabytes) * array.nbytes / (now() - start) / 1e9

    return once


async def moved_out(peer: Any, megabytes: int) -> Once:
    """GB/s out of one actor, calls one after another."""
    await peer.prepare(0, megabytes)

    async def once() -> float:
        start = now()
        moved = 0
        for _ in range(rounds(megabytes)):
            moved += look(await peer.give(0))
        return moved / (now() - start) / 1e9

    return once


async def stored(peer: Any, megabytes: int) -> Once:
    """Microseconds of a call with an array that was stored before."""
    reference = await peer.store(marked(megabytes))
    return partial(median_us, lambda: reference, peer)


async def allocated(peer: Any, megabytes: int) -> Once:
    """Microseconds of a call with an array allocated in the store's memory; filling it is not timed."""
    return partial(median_us, lambda: marked(megabytes, peer.empty(elements(megabytes))), peer)


async def touched(peer: Any, megabytes: int) -> Once:
    """Do the same with only both ends written to, so that the processor's caches stay warm."""

    def touch() -> np.ndarray:
        array = peer.empty(elements(megabytes))
        array[0], array[-1] = FIRST, LAST
        return array

    return partial(median_us, touch, peer)


async def filled(peer: Any, megabytes: int) -> Once:
    """Microseconds of a call with next to nothing after the same fill: the processor's caches are cold."""
    array, small = peer.empty(elements(megabytes)), marked(0, np.empty(2, np.float32))

    def fill() -> np.ndarray:
        marked(megabytes, array)
        return small

    return partial(median_us, fill, peer)


async def median_us(argument: Callable[[], Any], peer: Any) -> float:
    """Time calls one by one, each with what ``argument`` made before; the median."""
    times: list[float] = []
    end = now() + CALLS_S
    while len(times) < LEAST_CALLS or (len(times) < MOST_CALLS and now() < end):
        array = argument()
        start = now()
        await peer.take(0, array)
        times.append(now() - start)
    return statistics.median(times) * 1e6


async def both(peer: Any, megabytes: int) -> Once:
    """Milliseconds until the actors of both workers have looked at one array; storing it is included."""
    array = marked(megabytes)

    async def once() -> float:
        start = now()
        passed = await peer.store(array) if hasattr(peer, "store") else array
        found = await asyncio.gather(*[peer.take(worker, passed) for worker in range(WORKERS)])
        assert found == [array.nbytes] * WORKERS
        return (now() - start) * 1e3

    return once


async def reduced(peer: Any, megabytes: int) -> Once:
    """Milliseconds until arrays that the actors made are added, and their sum is here."""
    for worker in range(WORKERS):
        await peer.prepare(worker, megabytes)

    async def once() -> float:
        result, seconds = await peer.total()
        assert (result[0], result[-1]) == (OPERANDS * FIRST, OPERANDS * LAST)
        return seconds * 1e3

    return once


# For each row: what a contender needs for it, and what is done once and again.
ROWS: dict[str, tuple[str, Callable[[Any, int], Awaitable[Once]], int]] = {
    "array_in_1mb": ("take", moved_in, 1),
    "array_in_10mb": ("take", moved_in, 10),
    "array_in_100mb": ("take", moved_in, 100),
    "array_out_1mb": ("give", moved_out, 1),
    "array_out_10mb": ("give", moved_out, 10),
    "array_out_100mb": ("give", moved_out, 100),
    "stored_1mb_us": ("store", stored, 1),
    "stored_100mb_us": ("store", stored, 100),
    "stored_1gb_us": ("store", stored, 1000),
    "allocated_100mb_us": ("empty", allocated, 100),
    "allocated_1gb_us": ("empty", allocated, 1000),
    "touched_100mb_us": ("empty", touched, 100),
    "touched_1gb_us": ("empty", touched, 1000),
    "filled_100mb_us": ("empty", filled, 100),
    "filled_1gb_us": ("empty", filled, 1000),
    "both_100mb_ms": ("take", both, 100),
    "reduce_ms": ("total", reduced, OPERAND_MB),
}


async def measure_row(contender: tuple[str, str], row: str, peer: Any) -> None:
    """Measure one row of arrays, or say why the contender has none."""
    needed, action, megabytes = ROWS[row]
    if not hasattr(peer, needed):
        measure.skip(contender, row, f"it has no `{needed}`")
        return
    note = next((text for start, text in peer.notes.items() if row.startswith(start)), "")
    once = await action(peer, megabytes)
    measure.record(contender, row, await measure.repeat(once), note)
