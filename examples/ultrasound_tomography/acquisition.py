"""The ring of transducers, the pulse that they emit and how they couple to the grid.

References
----------
Hicks, G. J. (2002). Arbitrary source and receiver positioning in finite-difference schemes using
Kaiser windowed sinc functions. Geophysics 67, 156-165.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .grid import Grid

#: Half-width of the interpolation kernel in cells, and its shape (Hicks 2002, Table 1: best
#: weights for wavelengths of four cells and more).
KERNEL_RADIUS = 4
KERNEL_SHAPE = 6.31


@dataclass(frozen=True)
class Pulse:
    """A cosine under a Gaussian envelope, as a transducer with a certain bandwidth emits it.

    Parameters
    ----------
    centre_frequency : float
        In Hz.
    bandwidth : float, default 0.25
        Standard deviation of the (Gaussian) spectrum over the centre frequency. Up to 0.25 the
        pulse has no component at rest that would be left behind in a 2-D medium.
    """

    centre_frequency: float
    bandwidth: float = 0.25

    @property
    def width(self) -> float:
        """Standard deviation of the envelope, in s."""
        return 1 / (2 * math.pi * self.bandwidth * self.centre_frequency)

    @property
    def delay(self) -> float:
        """Time of the peak, in s: three and a half standard deviations after the start."""
        return 3.5 * self.width

    @property
    def duration(self) -> float:
        """Time after which the pulse is over, in s."""
        return 2 * self.delay

    @property
    def max_frequency(self) -> float:
        """Frequency above which the spectrum is 25 dB and more below its peak, in Hz."""
        return self.centre_frequency * (1 + 2.4 * self.bandwidth)

    def __call__(self, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Amplitude at the given times.

        Parameters
        ----------
        times : ndarray of float64, shape ``(n,)``
            In s.

        Returns
        -------
        ndarray of float64, shape ``(n,)``
            Between -1 and 1.
        """
        since = times - self.delay
        envelope = np.exp(-0.5 * (since / self.width) ** 2)
        carrier = np.cos(2 * math.pi * self.centre_frequency * since)
        amplitude: npt.NDArray[np.float64] = envelope * carrier
        return amplitude


@dataclass(frozen=True)
class Ring:
    """Transducers evenly spaced on a circle around the origin.

    Parameters
    ----------
    radius : float
        In m.
    num_transducers : int
        All of them listen; some of them also emit, one shot each.
    """

    radius: float
    num_transducers: int

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        """Coordinates (y, x) in m, shape ``(num_transducers, 2)``."""
        angle = 2 * math.pi * np.arange(self.num_transducers) / self.num_transducers
        return self.radius * np.stack([np.sin(angle), np.cos(angle)], axis=1)

    def emitters(self, num_shots: int) -> list[int]:
        """Choose the transducers that emit, spread evenly.

        Parameters
        ----------
        num_shots : int
            How many of them.

        Returns
        -------
        list of int
            Their indices.

        Raises
        ------
        ValueError
            If there are fewer transducers than shots, or no shots.
        """
        if not 1 <= num_shots <= self.num_transducers:
            raise ValueError(
                f"{num_shots} shots from a ring of {self.num_transducers} transducers: "
                f"choose between 1 and {self.num_transducers}"
            )
        return [shot * self.num_transducers // num_shots for shot in range(num_shots)]


def interpolation(
    grid: Grid, positions: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.intp], sparse.csr_array]:
    """Kaiser-windowed sinc weights that read the wavefield between the grid points.

    The transpose of the same weights, over the cell's area, spreads a point source.

    Parameters
    ----------
    grid : Grid
        Where the wavefield is known.
    positions : ndarray of float64, shape ``(n, 2)``
        Coordinates (y, x), in m.

    Returns
    -------
    cells : ndarray of intp, shape ``(m,)``
        Flat indices of the m cells that any position touches, each once.
    weights : sparse array, shape ``(n, m)``
        Weight of each of these cells in each position.

    Raises
    ------
    ValueError
        If the footprint of a position leaves the grid.
    """
    index = positions / grid.spacing + (grid.cells - 1) / 2
    first = np.floor(index).astype(np.intp) - KERNEL_RADIUS + 1
    taps = first[:, :, None] + np.arange(2 * KERNEL_RADIUS)
    if taps.min() < 0 or taps.max() >= grid.cells:
        raise ValueError("a transducer lies too close to the edge of the grid: use a wider margin")
    offset = taps - index[:, :, None]
    window = np.i0(KERNEL_SHAPE * np.sqrt(np.maximum(1 - (offset / KERNEL_RADIUS) ** 2, 0)))
    tap_weights = np.sinc(offset) * window / np.i0(KERNEL_SHAPE)
    flat = taps[:, 0, :, None] * grid.cells + taps[:, 1, None, :]
    values = tap_weights[:, 0, :, None] * tap_weights[:, 1, None, :]
    cells, column = np.unique(flat.ravel(), return_inverse=True)
    row = np.repeat(np.arange(len(positions)), flat[0].size)
    shape = (len(positions), len(cells))
    return cells, sparse.csr_array((values.ravel(), (row, column.ravel())), shape=shape)
