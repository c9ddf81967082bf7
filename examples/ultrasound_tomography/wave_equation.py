r"""The acoustic wave equation in the time domain and the exact gradient of a waveform misfit.

For a shot that emits :math:`s(t)` at :math:`\mathbf{x}_s` the pressure obeys

.. math::

   \partial_t^2 u + 2\sigma\,\partial_t u = c^2\,[\nabla^2 u + s(t)\,\delta(\mathbf x-\mathbf x_s)],

with the speed of sound :math:`c` (constant density) and the damping :math:`\sigma` of the sponge.
With the increment :math:`v^{n} = u^{n} - u^{n-1}` the discrete scheme is

.. math::

   w^{n} = L u^{n} + s^{n} \delta, \qquad v^{n+1} = B\,v^{n} + C\,w^{n}, \qquad
   u^{n+1} = u^{n} + v^{n+1},

with :math:`B = (1-\sigma\Delta t)/(1+\sigma\Delta t)` and
:math:`C = c^2\Delta t^2/(1+\sigma\Delta t)`. In increments, float32 loses less to rounding than
in the usual three-level form, and the update works in place.

The gradient is that of the *discrete* scheme, by the adjoint-state method (Tarantola 1984,
Plessix 2006). :math:`L` is symmetric and B, C are diagonal, hence the adjoint state times C,
:math:`\mu = C\lambda`, obeys the same recurrence as the wavefield, backwards in time and driven at
the receivers by the residuals; one kernel does both. The derivative of the misfit is then

.. math::

   \frac{\partial J}{\partial c} = \frac{2}{c} \sum_n \mu^{n+1}\,w^{n},

without any approximation at the boundaries or in time.

References
----------
Tarantola, A. (1984). Inversion of seismic reflection data in the acoustic approximation.
Geophysics 49, 1259-1266.

Plessix, R.-E. (2006). A review of the adjoint-state method for computing the gradient of a
functional with geophysical applications. Geophysical Journal International 167, 495-503.

Virieux, J. and Operto, S. (2009). An overview of full-waveform inversion in exploration
geophysics. Geophysics 74, WCC1-WCC26.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .acquisition import Pulse, Ring, interpolation
from .grid import STENCIL, Grid, check_dispersion, check_stability

Array = npt.NDArray[Any]

#: Zeros between the rows of a map: as many as the stencil reaches.
GAP = 2


class WaveEquation:
    """Simulates shots of a ring of transducers and differentiates their misfit.

    The buffers are allocated once and shared by all calls: one object serves one thread.

    Parameters
    ----------
    grid : Grid
        Space and time axes.
    ring : Ring
        The transducers.
    pulse : Pulse
        What they emit.
    dtype : dtype, default float32
        Precision of the wavefields; float64 is for checks.

    Raises
    ------
    ValueError
        If the ring does not fit on the grid.
    """

    def __init__(
        self, grid: Grid, ring: Ring, pulse: Pulse, dtype: npt.DTypeLike = np.float32
    ) -> None:
        self.grid = grid
        self.ring = ring
        self.pulse = pulse
        self.dtype = np.dtype(dtype)
        self._wavelet = pulse(grid.times).astype(self.dtype)
        self._history: Array | None = None

        # Maps are kept as one contiguous run of numbers, their rows parted by two zeros. The
        # stencil's neighbours are then shifted views of the whole run, edges included, which
        # spares numpy a loop over the rows: 150 us a step against 260 us with two-dimensional
        # views (257 x 257 cells, float32; `forward` over `num_steps`, one core). Gain and memory
        # are zero in the gaps, so the wavefield stays zero there.
        self._stride = grid.cells + GAP
        size = grid.cells * self._stride
        margin = 2 * self._stride + GAP
        self._padded = np.zeros(size + 2 * margin, self.dtype)

        def shifted(offset: int) -> Array:
            return self._padded[margin + offset : margin + offset + size]

        steps = (-self._stride, self._stride, -1, 1)
        self._field = shifted(0)
        self._near = [shifted(step) for step in steps]
        self._far = [shifted(2 * step) for step in steps]
        self._increment = np.zeros(size, self.dtype)
        self._scratch = np.zeros(size, self.dtype)

        cells, weights = interpolation(grid, ring.positions)
        row, column = np.divmod(cells, grid.cells)
        self._touched = row * self._stride + column
        self._weights = weights.astype(self.dtype)

        # The Laplacian is kept in units of its weight for the nearest neighbours.
        self._scale = STENCIL[1] / grid.spacing**2
        far, centre = STENCIL[2] / STENCIL[1], 2 * STENCIL[0] / STENCIL[1]
        self._far_weight, self._centre_weight = np.array([far, centre], self.dtype)

    def forward(self, speed: Array, shot: int) -> Array:
        """Pressure that the transducers record for one shot.

        Parameters
        ----------
        speed : ndarray, shape ``(cells, cells)``
            Speed of sound, in m/s.
        shot : int
            Index of the emitting transducer.

        Returns
        -------
        ndarray, shape ``(num_steps, num_transducers)``
            Row n holds the pressure at time ``(n + 1) * time_step``.

        Raises
        ------
        ValueError
            If the speed has another shape than the grid, is not positive and finite, or makes the
            scheme unstable (`StabilityError`) or dispersive (`DispersionError`).
        """
        return self._simulate(speed, shot, history=None)

    def gradient(self, speed: Array, shot: int, observed: Array) -> tuple[float, Array]:
        r"""Misfit of one shot and its derivative with respect to the speed of sound.

        The misfit is :math:`J = \frac{\Delta t}{2}\sum_{n,r}(u_r^n - d_r^n)^2`.

        Parameters
        ----------
        speed : ndarray, shape ``(cells, cells)``
            Speed of sound, in m/s.
        shot : int
            Index of the emitting transducer.
        observed : ndarray, shape ``(num_steps, num_transducers)``
            The recorded pressure.

        Returns
        -------
        misfit : float
            In units of pressure squared times s.
        gradient : ndarray, shape ``(cells, cells)``
            Derivative of the misfit by the speed of each cell, per m/s.

        Raises
        ------
        ValueError
            As `forward`, and if the observed data have another shape than the simulated ones.
        """
        grid = self.grid
        expected = (grid.num_steps, self.ring.num_transducers)
        if np.shape(observed) != expected:
            raise ValueError(f"observed data of shape {np.shape(observed)}; expected {expected}")
        if self._history is None:
            self._history = np.empty((grid.num_steps, self._field.size), self.dtype)
        residual = self._simulate(speed, shot, self._history) - observed
        misfit = 0.5 * grid.time_step * float(np.sum(np.square(residual), dtype=np.float64))
        sensitivity = self._back_propagate(residual, self._history)
        # _simulate divides the source by _scale, _back_propagate leaves it to this factor.
        return misfit, 2 * grid.time_step * sensitivity / speed.astype(self.dtype)

    def _simulate(self, speed: Array, shot: int, history: Array | None) -> Array:
        """Run one shot; keep :math:`w^n / scale` of every step in `history`, if there is one."""
        self._prepare(speed)
        emitter = self._weights[[shot], :].tocoo()
        source_cells = self._touched[emitter.coords[1]]
        # A point source has unit integral: 1 / spacing**2 in its cell.
        drive = emitter.data / np.asarray(self._scale * self.grid.spacing**2, self.dtype)
        traces = np.empty((self.grid.num_steps, self._touched.size), self.dtype)
        force = np.empty_like(self._field)
        for step, amplitude in enumerate(self._wavelet):
            if history is not None:
                force = history[step]
            self._apply_laplacian(force)
            force[source_cells] += amplitude * drive
            self._advance(force)
            np.take(self._field, self._touched, out=traces[step], mode="clip")
        recorded: Array = traces @ self._weights.T
        return recorded

    def _back_propagate(self, residual: Array, history: Array) -> Array:
        """Drive the receivers with the residuals in reverse; correlate with `history`."""
        self._restart()
        spread = residual.astype(self.dtype, copy=False) @ self._weights
        correlation = np.zeros_like(self._field)
        force = np.empty_like(self._field)
        for step in range(self.grid.num_steps - 1, -1, -1):
            self._apply_laplacian(force)
            force[self._touched] += spread[step]
            self._advance(force)
            np.multiply(self._field, history[step], out=self._scratch)
            np.add(correlation, self._scratch, out=correlation)
        return correlation.reshape(self.grid.cells, self._stride)[:, : self.grid.cells]

    def _run(self, values: Array) -> Array:
        """Lay a map out as a run with zeros in the gaps."""
        rows = np.zeros((self.grid.cells, self._stride), self.dtype)
        rows[:, : self.grid.cells] = values
        return rows.reshape(-1)

    def _prepare(self, speed: Array) -> None:
        """Check a model and set the coefficients of the scheme for it."""
        grid = self.grid
        if np.shape(speed) != grid.shape:
            raise ValueError(
                f"speed of sound of shape {np.shape(speed)}; the grid has {grid.shape}"
            )
        slowest, fastest = float(np.min(speed)), float(np.max(speed))
        if not 0 < slowest <= fastest < np.inf:
            raise ValueError("the speed of sound must be positive and finite everywhere")
        check_stability(grid, fastest)
        check_dispersion(grid, slowest, self.pulse.max_frequency)
        loss = grid.damping * grid.time_step
        courant = speed.astype(np.float64) * grid.time_step
        self._memory = self._run((1 - loss) / (1 + loss))
        self._gain = self._run(self._scale * courant**2 / (1 + loss))
        self._restart()

    def _restart(self) -> None:
        """Return to silence."""
        self._padded.fill(0)
        self._increment.fill(0)

    def _apply_laplacian(self, out: Array) -> None:
        """Write the Laplacian of the wavefield, over `_scale`, to `out`."""
        near, far = self._near, self._far
        scratch = self._scratch
        np.add(near[0], near[1], out=out)
        np.add(out, near[2], out=out)
        np.add(out, near[3], out=out)
        np.add(far[0], far[1], out=scratch)
        np.add(scratch, far[2], out=scratch)
        np.add(scratch, far[3], out=scratch)
        np.multiply(scratch, self._far_weight, out=scratch)
        np.add(out, scratch, out=out)
        np.multiply(self._field, self._centre_weight, out=scratch)
        np.add(out, scratch, out=out)

    def _advance(self, force: Array) -> None:
        """One time step of the damped wave under the given force."""
        np.multiply(force, self._gain, out=self._scratch)
        np.multiply(self._increment, self._memory, out=self._increment)
        np.add(self._increment, self._scratch, out=self._increment)
        np.add(self._field, self._increment, out=self._field)
