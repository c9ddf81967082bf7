"""The solver as a tessera: `Solver.remote(..., len=n)` puts one into each of n workers."""

from __future__ import annotations

import mosaic

from .wave_equation import WaveEquation


@mosaic.tessera
class Solver(WaveEquation):
    """A `WaveEquation` that can live in a worker.

    Nothing is added: `Solver(grid, ring, pulse)` is an ordinary local object, and
    `Solver.remote(grid, ring, pulse, len=runtime.num_workers)` an array of remote ones whose
    `forward` and `gradient` return tasks. Its buffers stay in the worker between the calls.
    """
