"""A small run with a bit of everything, recorded; names in it that would be markup if they were taken for it."""

import contextlib
import time
from pathlib import Path

import numpy as np

import mosaic
from mosaic.profile import profiler

NASTY = "<img src=x onerror=document.title='caught'></script>"
"""The name of a function of the run."""


@mosaic.tessera
class Survey:
    def forward(self, shot):
        _compute(0.01)
        return np.full(100_000, float(shot))

    def adjoint(self, wave):
        _compute(0.005)
        return float(wave.sum())

    def fail(self):
        raise ValueError("as it should")


def _compute(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def nasty():
    return None


nasty.__name__ = NASTY
nasty.__qualname__ = NASTY

CALLS = {"Survey()": 2, "Survey.forward": 6, "Survey.adjoint": 6, "Survey.fail": 1, NASTY: 1}
"""How often what is called in it."""


async def drive(runtime: "mosaic.Runtime") -> None:
    """Make the calls of the run."""
    surveys = [Survey.remote(runtime=worker) for worker in runtime.workers]
    profiler.start_trace()
    waves = [surveys[shot % 2].forward(shot) for shot in range(6)]
    sums = [surveys[(shot + 1) % 2].adjoint(wave) for shot, wave in enumerate(waves)]
    await mosaic.gather(sums)
    profiler.stop_trace()
    await runtime.submit(nasty)
    with contextlib.suppress(ValueError):
        await surveys[0].fail()


def record(runner, path: Path) -> Path:
    """Record the run in a directory."""
    file = path / "run.mprof"
    with mosaic.session(num_workers=2, profile=file) as runtime:
        runner.run(drive(runtime))
    return file
