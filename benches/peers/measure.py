"""Repetition, process-tree accounting and the record of one figure.

Standard library only: a contender's own environment has nothing else of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

now = time.perf_counter

# How much of everything; the same for every contender.
REPETITIONS = 5
SEQUENTIAL_CALLS = 2_000
BURST_CALLS = 10_000
PAYLOAD = os.urandom(1024)
CHAIN = 100
ACTORS = 200
ITEMS = 1_000

# Idle figures: the tree is left alone for the first, watched for the second.
SETTLE_S = 1.0
WATCH_S = 2.0


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    title: str
    unit: str
    more_is_better: bool = False


# The first five come from one measurement, made from outside; see `lifecycle`.
LIFECYCLE = (
    Row("start_s", "start, 2 workers, first answers", "s"),
    Row("stop_s", "stop, until the last process is gone", "s"),
    Row("idle_pss_mb", "memory idle, whole tree, PSS", "MB"),
    Row("processes", "processes, driver included", ""),
    Row("idle_cpu_pct", "CPU idle, whole tree", "% of a core"),
)
CALLS = (
    Row("call_async_us", "one call after another, asyncio driver", "µs"),
    Row("call_blocking_us", "one call after another, blocking driver", "µs"),
    Row("burst_own", "10,000 calls on one actor, own gather", "1/s", True),
    Row("burst_asyncio", "10,000 calls on one actor, `asyncio.gather`", "1/s", True),
    Row("burst_1k_own", "the same with 1 KB of bytes, own gather", "1/s", True),
    Row("burst_1k_asyncio", "the same with 1 KB of bytes, `asyncio.gather`", "1/s", True),
    Row("burst_async_def_own", "the same, `async def` method, own gather", "1/s", True),
    Row("burst_async_def_asyncio", "the same, `async def` method, `asyncio.gather`", "1/s", True),
    Row("chain_ms", "chain of 100 calls over two workers", "ms"),
    Row("create", "200 actors made and answering", "1/s", True),
    Row("map_single", "map of 1,000 trivial items, one at a time", "items/s", True),
    Row("map_chunked", "map of 1,000 trivial items, chunked", "items/s", True),
)
# What is timed is in `benches.peers.arrays`, which needs numpy.
ARRAYS = (
    Row("array_in_1mb", "1 MB array as an argument", "GB/s", True),
    Row("array_in_10mb", "10 MB array as an argument", "GB/s", True),
    Row("array_in_100mb", "100 MB array as an argument", "GB/s", True),
    Row("array_out_1mb", "1 MB array as a result", "GB/s", True),
    Row("array_out_10mb", "10 MB array as a result", "GB/s", True),
    Row("array_out_100mb", "100 MB array as a result", "GB/s", True),
    Row("stored_1mb_us", "call with a stored array of 1 MB", "µs"),
    Row("stored_100mb_us", "call with a stored array of 100 MB", "µs"),
    Row("stored_1gb_us", "call with a stored array of 1 GB", "µs"),
    Row("allocated_100mb_us", "call with an array allocated by the store, 100 MB", "µs"),
    Row("allocated_1gb_us", "call with an array allocated by the store, 1 GB", "µs"),
    Row("touched_100mb_us", "the same, not filled but touched, 100 MB", "µs"),
    Row("touched_1gb_us", "the same, not filled but touched, 1 GB", "µs"),
    Row("filled_100mb_us", "call with nothing after such a fill of 100 MB", "µs"),
    Row("filled_1gb_us", "call with nothing after such a fill of 1 GB", "µs"),
    Row("both_100mb_ms", "100 MB array to both workers", "ms"),
    Row("reduce_ms", "sum of eight arrays of 100 MB", "ms"),
)
ROWS = (*LIFECYCLE, *CALLS, *ARRAYS)
ARRAY_ROWS = frozenset(row.key for row in ARRAYS)
TITLES = {row.key: row for row in ROWS}


@dataclass(frozen=True)
class Figure:
    """A row's value for one contender: the median of the repetitions, and what it is worth."""

    contender: str
    version: str
    row: str
    unit: str
    median: float
    lowest: float
    highest: float
    repetitions: int
    note: str
    load: float
    time: float


def record(
    contender: tuple[str, str], row: str, values: list[float], note: str = ""
) -> dict[str, object]:
    """Make the JSON object of one figure and print it for whoever started this process."""
    name, version = contender
    figure = asdict(
        Figure(
            contender=name,
            version=version,
            row=row,
            unit=TITLES[row].unit,
            median=statistics.median(values),
            lowest=min(values),
            highest=max(values),
            repetitions=len(values),
            note=note,
            load=round(os.getloadavg()[0], 2),
            time=round(time.time(), 1),
        )
    )
    print(json.dumps(figure, ensure_ascii=False), flush=True)
    return figure


def skip(contender: tuple[str, str], row: str, why: str) -> None:
    """Tell whoever started this process that a row is left out."""
    print(json.dumps({"row": row, "contender": contender[0], "skipped": why}), flush=True)


async def repeat(once: Callable[[], Awaitable[float]]) -> list[float]:
    """Run once to warm up and then for the record."""
    await once()
    return [await once() for _ in range(REPETITIONS)]


def repeat_blocking(once: Callable[[], float]) -> list[float]:
    """Run once to warm up and then for the record."""
    once()
    return [once() for _ in range(REPETITIONS)]


async def microseconds_a_call(call: Callable[[], Awaitable[object]]) -> float:
    """Time calls that wait for one another; the median, in microseconds."""
    times = []
    for _ in range(SEQUENTIAL_CALLS):
        start = now()
        await call()
        times.append(now() - start)
    return statistics.median(times) * 1e6


def microseconds_a_blocking_call(call: Callable[[], object]) -> float:
    """Time blocking calls that wait for one another; the median, in microseconds."""
    times = []
    for _ in range(SEQUENTIAL_CALLS):
        start = now()
        call()
        times.append(now() - start)
    return statistics.median(times) * 1e6


# ------------------------------------------------------------------------------------ from outside


def tree(root: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(stat[1]), []).append(int(name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def pss_mb(pids: list[int]) -> float:
    """Memory of these processes; what n of them share counts a n-th for each."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def cpu_s(pids: list[int]) -> float:
    """Seconds on a core so far, to the nanosecond where the kernel tells (threads alive now)."""
    total = 0.0
    for pid in pids:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                schedule = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()
                total += int(schedule[0]) / 1e9
    return total


def lifecycle(contender: tuple[str, str], module: str, note: str = "") -> None:
    """Start ``python -m MODULE serve`` again and again, and look at it from outside.

    The child prints READY when both workers have answered, and stops at the end of its input.
    """
    values: dict[str, list[float]] = {row.key: [] for row in LIFECYCLE}
    for repetition in range(REPETITIONS + 1):
        start = now()
        with subprocess.Popen(
            [sys.executable, "-m", module, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            for line in child.stdout:
                if line.strip() == b"READY":
                    break
            else:
                raise RuntimeError(f"{module} serve ended before it was ready: {child.wait()}")
            figures = [now() - start]
            time.sleep(SETTLE_S)
            pids = tree(child.pid)
            before, watched_from = cpu_s(pids), now()
            time.sleep(WATCH_S)
            idle = 100 * (cpu_s(pids) - before) / (now() - watched_from)
            memory = pss_mb(pids)
            ends = [os.pidfd_open(pid) for pid in pids]
            start = now()
            child.stdin.close()
            child.wait(60)
            for end in ends:
                wait_for_end(end, 60)
            figures += [now() - start, memory, float(len(pids)), idle]
        if repetition:  # the first one warms the page cache
            for row, value in zip(LIFECYCLE, figures, strict=True):
                values[row.key].append(value)
    for row in LIFECYCLE:
        record(contender, row.key, values[row.key], note)


def wait_for_end(pidfd: int, limit_s: float) -> None:
    """Wait until a process has ended, whoever its parent is."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    ended = poll.poll(limit_s * 1000)
    os.close(pidfd)
    if not ended:
        raise TimeoutError(f"a process was still there {limit_s} s after the stop")


async def serve(stop: Callable[[], Awaitable[None]]) -> None:
    """Be the child of `lifecycle`, from the moment both workers have answered."""
    print("READY", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await stop()
