"""`mimport`: imports a module, or an object of one, by its dotted name."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def mimport(name: str, fromlist: str | Iterable[str | os.PathLike[str]] = ()) -> Any:
    """Import a module by its name, or what is in one.

    Parameters
    ----------
    name : str
        ``package.module``, ``package.module.Class`` or ``package.module:Class``.
    fromlist : path or iterable of paths, optional
        Folders to load the module from, in place of those of ``sys.path``. It is loaded anew each time and takes the
        place of no module that is imported; its classes and functions travel to workers by value.

    Raises
    ------
    ImportError
        There is no such module, or nothing by that name in it.

    Examples
    --------
    >>> mimport("os.path").join("a", "b"), mimport("collections.OrderedDict").__name__
    ('a/b', 'OrderedDict')
    """
    from importlib import import_module
    from importlib.util import find_spec

    folders = [fromlist] if isinstance(fromlist, (str, os.PathLike)) else list(fromlist)
    if folders:
        return _loaded(name, [os.fspath(folder) for folder in folders])
    module, _, inside = name.partition(":")
    parts = module.split(".")
    if not inside:
        found = 1
        # As long as it is the name of a module; what an import of one raises is the caller's to see.
        while found < len(parts) and _has(find_spec, ".".join(parts[: found + 1])):
            found += 1
        module, inside = ".".join(parts[:found]), ".".join(parts[found:])
    return _inside(import_module(module), inside.split("."), name)


def _inside(value: Any, parts: list[str], name: str) -> Any:
    """Return what names lead to from a module."""
    for part in filter(None, parts):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            raise ImportError(f"there is no {part!r} in {value!r}, for {name!r}") from error
    return value


def _loaded(name: str, folders: list[str]) -> Any:
    """Load a module from folders, and return it or what is in it."""
    from importlib.machinery import PathFinder, SourceFileLoader
    from importlib.util import module_from_spec

    class Fresh(SourceFileLoader):
        """Compiles the source: bytecode counts as new where a file has changed within its second."""

        def get_code(self, fullname: str) -> Any:
            return self.source_to_code(self.get_data(self.path), self.path)

    module_name, _, inside = name.partition(":")
    parts = module_name.split(".")
    # A file that has just been written, too.
    PathFinder.invalidate_caches()
    replaced: dict[str, Any] = {}
    module: Any = None
    path: Any = folders
    try:
        for count in range(1, len(parts) + 1):
            full = ".".join(parts[:count])
            spec = None if path is None else PathFinder.find_spec(full, path)
            if spec is None or spec.loader is None:
                break
            if isinstance(spec.loader, SourceFileLoader):
                spec.loader = Fresh(full, spec.loader.path)
            found = module_from_spec(spec)
            replaced[full] = sys.modules.get(full)
            # While it is loaded, for what looks its own module up.
            sys.modules[full] = found
            assert spec.loader is not None  # noqa: S101 - for the type checker
            spec.loader.exec_module(found)
            if module is not None:
                setattr(module, parts[count - 1], found)
            module, path = found, getattr(found, "__path__", None)
        else:
            count = len(parts) + 1
    finally:
        for full, before in replaced.items():
            if before is None:
                sys.modules.pop(full, None)
            else:
                sys.modules[full] = before
    if module is None:
        raise ImportError(f"there is no module {parts[0]!r} in {', '.join(folders)}", name=name)
    return _inside(module, [*parts[count - 1 :], *inside.split(".")], name)


def _has(find_spec: Any, name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        # The part before is no package.
        return False
