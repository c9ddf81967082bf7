"""What recording a profile costs: calls on one actor, gathered, with the recorder off and on in turn.

Off and on alternate within one run, so that both meet the same machine: on each turn a warm-up and some bursts, of which
the fastest counts. Reported are the median over the turns of each, of the time by the clock and of the processor time of
all processes, and the median of the ratios of neighbouring turns. The time by the clock wobbles on a machine that has
other work; processor time does not much.

``--builds A B`` compares two checkouts with the recorder off in both instead: what its presence costs.

usage: python -m benches.profile [--turns N] [--calls N] [--traced] [--builds PATH PATH]
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

import mosaic
from benches.peers.measure import now

BURSTS = 5
STEP_LIMIT_S = 300


@mosaic.tessera
class Answering:
    """Answers, with or without a function of its own."""

    def nothing(self) -> None:
        return None


def cpu_seconds(pids: list[int]) -> float:
    """Return the processor time that processes have used, all threads, those that ended too."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for pid in pids:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        total += sum(int((t / "schedstat").read_text().split()[0]) for t in threads) / 1e9
        assert ticks
    return total


async def burst(actor: mosaic.core.TesseraProxy, calls: int) -> None:
    """Make that many calls and wait for all."""
    await mosaic.gather([actor.nothing() for _ in range(calls)])


async def turn(actor: mosaic.core.TesseraProxy, calls: int, pids: list[int]) -> tuple[float, float]:
    """Return the seconds of a burst by the clock and the seconds of processor time."""
    await burst(actor, calls)
    start, used = now(), cpu_seconds(pids)
    for _ in range(BURSTS):
        await burst(actor, calls)
    return (now() - start) / BURSTS, (cpu_seconds(pids) - used) / BURSTS


async def off_and_on(runtime: mosaic.runtime.Runtime, calls: int, turns: int) -> dict[str, float]:
    """Measure with the recorder off and on in turn."""
    engine = runtime.engine
    actor = Answering.remote()
    pids = [pid for _, _, pid, _ in engine.members()]
    measured: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="profile-") as directory:
        for number in range(turns):
            for on in (False, True) if number % 2 else (True, False):
                path = str(Path(directory) / f"{number}.mprof") if on else None
                engine.record_profile(path)
                measured[on].append(await turn(actor, calls, pids))
    engine.record_profile(None)
    figures = {}
    for at, what in enumerate(("clock", "cpu")):
        off, on = ([turn[at] for turn in measured[state]] for state in (False, True))
        figures[f"{what}_off_us"] = median(off) / calls * 1e6
        figures[f"{what}_on_us"] = median(on) / calls * 1e6
        figures[f"{what}_ratio"] = median(b / a for a, b in zip(off, on, strict=True))
    return figures


async def off(runtime: mosaic.runtime.Runtime, calls: int) -> dict[str, float]:
    """Measure as it is."""
    actor = Answering.remote()
    pids = [pid for _, _, pid, _ in runtime.engine.members()]
    clock, cpu = await turn(actor, calls, pids)
    return {"clock_us": clock / calls * 1e6, "cpu_us": cpu / calls * 1e6}


if __name__ == "__main__" and 1:
    print(mosaic.run(lambda r: off_and_on(r, 10000, int(sys.argv[1])), num_workers=1))
