"""Command line: ``python -m examples.ultrasound_tomography`` from the root of the repository."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .phantom import Phantom, PhantomError, load, shepp_logan

NUM_TRANSDUCERS = 128
RING_RADIUS = 0.080  # m

#: Formats in which the figure can be written.
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")
DEFAULT_FIGURE = "ultrasound_tomography.png"
INTERRUPTED = 130  # what shells report after Ctrl-C


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints take one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message} (--help shows the options)\n")


def whole_number(least: int, most: int | None = None) -> Any:
    """Make a converter of option values for `argparse`.

    Parameters
    ----------
    least : int
        Smallest number accepted.
    most : int, optional
        Largest one.

    Returns
    -------
    callable
        Converts text to int; raises `argparse.ArgumentTypeError` with what would be right.
    """
    wanted = f"a whole number of at least {least}" + (f" and at most {most}" if most else "")

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"'{text}' is not {wanted}")
        return number

    return convert


def width_in_mm(text: str) -> float:
    """Convert the option ``--width`` from mm to m."""
    try:
        width = float(text)
    except ValueError:
        width = 0.0
    if not 10 <= width <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}' is not a width between 10 and 1000 mm")
    return width / 1e3


def figure_path(text: str) -> Path:
    """Convert the option ``--output``, a figure or a folder; folders are made if need be."""
    path = Path(text)
    if path.suffix == "" or path.is_dir():
        path /= DEFAULT_FIGURE
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        known = ", ".join(FIGURE_SUFFIXES)
        raise argparse.ArgumentTypeError(f"'{text}' must be a folder or end in one of {known}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"cannot make the folder of '{text}': {error.strerror}"
        ) from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"'{text}' cannot be written: choose another place")
    return path


def make_parser() -> Parser:
    """Describe the options.

    Returns
    -------
    Parser
    """
    parser = Parser(
        prog="ultrasound_tomography",
        description="Recover the speed of sound in a 2-D breast phantom from simulated ultrasound "
        "by full-waveform inversion, the shots spread over the workers of a mosaic runtime.",
    )
    add = parser.add_argument
    add(
        "--workers",
        type=whole_number(1),
        metavar="N",
        help="worker processes (default: one a core)",
    )
    add(
        "--shots",
        type=whole_number(1, NUM_TRANSDUCERS),
        default=16,
        metavar="N",
        help=f"transducers, of {NUM_TRANSDUCERS}, that emit (default: %(default)s)",
    )
    add(
        "--iterations",
        type=whole_number(1),
        default=12,
        metavar="N",
        help="updates of the model in each of the three frequency bands (default: %(default)s)",
    )
    add(
        "--model",
        type=Path,
        metavar="PATH",
        help="speed of sound in m/s (.h5, .npy) or a picture (default: Shepp-Logan phantom)",
    )
    add(
        "--width",
        type=width_in_mm,
        metavar="MM",
        help="longer side of the model (default: as its file says, else 150 mm)",
    )
    add(
        "--output",
        type=figure_path,
        default="demo-output",
        metavar="PATH",
        help="figure to write, or the folder for it (default: %(default)s)",
    )
    add("--seed", type=whole_number(0), default=0, metavar="N", help="of the noise (default: 0)")
    return parser


class ProgressReporter:
    """Shows a progress bar with the time left, and prints lines above it.

    Parameters
    ----------
    progress : rich.progress.Progress
        The bar.
    total : float
        Cost of the whole work.
    """

    def __init__(self, progress: Progress, total: float) -> None:
        self.progress = progress
        self.total = total
        self.bar = progress.add_task("inverting", total=total)

    def advance(self, cost: float) -> None:
        """Move the bar."""
        self.progress.advance(self.bar, cost)

    def finish(self) -> None:
        """Fill the bar, even if a band took fewer evaluations than planned."""
        self.progress.update(self.bar, completed=self.total)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.progress.console.print(text, highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example.

    Parameters
    ----------
    argv : sequence of str, optional
        Command line without the program's name. Default: that of this process.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    SystemExit
        With status 2 if the command line or the model makes no sense.
    """
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        phantom = load(options.model, options.width) if options.model else shepp_logan()
    except PhantomError as error:
        parser.error(str(error))
    return run(options, phantom)


def run(options: argparse.Namespace, phantom: Phantom) -> int:
    """Start a runtime, reconstruct the phantom and draw the result.

    Parameters
    ----------
    options : argparse.Namespace
        See `make_parser`.
    phantom : Phantom
        The truth.

    Returns
    -------
    int
        Exit status.
    """
    # Not before the options are known to be good: these take most of the start-up time.
    import mosaic

    from .acquisition import Ring
    from .plotting import save_figure
    from .tomography import Experiment, Reconstruction, reconstruct

    experiment = Experiment(
        ring=Ring(radius=RING_RADIUS, num_transducers=NUM_TRANSDUCERS),
        num_shots=options.shots,
        iterations=options.iterations,
        seed=options.seed,
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    console = Console()
    if not phantom.fits(experiment.imaging_radius):
        console.print(
            f"note: what lies beyond {1e3 * experiment.imaging_radius:.0f} mm from the middle "
            "of the model is taken for water; a smaller --width brings it in",
            highlight=False,
        )

    async def invert(runtime: Any) -> Reconstruction:
        with Progress(*columns, console=console) as progress:
            reporter = ProgressReporter(progress, experiment.total_cost)
            result = await reconstruct(runtime, phantom, experiment, reporter)
            reporter.finish()
            return result

    started = time.perf_counter()
    workers = {} if options.workers is None else {"num_workers": options.workers}
    try:
        result = mosaic.run(invert, num_threads=1, **workers)
    except KeyboardInterrupt:
        console.print("interrupted")
        return INTERRUPTED
    elapsed = time.perf_counter() - started
    save_figure(options.output, result, experiment.ring, experiment.ring.emitters(options.shots))
    console.print(
        f"relative model error: {result.error_before:.3f} before, {result.error_after:.3f} after "
        f"({elapsed:.1f} s)\nfigure: {options.output}",
        highlight=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
