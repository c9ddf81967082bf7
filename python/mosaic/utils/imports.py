"""`mimport`: what a dotted name stands for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def mimport(name: str) -> Any:
    """Import a module by its name, or what is in one.

    Parameters
    ----------
    name : str
        ``package.module``, ``package.module.Class`` or ``package.module:Class``.

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

    module, _, inside = name.partition(":")
    parts = module.split(".")
    if not inside:
        found = 1
        # As long as it is the name of a module; what an import of one raises is the caller's to see.
        while found < len(parts) and _has(find_spec, ".".join(parts[: found + 1])):
            found += 1
        module, inside = ".".join(parts[:found]), ".".join(parts[found:])
    value: Any = import_module(module)
    for part in filter(None, inside.split(".")):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            raise ImportError(f"there is no {part!r} in {value!r}, for {name!r}") from error
    return value


def _has(find_spec: Any, name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        # The part before is no package.
        return False
