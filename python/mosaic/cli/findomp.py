"""``findomp``: print the OpenMP library that has to be preloaded for GPU compilers, or nothing.

Code that such a compiler made brings the compiler's OpenMP library. If another has been loaded before, by NumPy for
example, the two do not get on; preloaded, the compiler's is the one that all use.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

COMPILERS = {
    "nvc": ("libnvomp.so", "libomp.so"),
    "nvc++": ("libnvomp.so", "libomp.so"),
    "pgcc": ("libomp.so",),
    "amdclang": ("libomp.so",),
    "aompcc": ("libomp.so",),
}
"""GPU compilers of C and C++, the first that is there counts; and the names of their library, likewise."""


def find(path: str | None = None) -> str | None:
    """Return the library, None if there is no GPU compiler or it has none.

    Parameters
    ----------
    path : str, optional
        Where to look for compilers. Default is ``PATH``.
    """
    for compiler, names in COMPILERS.items():
        found = shutil.which(compiler, path=path)
        if found is None:
            continue
        # Module files and links put it elsewhere: its libraries are beside what is behind the link.
        for root in (Path(found).resolve().parent.parent, Path(found).parent.parent):
            for folder in ("lib", "lib64"):
                for name in names:
                    library = root / folder / name
                    if library.is_file():
                        return str(library)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print it.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line, which has no options; default is that of this process.

    Returns
    -------
    int
        The exit code: 0 whether there is one or not, 2 for a wrong command line.
    """
    import argparse

    argparse.ArgumentParser(
        prog="findomp",
        description="Print the OpenMP library that has to be preloaded for GPU compilers, or nothing.",
    ).parse_args(arguments)
    library = find()
    if library is not None:
        print(library)
    return 0


if __name__ == "__main__":
    sys.exit(main())
