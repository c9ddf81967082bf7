"""The abstract classes by which programs of mosaic 1.2 tell what an object is: `isinstance(x, CMDBase)`.

They have no behaviour, and no class of mosaic derives from them: those of 1.2 that did are registered here.
"""

from __future__ import annotations

from abc import ABC

from mosaic.compat.explicit import HandMadeTask
from mosaic.core.array import ArrayProxy
from mosaic.core.host import Tessera
from mosaic.core.output import TaskDone, TaskOutput
from mosaic.core.proxy import TesseraProxy
from mosaic.core.runtime_proxy import RuntimeProxy
from mosaic.core.task import Task, TaskArray, TaskArrayProxy, TaskProxy
from mosaic.runtime.runtime import Runtime
from mosaic.runtime.strategy import MonitorStrategy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Base(ABC):  # noqa: B024 - classes are registered
    """Anything of mosaic's own that lives in a runtime."""

    __slots__ = ()


class CMDBase(Base):
    """A tessera, a task, or a proxy of one."""

    __slots__ = ()


class RemoteBase(CMDBase):
    """The side that hosts."""

    __slots__ = ()


class ProxyBase(CMDBase):
    """The side that calls."""

    __slots__ = ()


_REGISTERED: dict[type[Any], tuple[type[Any], ...]] = {
    Base: (Runtime, MonitorStrategy, TaskDone, TaskOutput),
    CMDBase: (ArrayProxy,),
    RemoteBase: (Task, TaskArray, Tessera),
    ProxyBase: (HandMadeTask, RuntimeProxy, TaskArrayProxy, TaskProxy, TesseraProxy),
}

for _base, _classes in _REGISTERED.items():
    for _class in _classes:
        _base.register(_class)
