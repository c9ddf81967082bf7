"""Names that mosaic gives to objects of its own, and the names that it never takes for those of a class."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROBES = ("_repr_", "_ipython_", "_mosaic_", "__")
"""Beginnings of names that libraries probe for: refused where the class does not define them."""

ABOUT_HOSTING = frozenset({"has_tessera", "is_proxy", "is_tessera", "_mosaic_root", "_mosaic_copy"})
"""Names that mosaic gives to instances, and that say nothing about the remote object."""

LOCAL_NAMES = ("runtime", "comms", "logger", "loop", "head", "monitor")
"""Names of tesserae, tasks and their proxies that are of this process; programs for mosaic 1.2 read them."""


class ProcessNames:
    """Base of tesserae, tasks, arrays and their proxies: the names of this process, such as `runtime` and `logger`."""

    __slots__ = ()

    @property
    def is_proxy(self) -> bool:
        """Whether this stands for an object that lives elsewhere."""
        return False


def _of_this_process(name: str) -> property:
    def get(self: ProcessNames) -> Any:
        from mosaic.core.descriptors import look_up

        return look_up(name, self)

    return property(
        get, doc=f"The {name} of this process, as instances of tessera classes have it."
    )


for _name in LOCAL_NAMES:
    setattr(ProcessNames, _name, _of_this_process(_name))


class ProxyNames(ProcessNames):
    """Base of proxies."""

    __slots__ = ()

    @property
    def is_proxy(self) -> bool:
        """Whether this stands for an object that lives elsewhere."""
        return True
