"""The finite-difference grid: derivatives, absorbing layer, stability and dispersion.

Space is discretised with the five-point, fourth-order second derivative of Fornberg (1988,
Table 1), time with the three-point, second-order one. The outermost cells form a sponge, in
which the wave is damped before it meets the edge of the grid.

References
----------
Fornberg, B. (1988). Generation of finite difference formulas on arbitrarily spaced grids.
Mathematics of Computation 51, 699-706.

Cohen, G. C. (2002). Higher-Order Numerical Methods for Transient Wave Equations. Springer.
Chapters 4 and 6 derive stability limits and dispersion relations of such schemes.

Israeli, M. and Orszag, S. A. (1981). Approximation of radiation boundary conditions. Journal of
Computational Physics 41, 115-135. Absorption by a layer with gradually growing damping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Weights of the second derivative at offsets 0, 1 and 2 cells, times the spacing squared.
STENCIL = (-5.0 / 2.0, 4.0 / 3.0, -1.0 / 12.0)

#: Largest accepted relative error of the phase speed at the highest frequency of a band.
DISPERSION_TOLERANCE = 0.02

#: Points in a wavelength at and below which a wave is not even sampled.
NYQUIST_POINTS = 2

#: Share of the stability limit that `design_grid` uses.
SAFETY = 0.9

#: Speed of sound in water at 26 degrees Celsius, and so in the sponge, in m/s.
WATER_SPEED = 1500.0

#: Amplitude that a wave at normal incidence keeps after its way through the sponge and back.
SPONGE_REFLECTION = 1e-2


class StabilityError(ValueError):
    """The time step is too long for the spacing and the fastest speed of sound."""


class DispersionError(ValueError):
    """The grid is too coarse for the shortest wavelength."""


@dataclass(frozen=True)
class Grid:
    """A square grid, centred on the origin, and the time axis that belongs to it.

    Parameters
    ----------
    cells : int
        Cells along each side, sponge included.
    spacing : float
        Distance between cell centres, in m.
    sponge : int
        Thickness of the absorbing layer on each side, in cells.
    time_step : float
        In s.
    num_steps : int
        Time steps of one simulation.

    Raises
    ------
    ValueError
        If a size is not positive or the sponge leaves nothing of the grid.
    """

    cells: int
    spacing: float
    sponge: int
    time_step: float
    num_steps: int

    def __post_init__(self) -> None:
        """Refuse sizes that describe no grid."""
        if min(self.spacing, self.time_step) <= 0 or self.num_steps < 1:
            raise ValueError("spacing, time step and number of steps must be positive")
        if self.sponge < 0 or self.cells <= 2 * self.sponge:
            raise ValueError(
                f"a sponge of {self.sponge} cells leaves nothing of {self.cells} cells"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Cells along y and x."""
        return (self.cells, self.cells)

    @property
    def axis(self) -> npt.NDArray[np.float64]:
        """Coordinates of the cell centres along either axis, in m, shape ``(cells,)``."""
        centre = (self.cells - 1) / 2
        return (np.arange(self.cells, dtype=np.float64) - centre) * self.spacing

    @property
    def radius(self) -> npt.NDArray[np.float64]:
        """Distance of every cell from the origin, in m, shape ``(cells, cells)``."""
        radius: npt.NDArray[np.float64] = np.hypot(self.axis[:, None], self.axis[None, :])
        return radius

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Times at which the wavelet drives the wave, in s, shape ``(num_steps,)``."""
        return np.arange(self.num_steps, dtype=np.float64) * self.time_step

    @property
    def damping(self) -> npt.NDArray[np.float64]:
        r"""Damping rate of the sponge, growing with the square of the depth.

        Over a sponge of thickness :math:`L` the amplitude of a wave falls by
        :math:`\exp(-\int\sigma/c\,dx) = \exp(-\sigma_{max} L / 3 c)` each way; the peak is set
        so that `SPONGE_REFLECTION` is left after both for the speed of sound in water. In 1/s,
        shape ``(cells, cells)``; zero outside the sponge.
        """
        if self.sponge == 0:
            return np.zeros(self.shape)
        index = np.arange(self.cells)
        depth = np.maximum(self.sponge - np.minimum(index, self.cells - 1 - index), 0) / self.sponge
        peak = 1.5 * WATER_SPEED * math.log(1 / SPONGE_REFLECTION) / (self.sponge * self.spacing)
        profile: npt.NDArray[np.float64] = peak * depth**2
        return profile[:, None] + profile[None, :]


def largest_time_step(spacing: float, max_speed: float) -> float:
    r"""Stability (CFL) limit of the scheme in two dimensions.

    The leapfrog scheme is stable while :math:`c^2\Delta t^2\,\lambda_{max} \le 4`, where
    :math:`\lambda_{max} = 2\cdot\frac{16}{3}/h^2` is the largest eigenvalue of minus the discrete
    Laplacian, reached by the checkerboard (Cohen 2002).

    Parameters
    ----------
    spacing : float
        In m.
    max_speed : float
        Fastest speed of sound, in m/s.

    Returns
    -------
    float
        In s.
    """
    per_axis = -STENCIL[0] + 2 * STENCIL[1] - 2 * STENCIL[2]
    return 2 * spacing / (max_speed * math.sqrt(2 * per_axis))


def phase_speed_error(points_per_wavelength: float, courant: float) -> float:
    r"""Worst relative error of the phase speed over all directions.

    Inserting a plane wave into the scheme gives the dispersion relation
    :math:`\sin^2(\omega\Delta t/2) = (C/2)^2 [K(k_x h) + K(k_y h)]` with the Courant number
    :math:`C = c\Delta t/h` and :math:`K(\kappa) = -\sum_j w_j \cos(j\kappa)` (Cohen 2002).

    Parameters
    ----------
    points_per_wavelength : float
        Wavelength over spacing.
    courant : float
        :math:`c\Delta t/h`.

    Returns
    -------
    float
        Largest :math:`|c_{numerical}/c - 1|`.
    """
    angle = np.linspace(0, math.pi / 4, 16)
    wavenumber = 2 * math.pi / points_per_wavelength
    symbol = np.zeros_like(angle)
    for component in (wavenumber * np.cos(angle), wavenumber * np.sin(angle)):
        symbol -= STENCIL[0]
        for offset in (1, 2):
            symbol -= 2 * STENCIL[offset] * np.cos(offset * component)
    phase = 2 * np.arcsin(np.minimum(0.5 * courant * np.sqrt(symbol), 1.0))
    return float(np.max(np.abs(phase / (courant * wavenumber) - 1)))


def check_stability(grid: Grid, max_speed: float) -> None:
    """Refuse a time step beyond the stability limit.

    Parameters
    ----------
    grid : Grid
        What to check.
    max_speed : float
        Fastest speed of sound in the model, in m/s.

    Raises
    ------
    StabilityError
        Says which time step would do.
    """
    limit = largest_time_step(grid.spacing, max_speed)
    if grid.time_step > limit:
        raise StabilityError(
            f"a time step of {grid.time_step:.3e} s is unstable at {max_speed:.0f} m/s on a grid "
            f"of {grid.spacing:.3e} m: shorten it below {limit:.3e} s or use larger cells"
        )


def check_dispersion(grid: Grid, min_speed: float, max_frequency: float) -> None:
    """Refuse a grid on which the shortest waves would travel at a wrong speed.

    Parameters
    ----------
    grid : Grid
        What to check.
    min_speed : float
        Slowest speed of sound, in m/s.
    max_frequency : float
        Highest frequency that carries energy, in Hz.

    Raises
    ------
    DispersionError
        Says how many points there are in the shortest wavelength.
    """
    points = min_speed / (max_frequency * grid.spacing)
    error = math.inf
    if points > NYQUIST_POINTS:
        error = phase_speed_error(points, min_speed * grid.time_step / grid.spacing)
    if error > DISPERSION_TOLERANCE:
        raise DispersionError(
            f"{points:.1f} grid points in the shortest wavelength ({max_frequency / 1e3:.0f} kHz "
            f"at {min_speed:.0f} m/s) make an error of {100 * error:.1f} % in the phase speed, "
            f"more than {100 * DISPERSION_TOLERANCE:.0f} %: use smaller cells or a lower frequency"
        )


def design_grid(
    radius: float,
    max_frequency: float,
    duration: float,
    speeds: tuple[float, float],
    *,
    points_per_wavelength: float = 4.0,
    sponge: int = 20,
    margin: int = 5,
) -> Grid:
    """Choose the coarsest grid that resolves a band around a ring.

    Parameters
    ----------
    radius : float
        Of the ring, in m.
    max_frequency : float
        Highest frequency of the band, in Hz.
    duration : float
        Time to simulate, in s.
    speeds : tuple of float
        Slowest and fastest speed of sound that may occur, in m/s.
    points_per_wavelength : float, default 4
        Cells in the shortest wavelength.
    sponge : int, default 20
        Thickness of the absorbing layer, in cells.
    margin : int, default 5
        Cells between the ring and the sponge: room for the footprint of a transducer.

    Returns
    -------
    Grid
        Stable, and within the dispersion tolerance.

    Raises
    ------
    DispersionError
        If there are too few points per wavelength.
    """
    slowest, fastest = speeds
    spacing = slowest / (max_frequency * points_per_wavelength)
    time_step = SAFETY * largest_time_step(spacing, fastest)
    grid = Grid(
        cells=2 * (math.ceil(radius / spacing) + margin + sponge) + 1,
        spacing=spacing,
        sponge=sponge,
        time_step=time_step,
        num_steps=math.ceil(duration / time_step),
    )
    check_stability(grid, fastest)
    check_dispersion(grid, slowest, max_frequency)
    return grid
