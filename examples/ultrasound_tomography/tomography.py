"""The experiment: simulate the observed data, then fit them, one frequency band after another.

Low frequencies come first: their long wavelengths forgive a poor starting model, from which high
ones would converge to a wrong cycle of the wave (Bunks et al. 1995). Each band has the coarsest
grid that resolves it, so the early bands cost little.

References
----------
Bunks, C., Saleck, F. M., Zaleski, S. and Chavent, G. (1995). Multiscale seismic waveform
inversion. Geophysics 60, 1457-1473.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .acquisition import Pulse, Ring
from .grid import Grid, design_grid
from .inversion import Preconditioner, minimise
from .phantom import SPEED_BOUNDS, Phantom
from .solver import Solver

Map = npt.NDArray[np.float64]
Traces = npt.NDArray[np.float32]

#: A gradient costs about as much as so many simulations.
GRADIENT_COST = 2.5


@dataclass(frozen=True)
class Experiment:
    """What is measured and how it is inverted.

    Parameters
    ----------
    ring : Ring
        The transducers.
    num_shots : int
        How many of them emit.
    iterations : int
        Updates of the model in each band.
    frequencies : tuple of float
        Centre frequency of each band, in Hz.
    noise : float
        Standard deviation of the noise in the data, over that of the data.
    seed : int
        Of the noise.
    first_change : float
        Largest change of the speed in the first update of a band, in m/s.
    smoothing : float
        Standard deviation of the filter on the gradient, in wavelengths in water.
    """

    ring: Ring
    num_shots: int = 16
    iterations: int = 12
    frequencies: tuple[float, ...] = (100e3, 180e3, 280e3)
    noise: float = 0.01
    seed: int = 0
    first_change: float = 10.0
    smoothing: float = 0.1

    @property
    def imaging_radius(self) -> float:
        """Radius of the disc that is inverted, in m; the transducers stand in water."""
        return 0.95 * self.ring.radius

    def grid(self, pulse: Pulse) -> Grid:
        """Grid for a band: the slowest wave has time to cross the ring."""
        duration = pulse.duration + 2 * self.ring.radius / SPEED_BOUNDS[0]
        return design_grid(self.ring.radius, pulse.max_frequency, duration, SPEED_BOUNDS)

    def cost(self, frequency: float) -> float:
        """Cell updates of one simulation in a band: the unit of the progress bar."""
        grid = self.grid(Pulse(frequency))
        return float(grid.cells**2 * grid.num_steps)

    @property
    def total_cost(self) -> float:
        """Cell updates of the whole experiment if every first step is accepted."""
        simulations = self.num_shots * (1 + GRADIENT_COST * (1 + self.iterations))
        return simulations * sum(self.cost(frequency) for frequency in self.frequencies)


@dataclass(frozen=True)
class Reconstruction:
    """What came out, on the grid of the last band.

    Parameters
    ----------
    grid : Grid
        Of the three maps.
    true, initial, inverted : ndarray of float64, shape ``(cells, cells)``
        Speed of sound, in m/s.
    misfits : dict of float to list of float
        For each centre frequency (Hz) the misfit before the first and after every iteration,
        over half the energy of the data.
    error_before, error_after : float
        Relative model errors, see `model_error`.
    """

    grid: Grid
    true: Map
    initial: Map
    inverted: Map
    misfits: dict[float, list[float]]
    error_before: float
    error_after: float


class Reporter(Protocol):
    """Whoever tells the user how far the work is."""

    def advance(self, cost: float) -> None:
        """Count cell updates that are done."""

    def say(self, text: str) -> None:
        """Print a line."""


def model_error(model: Map, true: Map, water: float) -> float:
    """Norm of the error over the norm of the true contrast: 1 for nothing but water, 0 at best.

    Parameters
    ----------
    model, true : ndarray of float64, shape ``(cells, cells)``
        In m/s.
    water : float
        Speed of sound in water, in m/s.

    Returns
    -------
    float
        If there is no contrast at all: the norm of the error, in m/s.
    """
    contrast = float(np.linalg.norm(true - water))
    return float(np.linalg.norm(model - true)) / (contrast or 1.0)


async def observe(
    runtime: Any, solver: Any, true: Map, shots: Sequence[int], *, noise: float, seed: int
) -> list[Traces]:
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
    list of ndarray of float32, shape ``(num_steps, num_transducers)``
        The data of each shot.
    """
    model = await runtime.put(true.astype(np.float32))

    @runtime.async_for(shots)
    async def measure(worker: Any, shot: int) -> tuple[int, Traces]:
        return shot, await solver.forward(model, shot, runtime=worker).result()

    data = dict(await measure)
    await model.drop()
    observed = []
    for shot in shots:
        random = np.random.default_rng([seed, shot])
        clean = data[shot]
        noisy = clean + noise * clean.std() * random.standard_normal(clean.shape)
        observed.append(noisy.astype(np.float32))
    return observed


class WaveformMisfit:
    """Misfit of all shots and its gradient, over half the energy of the data.

    Parameters
    ----------
    runtime : mosaic runtime
        Whose workers compute it.
    solver : ArrayProxy of Solver
        One for each worker.
    shots : sequence of int
        Emitting transducers.
    observed : list of ndarray
        The data of each shot.
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
        shots: Sequence[int],
        observed: list[Traces],
        *,
        time_step: float,
        reporter: Reporter,
        shot_cost: float,
    ) -> None:
        self.runtime = runtime
        self.solver = solver
        self.shots = shots
        self.observed = observed
        self.reporter = reporter
        self.shot_cost = shot_cost
        energy = sum(float(np.sum(np.square(data), dtype=np.float64)) for data in observed)
        self.scale = 1 / (0.5 * time_step * energy)

    async def __call__(self, speed: Map) -> tuple[float, Map]:
        """Evaluate a model.

        The model is put into the warehouse once, and every worker takes it from there. The shots
        are summed in their own order, so that the result does not depend on who was faster.
        """
        model = await self.runtime.put(speed.astype(np.float32))

        @self.runtime.async_for(self.shots, self.observed)
        async def differentiate(worker: Any, shot: int, data: Traces) -> tuple[int, float, Any]:
            task = self.solver.gradient(model, shot, data, runtime=worker)
            misfit, gradient = await task.result()
            self.reporter.advance(self.shot_cost)
            return shot, misfit, gradient

        total = 0.0
        total_gradient = np.zeros(speed.shape)
        for _, misfit, gradient in sorted(await differentiate, key=lambda part: part[0]):
            total += misfit
            total_gradient += gradient
        await model.drop()
        return self.scale * total, self.scale * total_gradient


async def reconstruct(
    runtime: Any, phantom: Phantom, experiment: Experiment, reporter: Reporter
) -> Reconstruction:
    """Measure the phantom and recover it from the data, starting from water.

    Parameters
    ----------
    runtime : mosaic runtime
        Whose workers compute.
    phantom : Phantom
        The truth.
    experiment : Experiment
        What to do.
    reporter : Reporter
        Told about progress.

    Returns
    -------
    Reconstruction
    """
    radius = experiment.imaging_radius
    shots = experiment.ring.emitters(experiment.num_shots)
    misfits: dict[float, list[float]] = {}
    estimate = Phantom(np.full((2, 2), phantom.water), 2 * radius, phantom.water)
    for frequency in experiment.frequencies:
        pulse = Pulse(frequency)
        grid = experiment.grid(pulse)
        true = phantom.sample(grid, radius)
        start = estimate.sample(grid, radius)
        reporter.say(
            f"{frequency / 1e3:.0f} kHz: {grid.cells} x {grid.cells} cells of "
            f"{grid.spacing * 1e3:.2f} mm, {grid.num_steps} time steps, {len(shots)} shots"
        )
        solver = Solver.remote(grid, experiment.ring, pulse, len=runtime.num_workers)
        observed = await observe(
            runtime, solver, true, shots, noise=experiment.noise, seed=experiment.seed
        )
        cost = experiment.cost(frequency)
        reporter.advance(cost * len(shots))
        objective = WaveformMisfit(
            runtime,
            solver,
            shots,
            observed,
            time_step=grid.time_step,
            reporter=reporter,
            shot_cost=GRADIENT_COST * cost,
        )
        smoothing = experiment.smoothing * phantom.water / frequency
        outcome = await minimise(
            objective,
            start,
            precondition=Preconditioner.disc(grid, radius, smoothing),
            bounds=SPEED_BOUNDS,
            iterations=experiment.iterations,
            first_change=experiment.first_change,
            report=lambda iteration, misfit: reporter.say(
                f"  iteration {iteration:2d}  misfit {misfit:.3e}"
            ),
        )
        misfits[frequency] = outcome.misfits
        reporter.say(
            f"  relative model error {model_error(outcome.model, true, phantom.water):.3f}"
        )
        estimate = Phantom(outcome.model, grid.spacing, phantom.water)
    initial = np.full(grid.shape, phantom.water)
    return Reconstruction(
        grid=grid,
        true=true,
        initial=initial,
        inverted=outcome.model,
        misfits=misfits,
        error_before=model_error(initial, true, phantom.water),
        error_after=model_error(outcome.model, true, phantom.water),
    )
