"""The classes that tell what is what: `isinstance(x, CMDBase)` is true for tesserae, tasks and their proxies."""

from __future__ import annotations

PROBES = ("_repr_", "_ipython_", "__")
"""Beginnings of names that other libraries probe for: answered at once, never sent."""


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

    @property
    def is_tessera(self) -> bool:
        """Whether this is the hosting side of a tessera."""
        return False

    @property
    def has_tessera(self) -> bool:
        """Whether a tessera stands behind this object."""
        return False


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
