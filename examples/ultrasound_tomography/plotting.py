"""The figure at the end: true, initial and inverted speed of sound, and the misfit."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # before pyplot: no window, no display

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from .acquisition import Ring
from .tomography import Reconstruction


def save_figure(path: Path, result: Reconstruction, ring: Ring, emitters: list[int]) -> None:
    """Draw a reconstruction.

    Parameters
    ----------
    path : Path
        File to write; its suffix chooses the format.
    result : Reconstruction
        What to draw.
    ring : Ring
        The transducers, drawn as dots.
    emitters : list of int
        Those that emit, drawn larger.
    """
    figure = plt.figure(figsize=(13, 8), layout="constrained")
    panels = figure.subplot_mosaic(
        [["true", "initial", "inverted"], ["misfit"] * 3], height_ratios=[3, 2]
    )
    maps = {
        "true": ("True", result.true),
        "initial": (f"Initial: model error {100 * result.error_before:.1f} %", result.initial),
        "inverted": (f"Inverted: model error {100 * result.error_after:.1f} %", result.inverted),
    }
    half = 1e3 * result.grid.spacing * result.grid.cells / 2
    for name, (title, speed) in maps.items():
        image = panels[name].imshow(
            speed,
            origin="upper",
            extent=(-half, half, half, -half),
            vmin=float(result.true.min()),
            vmax=float(result.true.max()),
            cmap="viridis",
            interpolation="nearest",
        )
        _draw_ring(panels[name], ring, emitters)
        panels[name].set(title=title, xlabel="x (mm)", ylabel="y (mm)")
    shown = [panels[name] for name in maps]
    figure.colorbar(image, ax=shown, label="Speed of sound (m/s)", shrink=0.85)
    _draw_misfits(panels["misfit"], result.misfits)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_ring(axes: Axes, ring: Ring, emitters: list[int]) -> None:
    """Dots for the transducers; the view ends a little beyond them."""
    y, x = 1e3 * ring.positions.T
    axes.plot(x, y, ".", color="white", markersize=2)
    axes.plot(x[emitters], y[emitters], "o", color="tab:red", markersize=4)
    edge = 1.08e3 * ring.radius
    axes.set(xlim=(-edge, edge), ylim=(edge, -edge))


def _draw_misfits(axes: Axes, misfits: dict[float, list[float]]) -> None:
    """One line for each band, one after the other."""
    start = 0
    for frequency, values in misfits.items():
        axes.semilogy(
            start + np.arange(len(values)), values, "o-", label=f"{frequency / 1e3:.0f} kHz"
        )
        start += len(values)
    axes.set(
        xlabel="Iterations of all bands, each from its starting model",
        ylabel="Misfit / half the data's energy",
        title="Misfit",
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(title="Band")
