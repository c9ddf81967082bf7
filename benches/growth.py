"""How cost grows: calls among more and more tesserae, and more and more calls pending.

The cost of a call must not depend on how many tesserae or tasks there are. Each step runs in a
process of its own, so that memory of one does not hide in another.

    tesserae   1 … 10,000 tesserae on two workers: made; then 10,000 calls spread over all of them
    references 1 k … 100 k stored values: small ones, then arrays of 128 KiB in the store
    pending    1 k … 1 M calls waiting behind one that does not end: microseconds to submit one,
               bytes in the caller for one, calls a second when the way is free

usage: python -m benches.growth [--only tesserae|references|pending] [--largest N]

Every step is taken three times, and the median of each figure counts. They are written into `benches/README.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import mosaic
from benches.peers.measure import now, pss_mb
from benches.peers.table import number, replace

ROOT = Path(__file__).parents[1]
README = ROOT / "benches" / "README.md"
TESSERAE = (1, 10, 100, 1_000, 10_000)
REFERENCES = (1_000, 10_000, 100_000)
PENDING = (1_000, 10_000, 100_000, 1_000_000)
CALLS = 10_000
STEP_LIMIT_S = 300


@mosaic.tessera
class Gate:
    """Answers; or waits until somebody opens the gate."""

    def nothing(self) -> None:
        return None

    def wait_at(self, gate: str) -> None:
        """Block until the other end of a named pipe is opened and closed."""
        Path(gate).read_bytes()


async def measure_tesserae(runtime: mosaic.runtime.Runtime, count: int) -> dict[str, float]:
    """Measure making that many tesserae, and calls spread over them."""
    places = list(runtime.workers)
    await Gate.remote().nothing()  # the first one pays for imports
    start = now()
    tesserae = [Gate.remote(runtime=places[i % len(places)]) for i in range(count)]
    await mosaic.gather([tessera.nothing() for tessera in tesserae])
    made = now() - start
    start = now()
    await mosaic.gather([tesserae[i % count].nothing() for i in range(CALLS)])
    called = now() - start
    return {"made_per_s": count / made, "call_us": called / CALLS * 1e6}


async def measure_references(runtime: mosaic.runtime.Runtime, count: int) -> dict[str, float]:
    """Measure that many small values held at once, and a tenth as many arrays in the store."""
    small = await _hold(list(range(count)), runtime)
    large = await _hold([np.zeros(16_384)] * (count // 10), runtime)
    return {
        "put_us": small[0],
        "bytes_each": small[1],
        "array_put_us": large[0],
        # Beyond the array's own bytes, which are shared memory.
        "array_bytes_each": large[1] - 131_072,
    }


async def _hold(values: list[object], runtime: mosaic.runtime.Runtime) -> tuple[float, float]:
    """Return the microseconds to store one, and the bytes in the driver for one."""
    before = pss_mb([os.getpid()])
    start = now()
    references = [runtime.put(value) for value in values]
    assert await references[-1].value() is not None
    taken = now() - start
    after = pss_mb([os.getpid()])
    return taken / len(values) * 1e6, (after - before) * 2**20 / len(values)


async def measure_pending(runtime: mosaic.runtime.Runtime, count: int) -> dict[str, float]:
    """Measure that many calls pending behind one that does not end."""
    tessera = Gate.remote(runtime=next(iter(runtime.workers)))
    await tessera.nothing()
    with tempfile.TemporaryDirectory(prefix="growth-") as directory:
        gate = str(Path(directory) / "gate")
        os.mkfifo(gate)
        blocked = tessera.wait_at(gate)
        before = pss_mb([os.getpid()])
        tasks = []
        start = now()
        try:
            for _ in range(count):
                tasks.append(tessera.nothing())
        except mosaic.BackpressureError:
            pass  # the bound was reached: the figures say how many that is
        submitted = now() - start
        after = pss_mb([os.getpid()])
        start = now()
        os.close(os.open(gate, os.O_WRONLY))  # at once: the other end waits for it
        await blocked
        await mosaic.gather(tasks)
        drained = now() - start
    return {
        "accepted": len(tasks),
        "submit_us": submitted / len(tasks) * 1e6,
        "bytes_each": (after - before) * 2**20 / len(tasks),
        "drained_per_s": len(tasks) / drained,
    }


STEPS = {
    "tesserae": (TESSERAE, measure_tesserae),
    "references": (REFERENCES, measure_references),
    "pending": (PENDING, measure_pending),
}

REPEATS = 3

# What a figure is called in the table.
TITLES = {
    "made_per_s": "made and answering, 1/s",
    "call_us": "a call, µs",
    "put_us": "to store one, µs",
    "bytes_each": "memory in the driver for one, bytes",
    "array_put_us": "to store an array of 128 KiB (a tenth as many), µs",
    "array_bytes_each": "memory in the driver for one beside its bytes, bytes",
    "accepted": "accepted",
    "submit_us": "to submit one, µs",
    "drained_per_s": "done when the way is free, 1/s",
}


def step(name: str, count: int) -> None:
    """Measure one step in this process and print its figures."""
    measure = STEPS[name][1]
    figures = mosaic.run(lambda runtime: measure(runtime, count), num_workers=2)
    print(json.dumps(figures))


def repeat(name: str, count: int) -> dict[str, float]:
    """Take a step in processes of its own; return the median of each figure."""
    # Imported, not run as the program: workers find `Gate` under this module's name.
    program = f"from benches.growth import step; step({name!r}, {count})"
    rounds = []
    for _ in range(REPEATS):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            timeout=STEP_LIMIT_S,
            check=True,
        )
        rounds.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def render(measured: dict[str, dict[int, dict[str, float]]]) -> str:
    """Return the figures as Markdown, a table a subject."""
    lines = []
    for name, steps in measured.items():
        lines += [f"| {name} | {' | '.join(f'{count:,}' for count in steps)} |"]
        lines += ["|---|" + "---:|" * len(steps)]
        for key in next(iter(steps.values())):
            cells = [number(figures[key]) for figures in steps.values()]
            lines.append(f"| {TITLES[key]} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Go through the steps; then write the tables, if none was left out."""
    parser = argparse.ArgumentParser(prog="python -m benches.growth")
    parser.add_argument("--only", choices=STEPS)
    parser.add_argument("--largest", type=int, default=1_000_000)
    arguments = parser.parse_args()
    measured: dict[str, dict[int, dict[str, float]]] = {}
    for name in [arguments.only] if arguments.only else STEPS:
        for count in STEPS[name][0]:
            if count > arguments.largest:
                continue
            try:
                figures = repeat(name, count)
            except subprocess.SubprocessError as error:
                print(f"{name:10} {count:>9,}  {error}", file=sys.stderr)
                return 1
            measured.setdefault(name, {})[count] = figures
            shown = "  ".join(f"{key} {value:,.4g}" for key, value in figures.items())
            print(f"{name:10} {count:>9,}  {shown}", flush=True)
    if not arguments.only and arguments.largest >= max(PENDING):
        replace(README, "growth", render(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
