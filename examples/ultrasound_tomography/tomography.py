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

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .acquisition import Pulse, Ring
from .grid import Grid, design_grid
from .inversion import Preconditioner, minimise
from .medium import Medium
from .misfit import Reporter, WaveformMisfit, observe
from .phantom import SPEED_BOUNDS, Phantom
from .solver import Solver

Map = npt.NDArray[np.float64]

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
            Medium.parameter(start, cached=True),
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
