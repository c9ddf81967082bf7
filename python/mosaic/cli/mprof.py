"""``mprof``: shows the profile of a run in a browser, or turns it into a trace for Perfetto."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default is the command line.

    Returns
    -------
    int
        0, or 1 if the file cannot be read or the output not be written.
    """
    said = _parser().parse_args(arguments)
    try:
        path = Path(said.file) if said.file is not None else _newest()
        output = _convert(path, said.output, perfetto=said.perfetto)
    except (OSError, ValueError) as error:
        print(f"mprof: {error}", file=sys.stderr)
        return 1
    print(output)
    if not (said.perfetto or said.no_open):
        _open(output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mprof",
        description="Show the profile of a run: when its calls were made, waited and ran, and where its time went.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="the profile; default: the newest in mosaic-workspace/",
    )
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="what to write; default: beside the profile"
    )
    parser.add_argument(
        "--perfetto",
        action="store_true",
        help="write a trace for ui.perfetto.dev or chrome://tracing instead of a page",
    )
    parser.add_argument("--no-open", action="store_true", help="do not open the page in a browser")
    return parser


def _newest() -> Path:
    from mosaic.launcher.recording import WORKSPACE

    found = sorted(Path(WORKSPACE).glob("*.mprof"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ValueError(
            f"there is no profile in {WORKSPACE}/: name the file, or record one with profile=True"
        )
    return found[-1]


def _convert(path: Path, output: str | None, *, perfetto: bool) -> Path:
    from mosaic.profile import model, tables

    profile = model.build(tables.read(path))
    to = Path(output) if output is not None else path.with_suffix(".json" if perfetto else ".html")
    if to.exists() and to.samefile(path):
        raise ValueError(f"the output {to} would replace the profile itself")
    if perfetto:
        from mosaic.profile.perfetto import write

        with to.open("w", encoding="utf-8") as file:
            write(profile, file)
    else:
        from mosaic.profile.page import render

        to.write_text(render(profile, path.name), encoding="utf-8")
    return to.absolute()


def _open(page: Path) -> None:
    """Open the page where there is a screen; the path was printed in any case."""
    if sys.platform.startswith("linux") and not any(map(os.environ.get, _DISPLAYS)):
        return
    import webbrowser

    try:
        webbrowser.open(page.as_uri())
    except (webbrowser.Error, OSError) as error:
        print(f"mprof: no browser could be started: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
