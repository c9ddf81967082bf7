"""Ray: actors in two worker processes on this machine.

Runs in .bench/ray. Stored values and results lie in Ray's shared memory; who receives one looks into it, and cannot
write there. 200 actors are 200 processes, and have no row.

usage: python -m benches.peers.ray_peer ROW | serve | lifecycle
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray

from benches.peers import arrays, measure
from benches.peers.measure import now

RAY = ("ray", ray.__version__)

# Nine arrays of 1 GB are more than any row keeps.
STORE_BYTES = 9 * 10**9


@ray.remote
class Plain(arrays.Actor):
    """Answers with plain methods; takes and gives arrays."""

    def nothing(self) -> None:
        return None

    def length(self, data: bytes) -> int:
        return len(data)

    def increment(self, value: int) -> int:
        return value + 1


@ray.remote
class Async:
    """Answers with an async method."""

    async def nothing(self) -> None:
        return None


def start() -> list[Any]:
    """Start Ray with an actor in each of two workers, and wait for their first answers."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
        object_store_memory=STORE_BYTES,
    )
    actors = [Plain.remote() for _ in range(2)]
    ray.get([actor.nothing.remote() for actor in actors])
    return actors


class ArrayPeer(arrays.Peer):
    """Arrays go through the store."""

    notes: ClassVar = {
        "stored": "ray.put before",
        "both": "ray.put included",
        "reduce": "np.add in the driver over the results, which lie in shared memory",
    }

    def __init__(self, actors: list[Any]) -> None:
        self.actors = actors

    async def take(self, worker: int, array: Any) -> int:
        return await self.actors[worker].take.remote(array)

    async def prepare(self, worker: int, megabytes: int) -> None:
        await self.actors[worker].prepare.remote(megabytes)

    async def give(self, worker: int) -> np.ndarray:
        return await self.actors[worker].give.remote()

    async def store(self, array: np.ndarray) -> Any:
        return ray.put(array)

    async def total(self) -> tuple[np.ndarray, float]:
        results = [self.actors[i % arrays.WORKERS].give.remote() for i in range(arrays.OPERANDS)]
        ray.wait(results, num_returns=len(results), fetch_local=False)
        start = now()
        first, second, *rest = ray.get(results)
        total = np.add(first, second)
        for array in rest:
            np.add(total, array, out=total)
        return total, now() - start


class Driver:
    """Two actors, and what is measured on them."""

    def __init__(self) -> None:
        self.actors = start()

    async def call(self) -> float:
        nothing = self.actors[0].nothing
        return await measure.microseconds_a_call(nothing.remote)

    def burst(self, call: Callable[[], Any], own: bool) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            start = now()
            calls = [call() for _ in range(measure.BURST_CALLS)]
            if own:
                ray.get(calls)
            else:
                await asyncio.gather(*calls)
            return measure.BURST_CALLS / (now() - start)

        return once

    async def chain(self) -> float:
        start = now()
        value = self.actors[0].increment.remote(0)
        for index in range(1, measure.CHAIN):
            value = self.actors[index % 2].increment.remote(value)
        assert await value == measure.CHAIN
        return (now() - start) * 1e3

    async def map_single(self) -> float:
        start = now()
        calls = [self.actors[item % 2].increment.remote(item) for item in range(measure.ITEMS)]
        assert ray.get(calls) == list(range(1, measure.ITEMS + 1))
        return measure.ITEMS / (now() - start)

    def once(self, row: str) -> tuple[Callable[[], Awaitable[float]], str] | None:
        """Return what one repetition of a row does, and what to note beside it."""
        name, _, gather = row.rpartition("_")
        own = gather == "own"
        actor = self.actors[0]
        if name == "burst":
            return self.burst(actor.nothing.remote, own), "ray.get" if own else ""
        if name == "burst_1k":
            return self.burst(lambda: actor.length.remote(measure.PAYLOAD), own), ""
        if name == "burst_async_def":
            return self.burst(Async.remote().nothing.remote, own), ""
        return {
            "call_async_us": (self.call, ""),
            "chain_ms": (self.chain, "references as arguments"),
            "map_single": (self.map_single, "a call an item, all sent at once"),
        }.get(row)


async def measure_row(row: str) -> None:
    """Measure one row, if there is something to measure."""
    driver = Driver()
    if row in measure.ARRAY_ROWS:
        await arrays.measure_row(RAY, row, ArrayPeer(driver.actors))
    elif row == "call_blocking_us":
        nothing = driver.actors[0].nothing
        values = measure.repeat_blocking(
            lambda: measure.microseconds_a_blocking_call(lambda: ray.get(nothing.remote()))
        )
        measure.record(RAY, row, values)
    elif found := driver.once(row):
        once, note = found
        measure.record(RAY, row, await measure.repeat(once), note)
    ray.shutdown()


async def serve() -> None:
    """Be the child of `measure.lifecycle`."""
    start()

    async def stop() -> None:
        ray.shutdown()

    await measure.serve(stop)


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(serve())
        case ["lifecycle"]:
            measure.lifecycle(RAY, "benches.peers.ray_peer")
        case ["create" | "map_chunked"]:
            pass
        case [row]:
            asyncio.run(measure_row(row))


if __name__ == "__main__":
    main()
