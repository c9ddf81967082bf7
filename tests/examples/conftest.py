"""What the tests of the examples need before the leak check takes its first look."""

import io

import matplotlib

matplotlib.use("Agg")

from matplotlib import figure


def pytest_collection_finish() -> None:
    # Matplotlib keeps the font files open that it has read once.
    drawing = figure.Figure()
    axes = drawing.subplots()
    axes.set_title("Speed of sound (m/s) $10^{-3}$")
    axes.set_yscale("log")
    axes.plot([1e-3, 1.0], label="100 kHz")
    axes.legend()
    drawing.savefig(io.BytesIO())
