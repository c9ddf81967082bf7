"""The grid that fields live on."""


class Grid:
    """Points in space and steps in time.

    Parameters
    ----------
    shape : tuple of int
        Points along each axis.
    spacing : float
        Metres between points.
    num : int
        Steps in time.
    step : float
        Seconds between steps.
    """

    def __init__(self, shape=(24, 20), spacing=1.0e-3, num=60, step=2.0e-7):
        self.shape = tuple(shape)
        self.spacing = spacing
        self.num = num
        self.step = step
