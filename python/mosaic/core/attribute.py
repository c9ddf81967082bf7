"""Attributes of remote objects: each reads its value when it is awaited, or at once."""

from __future__ import annotations

from mosaic._core import CallKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from mosaic._core import Task
    from mosaic.core.proxy import TesseraProxy


class RemoteAttribute:
    """An attribute of a remote object; nothing is sent before it is awaited or called.

    ``await proxy.name`` reads it, ordered after the calls made before; ``proxy.name(...)`` calls it, for what only
    the object itself knows to be callable.

    Parameters
    ----------
    proxy : TesseraProxy
        The object.
    name : str
        The attribute.
    immediate : bool
        Read past a running call, rather than after the calls made before.
    """

    __slots__ = ("_kind", "_name", "_proxy", "_task")

    def __init__(self, proxy: TesseraProxy, name: str, immediate: bool = False) -> None:
        self._proxy = proxy
        self._name = name
        self._kind = CallKind.GET_NOW if immediate else CallKind.GET
        self._task: Task | None = None

    def send(self) -> RemoteAttribute:
        """Send the read now."""
        if self._task is None:
            self._task = self._proxy._ref.method(self._name, kind=self._kind)()
        return self

    def __await__(self) -> Generator[Any, None, Any]:
        """Read the attribute; raises `AttributeError` where the object has none of that name."""
        # A second await reads anew; what `get_attr` sent at once is read once.
        task = self._task
        if task is None:
            task = self._proxy._ref.method(self._name, kind=self._kind)()
        return task.result().__await__()

    async def result(self) -> Any:
        """Read the attribute."""
        return await self

    def wait(self, timeout: float | None = None) -> Any:
        """Read the attribute in synchronous code."""
        task = self._task
        if task is None:
            task = self._proxy._ref.method(self._name, kind=self._kind)()
        return task.wait(timeout)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the attribute; returns a task."""
        return self._proxy._remote_method(self._name, None)(*args, **kwargs)

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no truth value before it is awaited")

    def __repr__(self) -> str:
        return f"<RemoteAttribute {self._name!r} of {self._proxy.uid}; await it>"


class ArrayAttribute:
    """An attribute of each element of an array; awaited it gives the list of them."""

    __slots__ = ("_attributes",)

    def __init__(self, attributes: list[RemoteAttribute]) -> None:
        self._attributes = attributes

    def __await__(self) -> Generator[Any, None, list[Any]]:
        return self.result().__await__()

    async def result(self) -> list[Any]:
        """Read the attribute of every element; all reads are sent before the first is awaited."""
        sent = [attribute.send() for attribute in self._attributes]
        return [await attribute for attribute in sent]

    def wait(self, timeout: float | None = None) -> list[Any]:
        """Read the attribute of every element in synchronous code."""
        sent = [attribute.send() for attribute in self._attributes]
        return [attribute.wait(timeout) for attribute in sent]

    def __bool__(self) -> bool:
        raise TypeError("the attributes of an array have no truth value before they are awaited")
