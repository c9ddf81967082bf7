"""Imports modules in several threads at once, without deadlocks and half-initialised modules.

CPython has a lock for each module that is being imported. Two threads that take two of them in opposite orders would
wait for each other for ever; CPython notices, and gives one of them a module that is not complete, or `_DeadlockError`.
`install` puts `_find_and_load` and `_lock_unlock_module` below in the place of CPython's functions of these names,
which its import statement, `importlib.import_module` and the unpickler call for a module that is not complete.
Modules that are complete never come here. There is no new lock, for a module may wait for other threads while it is
imported.

- IMP-1: A thread takes the lock of a module only when its packages are complete, or are being imported by the thread
  itself: ``import a.b`` waits for ``a`` with nothing held. CPython takes the lock of ``a.b`` first, then that of ``a``.
- IMP-2: Of the threads in a cycle of waits exactly one gets a module that is not complete: the one that would close
  the cycle. What it asks for is what it would get if the others' imports had come first on one thread. CPython may
  choose both.
- IMP-3: A thread that got such a module waits until it is complete as soon as no cycle keeps it from that, before the
  import statement that caused it ends.
- IMP-4: A thread that was started by a module while it was imported does not wait by IMP-1 for the package of that
  module, since the module may wait for the thread. It has what CPython gives it.

`_waits` is read and written under CPython's global import lock, which `os.fork` takes too: a child finds it free. All
else here belongs to one thread each. This module imports nothing of mosaic.
"""

from __future__ import annotations

import _imp
import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_bootstrap: Any = sys.modules["_frozen_importlib"]
_original_find_and_load = _bootstrap._find_and_load
_original_lock_unlock_module = _bootstrap._lock_unlock_module

_MISSING = object()


class _Importing:
    """What a thread that imports has under way."""

    __slots__ = ("depth", "incomplete")

    def __init__(self) -> None:
        self.depth = 0
        # Modules that this thread got before they were complete (IMP-3).
        self.incomplete: list[str] = []


_importing: dict[int, _Importing] = {}
"""What the threads that import have under way, by their idents."""

_waits: dict[int, Any] = {}
"""The module lock that a thread takes, or holds since it waited for it."""

_starters: dict[int, tuple[_Importing, ...]] = {}
"""The imports by which a thread was started, directly or through other threads."""


def is_complete(module: Any) -> bool:
    """Return whether the import of a module of `sys.modules` has ended."""
    try:
        return not getattr(getattr(module, "__spec__", None), "_initializing", False)
    except Exception:
        # An object that a program has put there in the place of a module.
        return True


def import_packages(name: str, import_: Callable[[str], Any] = __import__) -> None:
    """Import the packages of a module, the outermost first, and wait for those that other threads import.

    Parameters
    ----------
    name : str
        The full name of the module, which is not imported itself.
    import_ : callable
        Imports a module by its full name.

    Raises
    ------
    ImportError
        As the import statement.
    """
    end = name.find(".")
    while end > 0:
        package = name[:end]
        module = sys.modules.get(package, _MISSING)
        if module is _MISSING:
            import_(package)
        elif not is_complete(module):
            _wait_until_complete(package)
        end = name.find(".", end + 1)


def import_complete(name: str) -> None:
    """Import a module, and wait until it is complete.

    Not as the import statement does: see IMP-4, which holds for the module itself too.

    Parameters
    ----------
    name : str
        Its full name.

    Raises
    ------
    ImportError
        As the import statement.
    """
    if name in sys.modules:
        import_packages(f"{name}.")
    else:
        # Unlike the import statement, this does not ask for the outermost package once more.
        _bootstrap._gcd_import(name)


def _find_and_load(name: str, import_: Callable[[str], Any]) -> Any:
    module = sys.modules.get(name, _MISSING)
    if module is not _MISSING and is_complete(module):
        return _original_find_and_load(name, import_)
    me = get_ident()
    own = _importing.get(me)
    if own is None:
        own = _importing[me] = _Importing()
    own.depth += 1
    try:
        import_packages(name, import_)
        lock = _bootstrap._get_module_lock(name)
        outer = _waits.get(me)
        if _may_wait(me, lock):
            try:
                module = _original_find_and_load(name, import_)
            finally:
                _end_wait(me, outer)
        else:
            module = sys.modules.get(name)
            if module is None:
                # Not even made: CPython says so.
                return _original_find_and_load(name, import_)
            own.incomplete.append(name)
        if own.incomplete:
            _complete(own)
    finally:
        own.depth -= 1
        if not own.depth:
            del _importing[me]
            # Left by an interrupt between two lines.
            _waits.pop(me, None)
    return module


def _lock_unlock_module(name: str) -> None:
    me = get_ident()
    lock = _bootstrap._get_module_lock(name)
    if lock.owner != me and not _wait(me, lock):
        # The lock's owner waits for this thread, which therefore imports or, unseen by this module, reloads.
        own = _importing.get(me)
        if own is not None:
            own.incomplete.append(name)


def _wait(me: int, lock: Any) -> bool:
    """Wait until a module's lock is free; return False if its owner waits for this thread."""
    outer = _waits.get(me)
    if not _may_wait(me, lock):
        return False
    try:
        lock.acquire()
        lock.release()
    finally:
        _end_wait(me, outer)
    return True


def _may_wait(me: int, lock: Any) -> bool:
    """Enter into `_waits` that this thread takes a lock, unless that would close a cycle (IMP-2)."""
    # Made before the lock is taken: what allocates may collect garbage, and that may import.
    taken, seen = lock, {me}
    _imp.acquire_lock()
    try:
        while (owner := taken.owner) is not None and owner not in seen:
            seen.add(owner)
            waited = _waits.get(owner)
            if waited is None:
                break
            if waited.owner == me:
                return False
            taken = waited
        _waits[me] = lock
    finally:
        _imp.release_lock()
    return True


def _end_wait(me: int, outer: Any) -> None:
    _imp.acquire_lock()
    try:
        if outer is None:
            del _waits[me]
        else:
            _waits[me] = outer
    finally:
        _imp.release_lock()


def _wait_until_complete(name: str) -> bool:
    """Wait for a module that another thread imports; return False if that would close a cycle."""
    me = get_ident()
    lock = _bootstrap._get_module_lock(name)
    owner = lock.owner
    if owner is None or owner == me:
        return True
    starters = _starters.get(me)
    if starters and _importing.get(owner) in starters:
        return True
    return _wait(me, lock)


def _complete(own: _Importing) -> None:
    """Wait for the modules that this thread got incomplete, but for those that still wait for it (IMP-3)."""
    names, own.incomplete = own.incomplete, []
    for name in names:
        module = sys.modules.get(name)
        if module is not None and not is_complete(module) and not _wait_until_complete(name):
            own.incomplete.append(name)


def _start_thread(
    start: Callable[..., Any], function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """Start a thread as `threading` does, which knows by which imports it was started (IMP-4)."""
    me = get_ident()
    starters = _starters.get(me, ())
    own = _importing.get(me)
    if own is not None:
        starters = (*starters, own)
    if not starters:
        return start(function, *args, **kwargs)

    def run(*args: Any, **kwargs: Any) -> None:
        me = get_ident()
        _starters[me] = starters
        try:
            function(*args, **kwargs)
        finally:
            del _starters[me]

    return start(run, *args, **kwargs)


# The import statement removes the frames of the import system from tracebacks: these are of it.
for _function in (
    _find_and_load,
    _lock_unlock_module,
    import_packages,
    _wait_until_complete,
    _complete,
    _wait,
):
    _function.__code__ = _function.__code__.replace(co_filename="<frozen importlib._bootstrap>")

_STARTS = ("_start_new_thread", "_start_joinable_thread")
"""What `threading` starts threads with: the first up to Python 3.12, the second from 3.13 on."""


def install() -> None:
    """Have the imports of this process go through this module; once is enough."""
    if _bootstrap._find_and_load is not _original_find_and_load:
        return
    import threading
    from functools import partial

    _bootstrap._find_and_load = _find_and_load
    _bootstrap._lock_unlock_module = _lock_unlock_module
    for name in _STARTS:
        start = getattr(threading, name, None)
        if start is not None:
            setattr(threading, name, partial(_start_thread, start))
