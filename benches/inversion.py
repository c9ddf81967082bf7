"""Times the evaluations of the tomography example's misfit and gradient, in one or more checkouts.

``python -m benches.inversion . ../before`` goes through the checkouts in turn, as often as ``--rounds`` says; each must
be built and is measured by its own interpreter. Prints the median time of an evaluation, from the last band of the
example (257 x 257 cells, 16 shots) and from one of twice the frequency, so four times the points and twice the time
steps (4 shots), each with its least and its greatest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "default": {"frequencies": (280e3,), "num_shots": 16, "iterations": 4},
    "four times the points": {"frequencies": (560e3,), "num_shots": 4, "iterations": 4},
}


class Clock:
    """A reporter that knows when each evaluation ended: the data's and the first model's are not counted."""

    def __init__(self, num_shots: int) -> None:
        self.num_shots = num_shots
        self.shots = -1  # the first report is that of the data
        self.ends: list[float] = []

    def advance(self, cost: float) -> None:
        """Count a shot."""
        del cost
        self.shots += 1
        if self.shots and self.shots % self.num_shots == 0:
            self.ends.append(time.perf_counter())

    def say(self, text: str) -> None:
        """Print nothing."""


def measure(size: str) -> list[float]:
    """Seconds from the last shot of one evaluation to that of the next, sum and L-BFGS included."""
    import mosaic
    from examples.ultrasound_tomography.acquisition import Ring
    from examples.ultrasound_tomography.phantom import shepp_logan
    from examples.ultrasound_tomography.tomography import Experiment, reconstruct

    settings = SIZES[size]
    clock = Clock(settings["num_shots"])

    async def invert(runtime: Any) -> None:
        await reconstruct(
            runtime,
            shepp_logan(),
            Experiment(ring=Ring(radius=0.080, num_transducers=128), **settings),
            clock,
        )

    mosaic.run(invert, num_workers=2, num_threads=1)
    return [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]


def in_checkout(checkout: Path, size: str) -> list[float]:
    """Measure in a process whose working directory is the checkout."""
    done = subprocess.run(
        [checkout / ".venv/bin/python", "-", "--measure", size],
        cwd=checkout,
        input=Path(__file__).read_bytes(),
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds: list[float] = json.loads(done.stdout)
    return seconds


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path()])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=SIZES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    checkouts = [checkout.absolute() for checkout in options.checkouts]
    for size in SIZES:
        found: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
        for _ in range(options.rounds):
            for checkout in checkouts:
                found[checkout] += in_checkout(checkout, size)
        for checkout, seconds in found.items():
            print(
                f"{size}, {checkout.name}: {median(seconds):.2f} s "
                f"({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} evaluations)",
                flush=True,
            )


if __name__ == "__main__":
    main()
