"""What a call is made of: processor time and wake-ups of a blocking one, the share of an array, asyncio's of a burst.

usage: python -m benches.anatomy [--calls N]
"""

from __future__ import annotations

import argparse
import asyncio
import pickle
import resource
import statistics
import timeit
from collections.abc import Generator
from pathlib import Path

import numpy as np

import mosaic
from benches.peers.measure import now

Spent = tuple[float, float, dict[str, int]]


def spent() -> Spent:
    """Return seconds of this process in its own code and in the kernel, and how often each thread has slept."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    sleeps: dict[str, int] = {}
    for thread in Path("/proc/self/task").iterdir():
        status = (thread / "status").read_text()
        name, count = (
            next(line.split()[1] for line in status.splitlines() if line.startswith(key))
            for key in ("Name:", "voluntary_ctxt_switches:")
        )
        sleeps[name] = sleeps.get(name, 0) + int(count)
    return usage.ru_utime, usage.ru_stime, sleeps


@mosaic.tessera
class Callee:
    """Does nothing."""

    def nothing(self) -> None:
        return None

    def take(self, value: object) -> None:
        return None

    def spent(self) -> Spent:
        """Return what its process has spent."""
        return spent()


def blocking(calls: int) -> None:
    """Show what one blocking call after another costs."""
    with mosaic.session(num_workers=1):
        callee = Callee.remote()
        for _ in range(calls // 10):
            callee.nothing().wait()
        before = {"worker": callee.spent().wait(), "driver": spent()}
        start = now()
        for _ in range(calls):
            callee.nothing().wait()
        taken = now() - start
        after = {"driver": spent(), "worker": callee.spent().wait()}
    print(f"a blocking call: {taken / calls * 1e6:.1f} µs")
    for process, (user, system, sleeps) in after.items():
        user_before, system_before, sleeps_before = before[process]
        print(
            f"  {process}: {(user - user_before) / calls * 1e6:.1f} µs of its own,"
            f" {(system - system_before) / calls * 1e6:.1f} µs in the kernel; sleeps a call: "
            + ", ".join(
                f"{name} {(count - sleeps_before.get(name, 0)) / calls:.2f}"
                for name, count in sleeps.items()
            )
        )


async def small(runtime: mosaic.runtime.Runtime, calls: int) -> None:
    """Show what a small array adds to a call in a burst, and what pickle takes for it alone."""
    callee = await Callee.remote()
    array = np.arange(3.0)

    async def burst(value: object) -> float:
        times = []
        for _ in range(7):
            start = now()
            await mosaic.gather([callee.take(value) for _ in range(calls)])
            times.append((now() - start) / calls * 1e6)
        return statistics.median(times)

    without, along = await burst(None), await burst(array)
    pickled = timeit.timeit(lambda: pickle.loads(pickle.dumps(array, 5)), number=calls) / calls
    print(
        f"a call in a burst: {without:.2f} µs; with an array of three numbers: {along:.2f} µs"
        f" (pickle alone: {pickled * 1e6:.2f} µs)"
    )


class Nothing:
    """Is done when it is awaited."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


async def gathered(make: object, calls: int) -> float:
    """Return the microseconds for each of many that are made and gathered by asyncio."""
    times = []
    for _ in range(7):
        start = now()
        await asyncio.gather(*[make() for _ in range(calls)])  # type: ignore[operator]
        times.append((now() - start) / calls * 1e6)
    return statistics.median(times)


async def burst(runtime: mosaic.runtime.Runtime, calls: int) -> None:
    """Show what of a call in a burst under `asyncio.gather` is asyncio's."""
    callee = await Callee.remote()
    ours = await gathered(callee.nothing, calls)
    theirs = await gathered(Nothing, calls)
    print(
        f"a call in a burst under asyncio.gather: {ours:.2f} µs; one that does nothing: {theirs:.2f} µs"
    )


def main() -> None:
    """Show all."""
    parser = argparse.ArgumentParser(prog="python -m benches.anatomy")
    parser.add_argument("--calls", type=int, default=20_000)
    arguments = parser.parse_args()
    blocking(arguments.calls)
    mosaic.run(small, 10_000, num_workers=1)
    mosaic.run(burst, 10_000, num_workers=1)


if __name__ == "__main__":
    main()
