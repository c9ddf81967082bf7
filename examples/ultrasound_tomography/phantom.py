"""The true speed of sound: a built-in phantom, or a map read from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage import data

from .grid import WATER_SPEED, Grid

Map = npt.NDArray[np.float64]

#: Speeds of sound that the inversion may return, in m/s: from cold fat to skin and tumours.
#: Duck, F. A. (1990), Physical Properties of Tissue, Academic Press, chapter 4, lists values.
SPEED_BOUNDS = (1400.0, 1700.0)

#: Difference of speeds of sound, in m/s, below which a cell counts as water.
WATER_TOLERANCE = 1.0

#: Side of a map whose file does not say how large its cells are, in m.
DEFAULT_WIDTH = 0.15

#: Speeds between which the grey levels of pictures and of the built-in phantom are spread, in m/s.
DARKEST, BRIGHTEST = 1480.0, 1570.0

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
HDF5_SUFFIXES = (".h5", ".hdf5")

#: Pillow's modes with more than eight bits, and the value that is white in each.
DEEP_MODES = {"I;16": 65535, "I;16B": 65535, "I": 65535, "F": 1}

SMALLEST_SIDE = 8


class PhantomError(ValueError):
    """A file that cannot be used as a map of the speed of sound; says what to do."""


@dataclass(frozen=True)
class Phantom:
    """A map of the speed of sound, to be put into the middle of the ring.

    Parameters
    ----------
    speed : ndarray of float64, shape ``(rows, columns)``
        In m/s.
    spacing : float
        Side of a cell, in m.
    water : float
        Speed of sound around the map, in m/s.
    """

    speed: Map
    spacing: float
    water: float = WATER_SPEED

    def sample(self, grid: Grid, radius: float) -> Map:
        """Speed of sound on a simulation grid.

        A map finer than the grid is smoothed first, so that nothing aliases.

        Parameters
        ----------
        grid : Grid
            Where to sample, its origin in the middle of the map.
        radius : float
            Distance from the origin beyond which there is only water, in m.

        Returns
        -------
        ndarray of float64, shape ``(cells, cells)``
            In m/s.
        """
        ratio = grid.spacing / self.spacing
        contrast = self.speed - self.water
        if ratio > 1:
            contrast = ndimage.gaussian_filter(contrast, ratio / 2, mode="nearest")
        rows, columns = self.speed.shape
        y = grid.axis[:, None] / self.spacing + (rows - 1) / 2
        x = grid.axis[None, :] / self.spacing + (columns - 1) / 2
        places = np.broadcast_arrays(y, x)
        sampled = ndimage.map_coordinates(contrast, places, order=1, mode="constant")
        return np.where(grid.radius < radius, self.water + sampled, self.water)

    def fits(self, radius: float) -> bool:
        """Whether there is only water beyond a distance from the middle.

        Parameters
        ----------
        radius : float
            In m.

        Returns
        -------
        bool
        """
        rows, columns = self.speed.shape
        y = (np.arange(rows) - (rows - 1) / 2) * self.spacing
        x = (np.arange(columns) - (columns - 1) / 2) * self.spacing
        outside = np.hypot(y[:, None], x[None, :]) > radius
        return bool(np.all(np.abs(self.speed[outside] - self.water) <= WATER_TOLERANCE))


def shepp_logan() -> Phantom:
    """Shepp-Logan head phantom of scikit-image with the speeds of sound of soft tissue.

    Returns
    -------
    Phantom
        400 cells across; skull, the brightest part, at `BRIGHTEST`; water around it.
    """
    grey = data.shepp_logan_phantom()  # type: ignore[no-untyped-call]
    speed = np.where(grey > 0, DARKEST + (BRIGHTEST - DARKEST) * grey, WATER_SPEED)
    # Only water surrounds the head; the dark regions inside it are the slowest tissue.
    inside = ndimage.binary_fill_holes(grey > 0)
    speed[inside & (grey <= 0)] = DARKEST
    return Phantom(speed, DEFAULT_WIDTH / max(speed.shape))


def load(path: Path, width: float | None = None) -> Phantom:
    """Read a map of the speed of sound.

    Parameters
    ----------
    path : Path
        HDF5 (a dataset called ``data``, or the only one with two dimensions; the spacing in m in
        ``space/spacing``, if there) and ``.npy`` files hold m/s. The grey levels of a picture are
        spread between the water's speed (black) and `BRIGHTEST` (white).
    width : float, optional
        Longer side of the map, in m. Default: as the file says, else `DEFAULT_WIDTH`.

    Returns
    -------
    Phantom
        Surrounded by the median speed along the edge of the map.

    Raises
    ------
    PhantomError
        If the file cannot be read or its content cannot be a map of the speed of sound.
    """
    suffix = path.suffix.lower()
    if suffix not in (".npy", *HDF5_SUFFIXES, *IMAGE_SUFFIXES):
        known = ", ".join([".npy", *HDF5_SUFFIXES, *IMAGE_SUFFIXES])
        raise PhantomError(f"{path}: unknown kind of file '{suffix}': use one of {known}")
    if not path.is_file():
        raise PhantomError(f"{path}: no such file: check the path given to --model")
    spacing: float | None = None
    values: npt.NDArray[Any]
    try:
        if suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        elif suffix in HDF5_SUFFIXES:
            values, spacing = _read_hdf5(path)
        else:
            values = _read_image(path)
    except PhantomError:
        raise
    except Exception as error:  # each reader and decoder has errors of its own
        reason = " ".join(str(error).split())
        raise PhantomError(
            f"{path}: cannot be read as {suffix}: {reason}: write the file again"
        ) from error
    speed = _checked(values, path)
    if width is not None or spacing is None:
        spacing = (width or DEFAULT_WIDTH) / max(speed.shape)
    edge = np.concatenate([speed[0], speed[-1], speed[:, 0], speed[:, -1]])
    return Phantom(speed, spacing, water=float(np.median(edge)))


def _read_hdf5(path: Path) -> tuple[npt.NDArray[Any], float | None]:
    """Values and spacing (m) of the map in an HDF5 file."""
    maps: dict[str, Any] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.dtype.kind in "fiu":
            maps[name] = item

    with h5py.File(path, "r") as file:
        file.visititems(collect)
        named = file.get("data")
        if isinstance(named, h5py.Dataset):
            chosen = named
        elif len(maps) == 1:
            chosen = next(iter(maps.values()))
        else:
            found = ", ".join(maps) or "none"
            raise PhantomError(
                f"{path}: needs a dataset called 'data' or exactly one with two dimensions "
                f"(found: {found}): rename the one to use"
            )
        values = np.asarray(chosen)
        if "space/spacing" not in file:
            return values, None
        spacings = np.ravel(file["space/spacing"])
        numbers = spacings.size > 0 and spacings.dtype.kind in "fiu"
        if not (numbers and np.all(spacings > 0) and np.ptp(spacings) <= 1e-6 * np.max(spacings)):
            raise PhantomError(
                f"{path}: space/spacing must be positive, the same both ways, in m: {spacings}"
            )
        return values, float(spacings[0])


def _read_image(path: Path) -> npt.NDArray[Any]:
    """Grey levels of a picture, as speeds between the water's and the brightest."""
    with Image.open(path) as picture:
        if picture.mode in DEEP_MODES:
            full_scale = DEEP_MODES[picture.mode]
            grey = np.asarray(picture) / full_scale
        else:
            black = Image.new("RGBA", picture.size, "black")
            flat = Image.alpha_composite(black, picture.convert("RGBA"))
            grey = np.asarray(flat.convert("L")) / 255
    speed: npt.NDArray[Any] = WATER_SPEED + (BRIGHTEST - WATER_SPEED) * np.clip(grey, 0, 1)
    return speed


def _checked(values: npt.NDArray[Any], path: Path) -> Map:
    """Return the values as float64 if they can be speeds of sound in soft tissue."""
    if values.dtype.kind not in "fiu":
        raise PhantomError(
            f"{path}: holds values of type {values.dtype}: store real numbers, in m/s"
        )
    if values.ndim != 2:
        raise PhantomError(
            f"{path}: holds an array of shape {values.shape}: give a map with two dimensions"
        )
    if min(values.shape) < SMALLEST_SIDE:
        raise PhantomError(
            f"{path}: a map of {values.shape} cells is too small: give at least 8 x 8"
        )
    speed = values.astype(np.float64)
    if not np.all(np.isfinite(speed)):
        raise PhantomError(
            f"{path}: holds NaN or infinite values: replace them by the speed of water, 1500"
        )
    low, high = float(speed.min()), float(speed.max())
    if low < SPEED_BOUNDS[0] or high > SPEED_BOUNDS[1]:
        hint = "give the speed of sound of soft tissue"
        if SPEED_BOUNDS[0] <= 1e3 * low and 1e3 * high <= SPEED_BOUNDS[1]:
            hint = "these look like km/s: multiply by 1000"
        raise PhantomError(
            f"{path}: values from {low:.5g} to {high:.5g} are not speeds in m/s between "
            f"{SPEED_BOUNDS[0]:.0f} and {SPEED_BOUNDS[1]:.0f}: {hint}"
        )
    return speed
