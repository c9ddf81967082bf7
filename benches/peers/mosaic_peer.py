"""mosaic through its public interface: two workers on this machine.

Calls are timed to their values (`.result()`, `.wait()`), bursts to the end of all their tasks.

usage: python -m benches.peers.mosaic_peer ROW | serve | lifecycle
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import mosaic
from benches.peers import measure
from benches.peers.echo_tessera import Echo, increment
from benches.peers.measure import now

MOSAIC = ("mosaic", mosaic.__version__)
WORKERS = 2


class Driver:
    """A runtime, a tessera on each of its two workers, and what is measured on them."""

    def __init__(self, runtime: mosaic.runtime.Runtime) -> None:
        self.runtime = runtime
        self.places = list(runtime.workers)
        self.tesserae = [Echo.remote(runtime=place) for place in self.places]

    async def ready(self) -> None:
        for tessera in self.tesserae:
            await tessera.nothing().result()

    async def call(self) -> float:
        nothing = self.tesserae[0].nothing
        return await measure.microseconds_a_call(lambda: nothing().result())

    def burst(
        self, method: str, arguments: tuple[bytes, ...], own: bool
    ) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            call = getattr(self.tesserae[0], method)
            start = now()
            tasks = [call(*arguments) for _ in range(measure.BURST_CALLS)]
            await (mosaic.gather(tasks) if own else asyncio.gather(*tasks))
            return measure.BURST_CALLS / (now() - start)

        return once

    async def chain(self) -> float:
        start = now()
        task = self.tesserae[0].increment(0)
        for index in range(1, measure.CHAIN):
            task = self.tesserae[index % WORKERS].increment(task)
        assert await task.result() == measure.CHAIN
        return (now() - start) * 1e3

    async def create(self) -> float:
        start = now()
        tesserae = [Echo.remote(runtime=self.places[i % WORKERS]) for i in range(measure.ACTORS)]
        await mosaic.gather([tessera.nothing() for tessera in tesserae])
        speed = measure.ACTORS / (now() - start)
        await asyncio.gather(*[tessera.stop() for tessera in tesserae])
        return speed

    def map(self, **options: int) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            start = now()
            results = await self.runtime.map(increment, range(measure.ITEMS), **options)
            speed = measure.ITEMS / (now() - start)
            assert list(results) == list(range(1, measure.ITEMS + 1))
            return speed

        return once

    def once(self, row: str) -> tuple[Callable[[], Awaitable[float]], str] | None:
        """Return what one repetition of a row does, and what to note beside it."""
        bursts = {
            "burst": ("nothing", ()),
            "burst_1k": ("length", (measure.PAYLOAD,)),
            "burst_async_def": ("nothing_async", ()),
        }
        name, _, gather = row.rpartition("_")
        if name in bursts:
            method, arguments = bursts[name]
            return self.burst(method, arguments, gather == "own"), f"{gather} gather"
        return {
            "call_async_us": (self.call, ""),
            "chain_ms": (self.chain, "tasks as arguments"),
            "create": (self.create, ""),
            "map_single": (self.map(chunksize=1), "chunksize=1"),
            "map_chunked": (self.map(), "chunksize left to mosaic"),
        }.get(row)


async def measure_row(runtime: mosaic.runtime.Runtime, row: str) -> None:
    """Measure one row of an asyncio driver."""
    driver = Driver(runtime)
    await driver.ready()
    found = driver.once(row)
    if found:
        once, note = found
        measure.record(MOSAIC, row, await measure.repeat(once), note)


def measure_blocking() -> None:
    """Measure the row of a synchronous script."""
    with mosaic.session(num_workers=WORKERS):
        tessera = Echo.remote()
        tessera.nothing().wait()
        values = measure.repeat_blocking(
            lambda: measure.microseconds_a_blocking_call(lambda: tessera.nothing().wait())
        )
        measure.record(MOSAIC, "call_blocking_us", values)


def serve() -> None:
    """Be the child of `measure.lifecycle`."""

    async def run(runtime: mosaic.runtime.Runtime) -> None:
        await Driver(runtime).ready()

        async def stop() -> None:
            """Nothing to do: `mosaic.run` stops everything when this returns."""

        await measure.serve(stop)

    mosaic.run(run, num_workers=WORKERS)


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["lifecycle"]:
            measure.lifecycle(MOSAIC, "benches.peers.mosaic_peer")
        case ["call_blocking_us"]:
            measure_blocking()
        case [row] if row in measure.ARRAY_ROWS:
            from benches.peers import mosaic_arrays  # numpy: not for the other rows

            mosaic.run(
                lambda runtime: mosaic_arrays.measure_row(MOSAIC, runtime, row),
                num_workers=WORKERS,
            )
        case [row]:
            mosaic.run(lambda runtime: measure_row(runtime, row), num_workers=WORKERS)


if __name__ == "__main__":
    main()
