"""``imrun``: ``jupyter``, with the OpenMP library preloaded that GPU compilers need."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from mosaic.cli.command import NOT_FOUND, NOT_RUNNABLE
from mosaic.cli.findomp import find, preload


def main(arguments: Sequence[str] | None = None) -> int:
    """Become ``jupyter``.

    Parameters
    ----------
    arguments : sequence of str, optional
        Its arguments; default are those of this process.

    Returns
    -------
    int
        The exit code if that failed: 127 if there is no ``jupyter``, 126 if it cannot be run.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    environment = dict(os.environ)
    library = find()
    if library is not None:
        environment["LD_PRELOAD"] = preload(environment, library)
    jupyter = shutil.which("jupyter")
    if jupyter is None:
        print("imrun: there is no jupyter here: pip install jupyterlab", file=sys.stderr)
        return NOT_FOUND
    try:
        os.execve(jupyter, [jupyter, *given], environment)  # noqa: S606 - it is what it is there for
    except OSError as error:
        print(f"imrun: jupyter cannot be run: {error.strerror}", file=sys.stderr)
        return NOT_RUNNABLE


if __name__ == "__main__":
    sys.exit(main())
