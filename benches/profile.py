"""What recording a profile costs: calls on one actor, gathered, with the recorder off and on in turn.

Off and on alternate within one run, so that both meet the same machine. A turn is a warm-up and some bursts, and
shows the time by the clock and the processor time of all processes and threads, the recorder's own among them.
Reported are the medians over the turns of each, and the median of the ratios of neighbouring turns. The time by the
clock wobbles on a machine that has other work; processor time less.

With ``--against PATH``, two checkouts are compared instead, with the recorder off or not there at all, in processes
of their own that take turns: what its presence costs.

usage: python -m benches.profile [--turns N] [--calls N] [--traced] [--against PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TypeAlias

import mosaic
from benches.peers.measure import now

BURSTS = 5

Figures: TypeAlias = tuple[float, float]
"""Seconds by the clock and of the processors, for a burst."""
STEP_LIMIT_S = 300
ROOT = Path(__file__).resolve().parents[1]


@mosaic.tessera
class Answering:
    """Answers."""

    def nothing(self) -> None:
        return None


def cpu_seconds(pids: list[int]) -> float:
    """Return the processor time that the threads of processes have used."""
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


async def burst(actor: mosaic.core.TesseraProxy, calls: int) -> None:
    """Make that many calls and wait for all."""
    await mosaic.gather([actor.nothing() for _ in range(calls)])


async def turn(actor: mosaic.core.TesseraProxy, calls: int, pids: list[int]) -> Figures:
    """Return the seconds of a burst by the clock and the seconds of processor time."""
    await burst(actor, calls)
    start, used = now(), cpu_seconds(pids)
    for _ in range(BURSTS):
        await burst(actor, calls)
    return (now() - start) / BURSTS, (cpu_seconds(pids) - used) / BURSTS


def processes(runtime: mosaic.runtime.Runtime) -> list[int]:
    """Return the processes of the network."""
    return [pid for _, _, pid, _ in runtime.engine.members()]


async def off_and_on(
    runtime: mosaic.runtime.Runtime, calls: int, turns: int, traced: bool
) -> list[tuple[Figures, Figures]]:
    """Measure with the recorder off and on in turn."""
    actor, pids = Answering.remote(), processes(runtime)
    pairs = []
    with tempfile.TemporaryDirectory(prefix="profile-") as directory:
        for number in range(turns):
            figures = {}
            for on in (False, True) if number % 2 else (True, False):
                path = str(Path(directory) / f"{number}.mprof") if on else None
                runtime.engine.record_profile(path, traced and on)
                figures[on] = await turn(actor, calls, pids)
            pairs.append((figures[False], figures[True]))
        runtime.engine.record_profile(None)
    return pairs


async def as_it_is(runtime: mosaic.runtime.Runtime, calls: int) -> Figures:
    """Measure one turn."""
    return await turn(Answering.remote(), calls, processes(runtime))


def step(calls: int) -> None:
    """Measure one turn in this process, and print its figures."""
    print(json.dumps(mosaic.run(lambda runtime: as_it_is(runtime, calls), num_workers=1)))


def of_checkout(place: Path, calls: int) -> Figures:
    """Measure one turn with another checkout's package, and this bench."""
    program = f"from benches.profile import step; step({calls})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place / "python"), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tempfile.gettempdir(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=STEP_LIMIT_S,
        check=True,
    )
    clock, cpu = json.loads(done.stdout.splitlines()[-1])
    return clock, cpu


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benches.profile")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--traced", action="store_true", help="record functions too")
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout, built")
    said = parser.parse_args()
    if said.against is None:
        # Imported by its name, so that workers find `Answering` under it.
        from benches.profile import off_and_on as measure

        names = ("off", "on")
        pairs = mosaic.run(
            lambda runtime: measure(runtime, said.calls, said.turns, said.traced), num_workers=1
        )
    else:
        names = ("there", "here")
        places = (said.against.resolve(), ROOT)
        pairs = []
        for number in range(said.turns):
            order = (0, 1) if number % 2 else (1, 0)
            taken = {at: of_checkout(places[at], said.calls) for at in order}
            pairs.append((taken[0], taken[1]))
    for at, what in enumerate(("by the clock", "of the processors")):
        first, second = ([pair[state][at] for pair in pairs] for state in (0, 1))
        each = [
            f"{name} {median(values) / said.calls * 1e6:.3f} us"
            for name, values in zip(names, (first, second), strict=True)
        ]
        ratios = sorted(b / a for a, b in zip(first, second, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        print(
            f"a call, {what}: {', '.join(each)}; ratio {median(ratios):.3f} (quartiles {low:.3f}, {high:.3f})"
        )


if __name__ == "__main__":
    main()
