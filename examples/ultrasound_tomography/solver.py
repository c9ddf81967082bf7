"""The solver as a tessera: `Solver.remote(..., len=n)` puts one into each of n workers."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

import mosaic

from .medium import Medium
from .wave_equation import WaveEquation

Array = npt.NDArray[Any]


@mosaic.tessera
class Solver(WaveEquation):
    """A `WaveEquation` that can live in a worker and takes the speed of sound from a `Medium`.

    `Solver(grid, ring, pulse)` is an ordinary local object, and
    `Solver.remote(grid, ring, pulse, len=runtime.num_workers)` an array of remote ones whose methods
    return tasks. Its buffers stay in the worker between the calls.
    """

    def record(self, medium: Medium, shot: int) -> Array:
        """Pressure that the transducers record for one shot; see `WaveEquation.forward`."""
        return self.forward(medium.speed, shot)

    def differentiate(self, medium: Medium, shot: int, observed: Array) -> tuple[float, Any]:
        """Misfit of one shot and a reference to its derivative; see `WaveEquation.gradient`.

        The derivative is stored on the worker's node, which keeps it even if the worker dies. The
        caller receives two small things.
        """
        misfit, gradient = self.gradient(medium.speed, shot, observed)
        return misfit, mosaic.runtime().put(gradient)
