"""Imports the packages that a pickle needs before it is decoded, with the modules of them that the driver has.

A pickle that refers to functions, classes or modules of installed packages ends with a trailer that names these
packages; `loads` ignores what follows the pickle. A program's own packages, which lie in no ``site-packages``, are not
named: what its driver imports of them, to plot or to read data, is not what its workers need. The driver keeps a list
of the modules that it has imported of all packages that it has named, in a file of the runtime's directory. A process
that receives the name of a package for the first time imports what is listed of it, in the order in which the driver
has, so that user code finds it complete. Afterwards, and where no package is named, decoding takes no notice of this
module.

- PRE-1: Only what a pickle names is imported, and of that only what the driver has imported completely.
- PRE-2: The list is in place before the driver sends the first pickle that names the package.
- PRE-3: A module that cannot be imported is left out silently: the decoder or the program says so if it needs it.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock, get_ident

from mosaic.serialise import import_locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mosaic._core import Engine

LIST_NAME = "imported"
"""The file in the runtime's directory: names of modules, one a line, in the order of their imports."""

STOP = b"."
"""The last byte of a pickle."""

_MARK = b"\n"
"""The last byte of a trailer; before it are two bytes with the length of the names, and the names before these."""

_module_type = type(sys)
_loader_modules = frozenset(
    {"_frozen_importlib_external", "importlib._bootstrap_external", "zipimport"}
)


# ---- the names of packages -------------------------------------------------------------------------

_INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders that packages are installed into."""

_own = frozenset({"mosaic", "cloudpickle", "__main__", "__mp_main__"})
_package_of: dict[str, str | None] = {}


def package_of(module: str) -> str | None:
    """Return the installed package to import for a module: its outermost one that is no namespace.

    Parameters
    ----------
    module : str
        The full name of a module that is imported here.

    Returns
    -------
    str or None
        None for a module without a package, of the standard library, of mosaic, or of the program.
    """
    try:
        return _package_of[module]
    except KeyError:
        pass
    found = _find_package(module)
    if module in sys.modules:
        _package_of[module] = found
    return found


def _find_package(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] in sys.stdlib_module_names or parts[0] in _own:
        return None
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        space = _space(sys.modules.get(name))
        if "__path__" not in space:
            return None
        file = space.get("__file__")
        if file is not None:
            return name if _INSTALLED.intersection(file.split(os.sep)) else None
    return None


def _space(module: Any) -> Any:
    """Return the names in a module, without waking one that loads itself when it is first looked at."""
    kind = type(module)
    if not issubclass(kind, _module_type) or kind.__module__ == "importlib.util":
        return {}
    return _module_type.__getattribute__(module, "__dict__")


# ---- what the sender says --------------------------------------------------------------------------


def note(pickler: Any, obj: Any) -> None:
    """Remember in a pickler, as ``packages``, the package that an object of a pickle needs.

    Parameters
    ----------
    pickler : Pickler
        One whose class has ``packages``, an empty frozenset.
    obj : function, type or module
        What the pickle names.
    """
    named = "__name__" if issubclass(type(obj), _module_type) else "__module__"
    module = getattr(obj, named, None)
    if type(module) is str:
        package = package_of(module)
        if package is not None and package not in pickler.packages:
            pickler.packages |= {package}


_trailers: dict[frozenset[str], bytes] = {}


def trailer(packages: frozenset[str]) -> bytes:
    """Return what to write after a pickle that needs these packages, and list them where this process is the driver."""
    publish(packages)
    try:
        return _trailers[packages]
    except KeyError:
        names = "\0".join(sorted(packages)).encode()
        made = names + len(names).to_bytes(2, "little") + _MARK if len(names) < 1 << 16 else b""
        _trailers[packages] = made
        return made


class _Published:
    """What this process, as the driver, has listed for the network that it started."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.process = os.getpid()
        self.lock = allocate_lock()
        self.modules = 0
        self.packages: set[str] = set()
        self.text = ""

    def update(self) -> None:
        """List the modules of all packages that were named."""
        with self.lock:
            self.packages |= _named
            self.modules = len(sys.modules)
            text = "\n".join(_imported(self.packages))
            if text != self.text:
                self.text = text
                _write(_path(self.engine), text)


_named: set[str] = set()
"""The packages that pickles of this process have named."""

_published: _Published | None = None


def publish(packages: frozenset[str]) -> None:
    """List, where this process is the driver, what is imported of these packages."""
    if not packages <= _named:
        _named.update(packages)
    published = _published
    if (
        published is not None
        and not (packages <= published.packages and len(sys.modules) == published.modules)
        and os.getpid() == published.process
    ):
        published.update()


def publish_for(engine: Engine, shared: bool) -> None:
    """Keep the list from now on: this process is the driver of the network of that engine.

    Parameters
    ----------
    engine : Engine
        The engine of this process.
    shared : bool
        Whether the directory may have the list of another program: under `mrun`.
    """
    global _published
    published = _Published(engine)
    if shared:
        try:  # noqa: SIM105 - cheaper than contextlib
            os.unlink(_path(engine))
        except OSError:
            pass
    if _named:
        # By pickles that were made for an earlier runtime and are remembered.
        published.update()
    _published = published


def publish_nowhere() -> None:
    """Keep no list any more: the runtime has stopped."""
    global _published
    _published = None


def _imported(packages: Iterable[str]) -> list[str]:
    """Return the modules of these packages that are imported completely, from files that any process can import."""
    names = []
    prefixes = tuple(f"{package}." for package in packages)
    for name, module in list(sys.modules.items()):
        if not name.startswith(prefixes) and name not in packages:
            continue
        spec = _space(module).get("__spec__")
        if (
            spec is not None
            and spec.name == name
            and type(spec.loader).__module__ in _loader_modules
            and import_locks.is_complete(module)
        ):
            names.append(name)
    return names


def _path(engine: Engine) -> str:
    # Asked for when it is needed: it comes as an object of `pathlib`, whose import takes milliseconds.
    return os.path.join(engine.directory, LIST_NAME)


def _write(path: str, text: str) -> None:
    unfinished = f"{path}.{get_ident()}"
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(unfinished, path)
    except OSError:
        # The directory is gone, or its disk is full: receivers import what they decode, and no more.
        pass


# ---- what the receiver does ------------------------------------------------------------------------

_engine: Engine | None = None
_complete: set[str] = set()
"""The packages that need no more attention here."""

_complete_texts: set[bytes] = set()
"""The texts of trailers whose packages all are in `_complete`."""

_busy: set[tuple[int, str]] = set()
"""The packages that are being imported here, with the threads that do it."""


def preload_for(engine: Engine) -> None:
    """Use the driver's list from now on: this process, which has that engine, is not the driver."""
    global _engine
    _engine = engine


def preload(pickle: Any) -> None:
    """Import what the trailer of a pickle names; another thread that does so is waited for.

    Parameters
    ----------
    pickle : bytes-like
        One that does not end with `STOP`.
    """
    end = len(pickle) - 3
    if end < 0 or pickle[end + 2 :] != _MARK:
        return
    length = int.from_bytes(pickle[end : end + 2], "little")
    if length > end:
        return
    text = bytes(pickle[end - length : end])
    if text in _complete_texts:
        return
    names = text.decode().split("\0")
    for name in names:
        if name not in _complete:
            _preload_package(name)
    if _complete.issuperset(names):
        _complete_texts.add(text)


def _preload_package(package: str) -> None:
    busy = get_ident(), package
    if busy in _busy:
        # One of its modules receives something while it is imported.
        return
    _busy.add(busy)
    try:
        _import(package)
        for name in _listed(package):
            _import(name)
    finally:
        _busy.discard(busy)
    module = sys.modules.get(package)
    if module is None or import_locks.is_complete(module):
        _complete.add(package)


def _import(name: str) -> None:
    try:  # noqa: SIM105 - cheaper than contextlib
        import_locks.import_complete(name)
    except (Exception, SystemExit):  # noqa: S110 - PRE-3: user code that needs the module gets the error
        pass


def _listed(package: str) -> list[str]:
    if _engine is None:
        return []
    try:
        with open(_path(_engine), encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return []
    prefix = f"{package}."
    return [name for name in text.split("\n") if name.startswith(prefix)]
