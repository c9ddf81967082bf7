"""The speed of sound as a parameter: one root at the warehouse, a copy on every node.

The driver sets and publishes it, the solvers read it where they are. What travels with a shot is its name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import mosaic


@mosaic.tessera
class Medium:
    """What the waves travel through.

    `Medium.parameter(speed, cached=True)` is a local object whose root lives at the warehouse. After
    ``await medium.push("speed", publish=True)`` every call that is given the medium sees the new
    speed.

    Parameters
    ----------
    speed : ndarray, shape ``(cells, cells)``
        Speed of sound, in m/s; kept in float32, the precision of the wavefields.
    """

    def __init__(self, speed: npt.NDArray[Any]) -> None:
        self.speed = np.asarray(speed, np.float32)
