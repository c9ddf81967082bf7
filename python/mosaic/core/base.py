"""The classes that tell what is what: `isinstance(x, CMDBase)` is true for tesserae, tasks and their proxies."""

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


class Base:
    """Anything of mosaic's own that lives in a runtime."""

    __slots__ = ()


class CMDBase(Base):
    """A tessera, a task, or a proxy of one."""

    __slots__ = ()

    @property
    def is_proxy(self) -> bool:
        """Whether this stands for an object that lives elsewhere."""
        return False


def _of_this_process(name: str) -> property:
    def get(self: CMDBase) -> Any:
        from mosaic.core.descriptors import look_up

        return look_up(name, self)

    return property(
        get, doc=f"The {name} of this process, as instances of tessera classes have it."
    )


for _name in LOCAL_NAMES:
    setattr(CMDBase, _name, _of_this_process(_name))


class RemoteBase(CMDBase):
    """The side that hosts."""

    __slots__ = ()


class ProxyBase(CMDBase):
    """The side that calls."""

    __slots__ = ()

    @property
    def is_proxy(self) -> bool:
        """Whether this stands for an object that lives elsewhere."""
        return True


ERRORS = ("MemoryOverflowError", "RuntimeDisconnectedError")
"""Names of `mosaic.errors` that programs of mosaic 1.2 import from `mosaic.core` and its modules."""


def __getattr__(name: str) -> object:
    if name in ERRORS:
        import mosaic.errors

        return getattr(mosaic.errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
