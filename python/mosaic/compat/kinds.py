"""The tuples of classes by which programs of mosaic 1.2 tell references and proxies from plain values."""

from __future__ import annotations

from mosaic.compat.explicit import HandMadeTask
from mosaic.core.array import ArrayProxy
from mosaic.core.host import Tessera
from mosaic.core.output import TaskDone, TaskOutput
from mosaic.core.proxy import TesseraProxy
from mosaic.core.task import Task, TaskArrayProxy, TaskProxy
from mosaic.parameter.reference import ParameterReference
from mosaic.warehouse.live_reference import LivingObject
from mosaic.warehouse.reference import WarehouseObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

awaitable_types: tuple[type[Any], ...] = (
    TaskProxy,
    TaskArrayProxy,
    TaskOutput,
    TaskDone,
    WarehouseObject,
    LivingObject,
    ParameterReference,
    HandMadeTask,
)

remote_types: tuple[type[Any], ...] = (Tessera, Task)

proxy_types: tuple[type[Any], ...] = (
    TesseraProxy,
    ArrayProxy,
    TaskProxy,
    TaskArrayProxy,
    HandMadeTask,
)
