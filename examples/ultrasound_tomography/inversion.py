"""Minimisation of the misfit: preconditioned L-BFGS with bounds.

Nothing here knows waves or workers: the misfit and its gradient come from a coroutine.

References
----------
Nocedal, J. and Wright, S. J. (2006). Numerical Optimization. 2nd edition, Springer. Algorithms
7.4 (two-loop recursion) and 3.1 (backtracking), equation 7.20 (scaling).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .grid import Grid

Map = npt.NDArray[np.float64]
Objective = Callable[[Map], Awaitable[tuple[float, Map]]]

#: Share of the decrease promised by the gradient that a step must bring (Armijo's condition).
SUFFICIENT_DECREASE = 1e-4

#: Steps tried along one direction.
MAX_TRIALS = 5


@dataclass(frozen=True)
class Preconditioner:
    """Keeps the update inside a circle and as smooth as the data can resolve.

    Gradient components at and beyond the transducers reflect their near field rather than the
    medium; details well below half a wavelength are noise (Virieux & Operto 2009). The operator,
    mask - Gaussian filter - mask, is symmetric and positive, as L-BFGS needs it.

    Parameters
    ----------
    mask : ndarray, shape ``(cells, cells)``
        Weight of each cell, from 0 (kept as it is) to 1.
    smoothing : float
        Standard deviation of the filter, in cells.
    """

    mask: Map
    smoothing: float

    @classmethod
    def disc(cls, grid: Grid, radius: float, smoothing: float) -> Preconditioner:
        """Update the inside of a disc, with a soft edge.

        Parameters
        ----------
        grid : Grid
            Where the model lives.
        radius : float
            Of the disc, in m.
        smoothing : float
            Standard deviation of the filter, in m.

        Returns
        -------
        Preconditioner
        """
        edge = (radius - grid.radius) / (3 * grid.spacing)
        return cls(np.clip(edge, 0, 1), smoothing / grid.spacing)

    def __call__(self, gradient: Map) -> Map:
        """Apply to a gradient, shape ``(cells, cells)``."""
        smooth = ndimage.gaussian_filter(self.mask * gradient, self.smoothing, mode="constant")
        return self.mask * np.asarray(smooth, dtype=np.float64)


@dataclass
class History:
    """Differences of the last models and gradients: L-BFGS's picture of the curvature.

    Parameters
    ----------
    precondition : callable
        The approximate inverse Hessian before anything is known, up to a factor.
    size : int, default 6
        Pairs to remember.
    """

    precondition: Callable[[Map], Map]
    size: int = 6
    pairs: deque[tuple[Map, Map]] = field(default_factory=deque)

    def remember(self, step: Map, change: Map) -> None:
        """Store a step and the change of the gradient along it, if the curvature is positive."""
        noise = 1e-10 * float(np.linalg.norm(step) * np.linalg.norm(change))
        if float(np.vdot(step, change)) > noise:
            self.pairs.append((step, change))
            if len(self.pairs) > self.size:
                self.pairs.popleft()

    def direction(self, gradient: Map) -> Map:
        """Descent direction by the two-loop recursion."""
        remaining = gradient.copy()
        weights = []
        for step, change in reversed(self.pairs):
            weight = float(np.vdot(step, remaining) / np.vdot(step, change))
            remaining -= weight * change
            weights.append(weight)
        result = self.precondition(remaining)
        if self.pairs:
            step, change = self.pairs[-1]
            result *= float(np.vdot(step, change) / np.vdot(change, self.precondition(change)))
        for (step, change), weight in zip(self.pairs, reversed(weights), strict=True):
            correction = float(np.vdot(change, result) / np.vdot(step, change))
            result += (weight - correction) * step
        return -result


@dataclass(frozen=True)
class Outcome:
    """Where the minimisation ended.

    Parameters
    ----------
    model : ndarray, shape ``(cells, cells)``
        The best model.
    misfits : list of float
        Before the first iteration and after each.
    """

    model: Map
    misfits: list[float]


async def minimise(
    objective: Objective,
    start: Map,
    *,
    precondition: Callable[[Map], Map],
    bounds: tuple[float, float],
    iterations: int,
    first_change: float,
    report: Callable[[int, float], None] = lambda iteration, misfit: None,
) -> Outcome:
    """Minimise an objective from a starting model.

    Every trial model is clipped to the bounds; the decrease is measured along what is left of the
    step. After a direction that brings no decrease the curvature is forgotten and the next one is
    steepest descent; two such in a row end the search.

    Parameters
    ----------
    objective : coroutine function
        Returns the misfit of a model and its gradient.
    start : ndarray, shape ``(cells, cells)``
        Within the bounds.
    precondition : callable
        Symmetric positive operator, e.g. a `Preconditioner`.
    bounds : tuple of float
        Least and greatest value of the model.
    iterations : int
        At most so many.
    first_change : float
        Largest change of any cell in the first step, before curvature is known; in units of the
        model.
    report : callable, optional
        Called with the iteration and its misfit, from iteration 0, the starting model.

    Returns
    -------
    Outcome
    """
    model = start
    misfit, gradient = await objective(model)
    misfits = [misfit]
    report(0, misfit)
    history = History(precondition)
    for iteration in range(1, iterations + 1):
        direction = history.direction(gradient)
        if float(np.vdot(direction, gradient)) >= 0:
            history.pairs.clear()
            direction = history.direction(gradient)
        peak = float(np.max(np.abs(direction)))
        if peak == 0:
            break
        length = 1.0 if history.pairs else first_change / peak
        for _ in range(MAX_TRIALS):
            trial = np.clip(model + length * direction, *bounds)
            step = trial - model
            trial_misfit, trial_gradient = await objective(trial)
            promised = float(np.vdot(step, gradient))
            if promised < 0 and trial_misfit <= misfit + SUFFICIENT_DECREASE * promised:
                history.remember(step, trial_gradient - gradient)
                model, misfit, gradient = trial, trial_misfit, trial_gradient
                break
            length *= _shorter(promised, trial_misfit - misfit)
        else:
            if not history.pairs:
                break
            history.pairs.clear()
        misfits.append(misfit)
        report(iteration, misfit)
    return Outcome(model, misfits)


def _shorter(promised: float, change: float) -> float:
    """Factor to the minimum of the parabola through two misfits and a slope, kept reasonable."""
    curvature = 2 * (change - promised)
    if promised >= 0 or curvature <= 0:
        return 0.5
    return min(max(-promised / curvature, 0.1), 0.5)
