"""Gives programs that user code starts the limit of open files that this program was given.

While a network runs, the core has raised the soft limit of this process, for the connections to many workers and the
memory of many results. A program that calls ``select(2)`` must not be given a descriptor beyond 1,023, so what user
code starts gets the limit as it was. Processes that are forked see to that themselves (the core registers it with the C
library): `os.fork`, `os.spawnv`, `pty`, ``multiprocessing`` with ``fork``, and what C code forks. The functions below
start programs in other ways; as long as a network runs here, `os`, ``subprocess`` and ``multiprocessing`` use them.
What C code starts with ``vfork``, ``posix_spawn``, ``system`` or ``popen`` gets the raised limit.
"""

from __future__ import annotations

import os
import sys

from mosaic import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_replaced: list[tuple[Any, str, Any, Any]] = []
"""What was replaced: the module, the name, the function that was there, and the one that is."""


def watch() -> None:
    """Have the limit restored in what is started from now on, if it was raised."""
    if _replaced or _core.given_descriptors() is None:
        return
    import _posixsubprocess

    replacement = _fork_exec(_posixsubprocess.fork_exec)
    _replace(_posixsubprocess, "fork_exec", replacement)
    subprocess = sys.modules.get("subprocess")
    if subprocess is not None:
        _replace(subprocess, "_fork_exec", replacement)
    for name in ("posix_spawn", "posix_spawnp"):
        if hasattr(os, name):
            _replace(os, name, _spawning(getattr(os, name)))
    for name in ("execv", "execve"):
        _replace(os, name, _lowering(getattr(os, name)))
    _replace(os, "system", _system(os.system))


def release() -> None:
    """Leave the starting of programs alone again, unless the limit is still raised."""
    if _core.given_descriptors() is not None:
        return
    for module, name, original, replacement in _replaced:
        if getattr(module, name, None) is replacement:
            setattr(module, name, original)
    subprocess = sys.modules.get("subprocess")
    if subprocess is not None:
        # Imported meanwhile, it has the function from where it was replaced.
        for _, name, original, replacement in _replaced:
            if name == "fork_exec" and getattr(subprocess, "_fork_exec", None) is replacement:
                subprocess._fork_exec = original  # type: ignore[attr-defined]
    _replaced.clear()


def _replace(module: Any, name: str, replacement: Any) -> None:
    original = getattr(module, name, None)
    if original is not None:
        _replaced.append((module, name, original, replacement))
        setattr(module, name, replacement)


def _like(original: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = original.__name__
    function.__doc__ = original.__doc__
    function.__module__ = original.__module__
    function.__wrapped__ = original  # type: ignore[attr-defined]
    return function


def _lowering(original: Any) -> Callable[..., Any]:
    def start(*args: Any, **kwargs: Any) -> Any:
        if not _core.lower_descriptors(insist=True):
            return original(*args, **kwargs)
        try:
            return original(*args, **kwargs)
        finally:
            _core.raise_descriptors()

    return _like(original, start)


def _spawning(original: Any) -> Callable[..., Any]:
    def spawn(path: Any, argv: Any, env: Any, **options: Any) -> Any:
        if _core.lower_descriptors(insist=False):
            try:
                return original(path, argv, env, **options)
            finally:
                _core.raise_descriptors()
        given = _core.given_descriptors()
        searched = original.__name__ == "posix_spawnp"
        if given is None or not (searched or os.access(path, os.X_OK)):
            return original(path, argv, env, **options)
        # More files are open than would fit. The C library takes no file action on a descriptor beyond the limit, and
        # subprocess passes its pipes so from Python 3.13 on: a shell sees to the limit.
        program = os.fsencode(path)
        if not searched and b"/" not in program:
            program = b"./" + program
        shell = b'ulimit -S -n %d\nexec "$0" "$@"' % given
        return original("/bin/sh", ["sh", "-c", shell, program, *argv[1:]], env, **options)

    return _like(original, spawn)


def _fork_exec(original: Any) -> Callable[..., Any]:
    def start(*args: Any) -> Any:
        if _core.lower_descriptors(insist=False):
            try:
                return original(*args)
            finally:
                _core.raise_descriptors()
        if _core.given_descriptors() is not None and args and args[-1] is True:
            # More files are open than would fit, and other threads may need one at this moment. The last argument
            # allows vfork: a process that is forked sees to its limit itself.
            args = (*args[:-1], False)
        return original(*args)

    return _like(original, start)


def _system(original: Any) -> Callable[..., Any]:
    def system(command: Any) -> Any:
        given = _core.given_descriptors()
        if given is None:
            return original(command)
        # It may run for long: the shell sees to the limit.
        return original(b"ulimit -S -n %d\n%s" % (given, os.fsencode(command)))

    return _like(original, system)
