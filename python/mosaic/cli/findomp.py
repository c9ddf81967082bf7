"""``findomp``: prints the OpenMP library that must be preloaded for GPU compilers, or nothing.

Code that such a compiler made brings the compiler's OpenMP library. If another has been loaded before, by NumPy for
example, the two conflict; preloaded, the compiler's library is the one that all use.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

VARIABLES = ("CUDA_HOME", "NVHPC_CUDA_HOME", "CUDA_ROOT", "HPCSDK_HOME", "LD_LIBRARY_PATH")
"""Variables that lead to an installation of the NVIDIA HPC SDK, in the order in which they count."""

LIBRARIES = (
    "libgomp.so",
    "libgomp.so.1",
    "libiomp5.so",
    "libiomp.so",
    "libomp.so",
    "libomp.so.5",
    "libnvomp.so",
)
"""Names of the OpenMP library in ``compilers/lib`` of such an installation, the first that is there counts."""

_LEVELS = 4
"""Folders from what a variable names, such as ``cuda/12.3/lib64``, up to the root of the installation, at most."""

COMPILERS = {
    "nvc": ("libnvomp.so", "libomp.so"),
    "nvc++": ("libnvomp.so", "libomp.so"),
    "pgcc": ("libomp.so",),
    "amdclang": ("libomp.so",),
    "aompcc": ("libomp.so",),
}
"""GPU compilers of C and C++, the first that is there counts; and the names of their library, likewise."""


def find(path: str | None = None, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the library, None if there is no GPU compiler or it has none.

    What the variables lead to counts for more than a compiler on the path.

    Parameters
    ----------
    path : str, optional
        Where to look for compilers. Default is ``PATH``.
    environment : mapping, optional
        The variables. Default is this process's environment.
    """
    environment = os.environ if environment is None else environment
    return find_by_variables(environment) or _find_by_compiler(path)


def find_by_variables(environment: Mapping[str, str]) -> str | None:
    """Return the library in ``compilers/lib`` of the installation that one of `VARIABLES` leads to, or None."""
    for variable in VARIABLES:
        for given in environment.get(variable, "").split(os.pathsep):
            for folder in _library_folders(given):
                for name in LIBRARIES:
                    if (library := folder / name).is_file():
                        return str(library)
    return None


def _library_folders(given: str) -> Iterator[Path]:
    if not os.path.isabs(given):
        return
    place = Path(given)
    for root in (place, *place.parents[:_LEVELS]):
        if (folder := root / "compilers" / "lib").is_dir():
            yield folder


def preload(environment: Mapping[str, str], library: str) -> str:
    """Return the value of ``LD_PRELOAD`` by which a program loads a library before those that it loads already."""
    before = environment.get("LD_PRELOAD")
    return f"{library}:{before}" if before else library


def _find_by_compiler(path: str | None) -> str | None:
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
