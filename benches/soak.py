"""Whether memory stays where it was: calls, failures, time-outs, waits given up, arrays and deaths, for minutes.

After each minute the program comes to rest and the proportional set size of every process is read: the driver, each
worker, and what started them. The end may be at most 10 MB above the end of the first minute, in the driver and over
all. A worker is killed at the beginning of each minute, so that its replacement has warmed up by the end of it.

usage: python -m benches.soak [--minutes 10] [--workers 2] [--limit-mb 10]

Ends with 1 where memory has grown by more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys
from pathlib import Path
from time import monotonic

import numpy as np
import psutil

import mosaic

MINUTE = 60.0
ARRAY = 1 << 17
"""Elements of the arrays that are passed: a megabyte."""


class CarryingError(Exception):
    """Refers to a tessera and to a stored value."""


@mosaic.tessera
class Leaf:
    """Is referred to."""

    def ping(self) -> int:
        return 1


@mosaic.tessera
class Gate:
    """Never opens."""

    async def wait(self) -> None:
        await asyncio.Event().wait()


@mosaic.tessera
class Worker:
    """Does a bit of everything."""

    def add(self, one: int, other: int) -> int:
        return one + other

    def fail(self) -> None:
        raise ValueError("no")

    async def carry(self) -> None:
        raise CarryingError(await Leaf.remote(), await mosaic.runtime().put(3))

    async def large(self) -> list[object]:
        return [await Leaf.remote(), np.ones(ARRAY)]

    def total(self, array: np.ndarray) -> float:
        return float(array.sum())

    def make(self, value: float) -> np.ndarray:
        return np.full(ARRAY, value)

    def collect(self) -> int:
        return gc.collect()

    def pid(self) -> int:
        return os.getpid()


async def _calls(worker: Worker) -> None:
    values = await mosaic.gather([worker.add(i, 1) for i in range(500)]).result()
    assert values == list(range(1, 501))


async def _failures(worker: Worker) -> None:
    for waits in (
        [worker.fail().result() for _ in range(20)],
        [worker.fail() for _ in range(20)],
        [asyncio.wait_for(worker.fail().result(), 30) for _ in range(20)],
    ):
        errors = await asyncio.gather(*waits, return_exceptions=True)
        assert all(type(error) is ValueError for error in errors)
    with contextlib.suppress(ValueError):
        await mosaic.gather([worker.add(1, 2), worker.fail()]).result()
    (carried,) = await asyncio.gather(worker.carry().result(), return_exceptions=True)
    leaf, ref = carried.args
    assert await leaf.ping().result() == 1
    assert await ref.value() == 3


async def _time_limits(worker: Worker, waiting: mosaic.TaskProxy) -> None:
    await mosaic.gather([worker.add(i, 1, timeout=3600) for i in range(200)])
    with contextlib.suppress(TimeoutError):
        await (await Gate.remote()).wait(timeout=0.01)
    for _ in range(20):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiting.result(), 0.0005)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(mosaic.gather([waiting, worker.add(1, 1)]).result(), 0.0005)
        await asyncio.wait([asyncio.ensure_future(worker.add(1, 1)), waiting.done], timeout=0.0005)
    cancelled = (await Gate.remote()).wait()
    cancelled.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await cancelled


async def _arrays(runtime: mosaic.Runtime, worker: Worker) -> None:
    array = np.full(ARRAY, 2.0)
    assert await worker.total(array).result() == 2.0 * ARRAY
    made = worker.make(3.0)
    assert await worker.total(made).result() == 3.0 * ARRAY
    assert (await made.result())[0] == 3.0
    ref = await runtime.put(array)
    for _ in range(3):
        value = await ref.value()
        value[0] += 1
        assert value[0] == 3.0
    assert await worker.total(ref).result() == 2.0 * ARRAY
    await ref.drop()
    leaf, values = await worker.large().result()
    assert await leaf.ping().result() == 1
    assert values[0] == 1.0
    counted = await runtime.map(abs, range(-200, 0))
    assert counted[0] == 200


async def _death(runtime: mosaic.Runtime) -> None:
    uids = {worker.uid for worker in runtime.workers}
    victim = min(uids)
    worker, gate = await Worker.remote(runtime=victim), await Gate.remote(runtime=victim)
    pending = gate.wait()
    os.kill(await worker.pid().result(), signal.SIGKILL)
    try:
        await pending
    except mosaic.errors.RuntimeDisconnectedError:
        pass
    else:
        raise AssertionError("the call of a worker that was killed has ended well")
    await runtime.wait_for_workers(len(uids))


async def _minute(runtime: mosaic.Runtime, end: float) -> int:
    await _death(runtime)
    workers = [await Worker.remote(runtime=worker.uid) for worker in runtime.workers]
    gates = [await Gate.remote(runtime=worker.uid) for worker in runtime.workers]
    waiting = [gate.wait() for gate in gates]
    rounds = 0
    while monotonic() < end:
        for worker, wait in zip(workers, waiting, strict=True):
            await _calls(worker)
            await _failures(worker)
            await _time_limits(worker, wait)
            await _arrays(runtime, worker)
        rounds += 1
    for wait in waiting:
        wait.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for worker in workers:
        await worker.collect()
    return rounds


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _measure() -> tuple[float, float]:
    """Return the megabytes of this process, and of all that it started with it."""
    gc.collect()
    own = _pss_mb(os.getpid())
    total = own
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(OSError):
            total += _pss_mb(process.pid)
    return own, total


async def soak(runtime: mosaic.Runtime, minutes: int, limit: float) -> int:
    """Run for that many minutes, and tell whether memory is where it was after the first."""
    first = own = total = 0.0, 0.0
    start = monotonic()
    print("minute   rounds   driver MB   all MB", flush=True)
    for minute in range(1, minutes + 1):
        rounds = await _minute(runtime, start + minute * MINUTE)
        # What goes back to the system does so a moment after its last use.
        await asyncio.sleep(1)
        own, total = _measure()
        if minute == 1:
            first = own, total
        print(f"{minute:6}   {rounds:6}   {own:9.1f}   {total:6.1f}", flush=True)
    grown = own - first[0], total - first[1]
    print(f"since the first minute: {grown[0]:+.1f} MB in the driver, {grown[1]:+.1f} MB in all")
    if max(grown) > limit:
        print(f"that is more than {limit:g} MB", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit-mb", type=float, default=10.0)
    options = parser.parse_args()
    # Memory that the store keeps warm for the next array is not what is looked for.
    os.environ.setdefault("MOSAIC_WAREHOUSE_IDLE", "0.2")
    return mosaic.run(
        lambda runtime: soak(runtime, options.minutes, options.limit_mb),
        num_workers=options.workers,
    )


if __name__ == "__main__":
    sys.exit(main())
