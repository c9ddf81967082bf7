"""The data and their misfit, spread over the workers.

The speed of sound is a parameter, published once an evaluation. The data are stored once a band. The
gradients stay on the nodes where they were made until `Runtime.reduce` sums them in the order of the
shots, so that the sum has the same bits for any number of workers, whoever was faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .medium import Medium

Map = npt.NDArray[np.float64]
Traces = npt.NDArray[np.float32]


class Reporter(Protocol):
    """Whoever tells the user how far the work is."""

    def advance(self, cost: float) -> None:
        """Count cell updates that are done."""

    def say(self, text: str) -> None:
        """Print a line."""


@dataclass(frozen=True)
class Observed:
    """The data of all shots, at the warehouse.

    Parameters
    ----------
    traces : list of references
        One for each shot, to an ndarray of float32, shape ``(num_steps, num_transducers)``.
    energy : float
        Sum of the squares of all of them.
    """

    traces: list[Any]
    energy: float


async def observe(
    runtime: Any, solver: Any, true: Map, shots: Sequence[int], *, noise: float, seed: int
) -> Observed:
    """Simulate the measurement: one shot at a time on each worker, noise added.

    Parameters
    ----------
    runtime : mosaic runtime
        Whose workers do it.
    solver : ArrayProxy of Solver
        One for each worker.
    true : ndarray, shape ``(cells, cells)``
        The speed of sound to measure, in m/s.
    shots : sequence of int
        Emitting transducers.
    noise : float
        Standard deviation of the noise over that of the data of a shot.
    seed : int
        The noise of a shot depends on it and on the shot only.

    Returns
    -------
    Observed
    """
    medium = Medium.parameter(true, cached=True)

    @runtime.async_for(shots, ordered=True)
    async def measure(worker: Any, shot: int) -> tuple[Any, float]:
        clean: Traces = await solver.record(medium, shot, runtime=worker).result()
        random = np.random.default_rng([seed, shot])
        noisy = clean + noise * clean.std() * random.standard_normal(clean.shape)
        traces = noisy.astype(np.float32)
        energy = float(np.sum(np.square(traces), dtype=np.float64))
        return await runtime.put(traces), energy

    measured = await measure
    return Observed([traces for traces, _ in measured], sum(energy for _, energy in measured))


class WaveformMisfit:
    """Misfit of all shots and its gradient, over half the energy of the data.

    Parameters
    ----------
    runtime : mosaic runtime
        Whose workers compute it.
    solver : ArrayProxy of Solver
        One for each worker.
    medium : Medium
        A parameter with ``cached=True``: where the solvers find the speed of sound.
    shots : sequence of int
        Emitting transducers.
    observed : Observed
        Their data.
    time_step : float
        In s.
    reporter : Reporter
        Told after every shot.
    shot_cost : float
        What to tell it.
    """

    def __init__(
        self,
        runtime: Any,
        solver: Any,
        medium: Any,
        shots: Sequence[int],
        observed: Observed,
        *,
        time_step: float,
        reporter: Reporter,
        shot_cost: float,
    ) -> None:
        self.runtime = runtime
        self.solver = solver
        self.medium = medium
        self.shots = shots
        self.observed = observed
        self.reporter = reporter
        self.shot_cost = shot_cost
        self.scale = 1 / (0.5 * time_step * observed.energy)

    async def __call__(self, speed: Map) -> tuple[float, Map]:
        """Evaluate a speed of sound: its misfit, and the derivative for every cell."""
        self.medium.speed = speed.astype(np.float32)
        await self.medium.push("speed", publish=True)

        @self.runtime.async_for(self.shots, self.observed.traces, ordered=True)
        async def differentiate(worker: Any, shot: int, traces: Any) -> tuple[float, Any]:
            task = self.solver.differentiate(self.medium, shot, traces, runtime=worker)
            misfit, gradient = await task.result()
            self.reporter.advance(self.shot_cost)
            return misfit, gradient

        misfits, gradients = zip(*await differentiate, strict=True)
        total = await self.runtime.reduce(gradients)
        return self.scale * sum(misfits), self.scale * total.astype(np.float64)
