"""mosaic's rows of arrays; workers import this module by name."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import mosaic
from benches.peers import arrays
from benches.peers.measure import now


@mosaic.tessera
class Arrays(arrays.Actor):
    """The actor, as a tessera."""


class ArrayPeer(arrays.Peer):
    """A tessera on each worker."""

    notes: ClassVar = {
        "stored": "runtime.put before",
        "allocated": "mosaic.empty, filled before",
        "both": "runtime.put included",
        "reduce": "runtime.reduce over tasks that have ended",
    }

    def __init__(self, runtime: mosaic.runtime.Runtime) -> None:
        self.runtime = runtime
        self.tesserae = [Arrays.remote(runtime=place) for place in runtime.workers]
        if hasattr(mosaic, "empty"):
            self.empty = lambda count: mosaic.empty(count, np.float32)

    async def take(self, worker: int, array: Any) -> int:
        return await self.tesserae[worker].take(array).result()

    async def prepare(self, worker: int, megabytes: int) -> None:
        await self.tesserae[worker].prepare(megabytes)

    async def give(self, worker: int) -> np.ndarray:
        return await self.tesserae[worker].give().result()

    async def store(self, array: np.ndarray) -> Any:
        return await self.runtime.put(array)

    async def total(self) -> tuple[np.ndarray, float]:
        tasks = [self.tesserae[i % arrays.WORKERS].give() for i in range(arrays.OPERANDS)]
        await mosaic.gather(tasks)
        start = now()
        total = await self.runtime.reduce(tasks)
        return total, now() - start


async def measure_row(
    contender: tuple[str, str], runtime: mosaic.runtime.Runtime, row: str
) -> None:
    """Measure one row."""
    await arrays.measure_row(contender, row, ArrayPeer(runtime))
