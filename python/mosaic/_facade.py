"""Builds facades: packages and modules with the names of mosaic 1.2, before the modules that have the code.

No module but a façade imports a façade, and no other module imports by name.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any


def lazy_names(
    package: str, homes: dict[str, str], modules: Container[str] = ()
) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package whose names lie in other modules, which are imported when first asked for.

    Parameters
    ----------
    package : str
        The package's name.
    homes : dict of str to str
        The module of each name.
    modules : container of str
        Modules of the package itself that are attributes of it without having been imported.
    """

    def get(name: str) -> Any:
        home = homes.get(name)
        if home is None and name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
        from importlib import import_module

        if home is None:
            return import_module(f"{package}.{name}")
        value = getattr(import_module(home), name)
        setattr(sys.modules[package], name, value)
        return value

    return get


def make_callable(module: str, call: Any) -> None:
    """Have a module called like a function.

    Parameters
    ----------
    module : str
        Its name, by which it is pickled.
    call : object
        What its class has as ``__call__``.
    """

    def reduce(self: object) -> tuple[Any, ...]:
        from importlib import import_module

        return import_module, (module,)

    kind = type(sys)
    space = {"__call__": call, "__reduce__": reduce}
    sys.modules[module].__class__ = type("CallableModule", (kind,), space)
