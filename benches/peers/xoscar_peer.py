"""xoscar: an actor pool with two sub-processes on this machine, asyncio driver.

Runs in .bench/xoscar. xoscar has no blocking driver, and its arguments are values: results of a
chain go through the driver, and a map is a call an item.

usage: python -m benches.peers.xoscar_peer ROW | serve | lifecycle
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import ClassVar

import numpy as np
import xoscar

from benches.peers import arrays, measure
from benches.peers.measure import now

XOSCAR = ("xoscar", metadata.version("xoscar"))


class Plain(xoscar.Actor):
    """Answers with plain methods."""

    def nothing(self) -> None:
        return None

    def length(self, data: bytes) -> int:
        return len(data)

    @xoscar.extensible
    def increment(self, value: int) -> int:
        return value + 1


class Arrays(arrays.Actor, xoscar.Actor):
    """The actor, as one of xoscar's."""


class Async(xoscar.Actor):
    """Answers with an async method."""

    async def nothing(self) -> None:
        return None


class Driver:
    """A pool, an actor on each of its two processes, and what is measured on them."""

    _numbers = itertools.count()

    @classmethod
    async def start(cls) -> Driver:
        self = cls()
        self.pool = await xoscar.create_actor_pool("127.0.0.1:0", n_process=2)
        self.places = list(self.pool.sub_processes)
        self.actors = [await self.make(Plain, index) for index in range(2)]
        for actor in self.actors:
            await actor.nothing()
        return self

    async def stop(self) -> None:
        await self.pool.stop()

    async def make(self, kind: type[xoscar.Actor], index: int) -> xoscar.ActorRef:
        place = self.places[index % len(self.places)]
        return await xoscar.create_actor(kind, address=place, uid=f"actor-{next(self._numbers)}")

    async def call(self) -> float:
        return await measure.microseconds_a_call(self.actors[0].nothing)

    async def burst(self, call: Callable[[], Awaitable[object]]) -> float:
        start = now()
        await asyncio.gather(*[call() for _ in range(measure.BURST_CALLS)])
        return measure.BURST_CALLS / (now() - start)

    async def burst_plain(self) -> float:
        return await self.burst(self.actors[0].nothing)

    async def burst_1k(self) -> float:
        return await self.burst(lambda: self.actors[0].length(measure.PAYLOAD))

    async def burst_async_def(self) -> float:
        actor = await self.make(Async, 0)
        speed = await self.burst(actor.nothing)
        await xoscar.destroy_actor(actor)
        return speed

    async def chain(self) -> float:
        start, value = now(), 0
        for index in range(measure.CHAIN):
            value = await self.actors[index % 2].increment(value)
        assert value == measure.CHAIN
        return (now() - start) * 1e3

    async def create(self) -> float:
        start = now()
        actors = await asyncio.gather(*[self.make(Plain, i) for i in range(measure.ACTORS)])
        await asyncio.gather(*[actor.nothing() for actor in actors])
        speed = measure.ACTORS / (now() - start)
        await asyncio.gather(*[xoscar.destroy_actor(actor) for actor in actors])
        return speed

    async def map_single(self) -> float:
        start = now()
        results = await asyncio.gather(
            *[self.actors[item % 2].increment(item) for item in range(measure.ITEMS)]
        )
        assert results == list(range(1, measure.ITEMS + 1))
        return measure.ITEMS / (now() - start)

    async def map_chunked(self) -> float:
        half = measure.ITEMS // 2
        start = now()
        halves = await asyncio.gather(
            *[
                actor.increment.batch(
                    *[actor.increment.delay(item) for item in range(first, first + half)]
                )
                for actor, first in zip(self.actors, (0, half), strict=True)
            ]
        )
        assert [*halves[0], *halves[1]] == list(range(1, measure.ITEMS + 1))
        return measure.ITEMS / (now() - start)


class ArrayPeer(arrays.Peer):
    """Arrays are values that go through sockets; there is no store."""

    notes: ClassVar = {
        "both": "two calls at once",
        "reduce": "eight calls, then np.add in the driver",
    }

    def __init__(self, actors: list[xoscar.ActorRef]) -> None:
        self.actors = actors

    async def take(self, worker: int, array: np.ndarray) -> int:
        return await self.actors[worker].take(array)

    async def prepare(self, worker: int, megabytes: int) -> None:
        await self.actors[worker].prepare(megabytes)

    async def give(self, worker: int) -> np.ndarray:
        return await self.actors[worker].give()

    async def total(self) -> tuple[np.ndarray, float]:
        start = now()
        first, *rest = await asyncio.gather(
            *[self.give(i % arrays.WORKERS) for i in range(arrays.OPERANDS)]
        )
        total = first.copy()
        for array in rest:
            np.add(total, array, out=total)
        return total, now() - start


ROWS: dict[str, tuple[Callable[[Driver], Awaitable[float]], str]] = {
    "call_async_us": (Driver.call, ""),
    "burst_asyncio": (Driver.burst_plain, ""),
    "burst_1k_asyncio": (Driver.burst_1k, ""),
    "burst_async_def_asyncio": (Driver.burst_async_def, ""),
    "chain_ms": (Driver.chain, "each result goes through the driver"),
    "create": (Driver.create, ""),
    "map_single": (Driver.map_single, "a call an item, all sent at once"),
    "map_chunked": (Driver.map_chunked, "one batch message an actor"),
}


async def measure_row(row: str) -> None:
    """Measure one row, if xoscar has it."""
    if row in arrays.ROWS:
        driver = await Driver.start()
        actors = [await driver.make(Arrays, index) for index in range(arrays.WORKERS)]
        await arrays.measure_row(XOSCAR, row, ArrayPeer(actors))
        await driver.stop()
        return
    if row not in ROWS:
        return
    once, note = ROWS[row]
    driver = await Driver.start()
    measure.record(XOSCAR, row, await measure.repeat(lambda: once(driver)), note)
    await driver.stop()


async def serve() -> None:
    """Be the child of `measure.lifecycle`."""
    driver = await Driver.start()
    await measure.serve(driver.stop)


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(serve())
        case ["lifecycle"]:
            measure.lifecycle(XOSCAR, "benches.peers.xoscar_peer")
        case [row]:
            asyncio.run(measure_row(row))


if __name__ == "__main__":
    main()
