"""Descriptors for the names that instances of tessera classes get: `runtime`, `logger`, `_tessera` and their like.

They are non-data descriptors: an instance that sets an attribute of that name has its own. Looked up on the class
they raise `AttributeError`, so that a dataclass does not take them for defaults.
"""

from __future__ import annotations

from mosaic.core import services
from mosaic.errors import MosaicError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Injected:
    """One such name.

    Parameters
    ----------
    name : str
        A name that `look_up` knows.
    """

    __slots__ = ("name",)

    _mosaic_injected = True

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            raise AttributeError(
                f"{owner!r} has no attribute {self.name!r}; its instances have", name=self.name
            )
        return look_up(self.name, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        return _injected, (self.name,)


def look_up(name: str, instance: object) -> Any:
    """Return what an instance of a tessera class gets by one of these names."""
    if name == "_tessera":
        from mosaic.core.hosted import hosted

        found = hosted(instance)
        if found is None:
            raise AttributeError(
                f"{type(instance).__name__!r} object has no attribute '_tessera': it is not hosted",
                name=name,
            )
        return found
    if name in _FLAGS:
        # The object is the user's own, wherever it lives: `_tessera` tells whether it is hosted.
        return False
    if name in _OF_ROOTS:
        return services.services().root_attribute(name, instance)
    if name == "logger":
        from mosaic.log import logger

        return logger()
    provider = services.provider
    runtime = None if provider is None else provider.current_runtime()
    if name == "runtime":
        return runtime
    if runtime is None:
        raise AttributeError(f"there is no {name!r} without a runtime", name=name)
    if name == "comms":
        return runtime
    try:
        return getattr(runtime, "get_event_loop" if name == "loop" else f"get_{name}")()
    except MosaicError as error:
        raise AttributeError(str(error), name=name) from error


_FLAGS = frozenset({"has_tessera", "is_tessera", "is_proxy"})
"""What programs ask of anything; only parameters and proxies have more to answer than no."""

_OF_ROOTS = frozenset({"_mosaic_root", "_mosaic_copy"})
"""What parameters ask of the object that is their root."""

INJECTED: dict[str, Injected] = {
    name: Injected(name)
    for name in (
        "runtime",
        "comms",
        "loop",
        "head",
        "monitor",
        "node",
        "worker",
        "logger",
        "_tessera",
        *sorted(_FLAGS),
        *sorted(_OF_ROOTS),
    )
}


def _injected(name: str) -> Injected:
    return INJECTED[name]


def is_injected(found: object) -> bool:
    """Return whether a class attribute is one of these."""
    return isinstance(found, Injected)
