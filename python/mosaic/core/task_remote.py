"""`TaskProxy.remote`: calls methods of the live result of a task, where the result is."""

from __future__ import annotations

from mosaic.core import methods, network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic.core.task import TaskProxy

_CONSUMED = methods.RESERVED - {"timeout"}
"""Keywords of a call of a live result that are mosaic's. Whether its method declares them is not known here."""


class TaskRemote:
    """Calls methods of the live result of a task, where the result is."""

    __slots__ = ("_task",)

    def __init__(self, task: TaskProxy) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        # The class of the result is known only where the result is.
        if methods.is_probe(name):
            raise AttributeError(
                f"{name!r} is a name that libraries ask any object for: "
                f"task.remote[{name!r}](...) calls a method of that name",
                name=name,
            )
        return self[name]

    def __getitem__(self, name: str) -> Any:
        task = self._task
        host = task.wait_placed()
        return network.engine().functions(host).result_method(name, task, _CONSUMED)

    __iter__ = None
