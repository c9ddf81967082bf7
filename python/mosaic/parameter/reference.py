"""References to the roots of parameters: ``parameter.ref`` and what ``runtime.put(parameter)`` returns.

The value of such a reference is a parameter that is tied to the root, with the root's state of that moment. As an
argument of a call it is read then; one that was published gives the state that was published, which the node keeps
once for all its workers. The reference counts as one to the root.
"""

from __future__ import annotations

from copy import deepcopy

from mosaic import _core
from mosaic.core import network
from mosaic.core.futures import Completion
from mosaic.core.hosted import hosted, object_of
from mosaic.core.losses import losses_as
from mosaic.errors import MosaicError, ObjectLostError
from mosaic.parameter import link
from mosaic.parameter.pickling import Snapshot
from mosaic.parameter.root import service
from mosaic.parameter.state import state_of
from mosaic.warehouse.reference import WarehouseObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, Self

    from mosaic._core import Task
    from mosaic.core.proxy import TesseraProxy
    from mosaic.parameter.mixin import ParameterMixin

_NONE: frozenset[str] = frozenset()


class ParameterReference(WarehouseObject):
    """A reference to the root of a parameter.

    Parameters
    ----------
    proxy : TesseraProxy
        The root.
    cached : bool
        Parameters made from it are sent without their state.
    stored : Task, optional
        The published state.
    pushing : Task, optional
        What brings the local state to the root.

    Examples
    --------
    ``reference = await runtime.put(field, publish=True)``, ``solver.run(reference)``, ``await reference.value()``.
    """

    __slots__ = ("_cached", "_proxy", "_pushing", "_stored")

    _cached: bool
    _proxy: TesseraProxy
    _pushing: Task | None
    _stored: Task | None

    def __new__(
        cls,
        proxy: TesseraProxy,
        cached: bool = False,
        stored: Task | None = None,
        pushing: Task | None = None,
    ) -> Self:
        """Make a reference."""
        made = super().__new__(cls, stored, whole=stored is not None)
        made._proxy, made._cached = proxy, cached
        made._stored, made._pushing = stored, pushing
        return made

    @property
    def uid(self) -> str:
        """The uid of the root."""
        return self._proxy.uid

    @property
    def warehouse_id(self) -> str:
        """The uid of the runtime where the root lives; blocks until that is decided."""
        return self._proxy.runtime_id or network.uid_of(self._proxy._ref.wait_placed())

    @property
    def state(self) -> str:
        """``pending``, ``done``, or ``failed`` where the root is lost or was never built."""
        state = self._proxy.state
        return {"listening": "done", "pending": "pending"}.get(state, "failed")

    @property
    def nbytes(self) -> int | None:
        """The encoded size of the published state in bytes, once known."""
        return None if self._stored is None else self._stored.nbytes

    def read(self) -> _core.Task:
        """Return a task whose value is a parameter with the root's state, after the calls made before."""
        self._check()
        here = object_of(self._proxy._ref.id)
        engine = network.engine()
        if here is not None and engine.call_is_running() is not None:
            # A call on the root would wait for the end of the one that asks.
            return engine.put(
                Snapshot(here, self._proxy, self._cached), self._proxy._user_class.__name__
            )
        return self._call("whole", self._proxy, self._cached)

    def _call(self, operation: str, *args: Any) -> _core.Task:
        return self._proxy._ref.method("_mosaic_root", reserved=_NONE)(operation, *args)

    def _gone(self, error: BaseException) -> ObjectLostError:
        return ObjectLostError(
            f"the root of the parameter {self.uid}, a {self._proxy._user_class.__name__}, is lost: {error}"
        )

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until the root exists and has the state that was put; gives this reference."""
        self._check()
        with losses_as(self._gone, *link.GONE):
            yield from self._proxy.__await__()
            for task in (self._pushing, self._stored):
                if task is not None:
                    yield from task.__await__()
        self._pushing = None
        return self

    async def value(self) -> Any:
        """Return a new parameter that is tied to the root, with the root's state of now.

        Raises
        ------
        ObjectLostError
            The reference was dropped, or the root is lost.
        """
        self._check()
        here = object_of(self._proxy._ref.id)
        if here is not None:
            return deepcopy(Snapshot(here, self._proxy, self._cached))
        with losses_as(self._gone, *link.GONE):
            return await self.read().result()

    result = value

    def wait(self, timeout: float | None = None) -> Any:
        """Block until the value is here, and return it; see `value`."""
        with losses_as(self._gone, *link.GONE):
            return self.read().wait(timeout)

    async def size(self, pending: bool = False) -> int:
        """Return about how many bytes the root has: its arrays, and the rest; ``pending`` is not needed."""
        self._check()
        with losses_as(self._gone, *link.GONE):
            size: int = await self._call("size").result()
        return size

    def drop(self, propagate: bool = True, *, cache_only: bool = False) -> Completion:
        """Free the published state, and this reference; the root lives as long as a parameter is tied to it.

        Parameters
        ----------
        propagate : bool
            Accepted and not needed.
        cache_only : bool
            Free only what this process has of it, which is nothing.
        """
        if not cache_only and not getattr(self, "_dropped", False):
            self._dropped = True
            if self._stored is not None:
                network.engine().discard(self._stored.id)
        return Completion()

    def __reduce__(self) -> tuple[Any, ...]:
        return ParameterReference, (self._proxy, self._cached, self._stored)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParameterReference) and other._proxy == self._proxy

    def __hash__(self) -> int:
        return hash(self._proxy)


def reference(parameter: ParameterMixin) -> ParameterReference:
    """Return a reference to the root of a parameter.

    Raises
    ------
    MosaicError
        The parameter is tied to no root.
    """
    found = link.link_of(parameter)
    if found is not None:
        return ParameterReference(found.proxy, found.cached)
    root = hosted(parameter)
    if root is None:
        name = link.plain_class(type(parameter)).__name__
        raise MosaicError(f"this {name} is tied to no root")
    return ParameterReference(root.proxy, root.cached)


def put(parameter: ParameterMixin, publish: bool) -> ParameterReference | None:
    """Push a parameter, for `Runtime.put`; None where it is tied to no root."""
    found = link.link_of(parameter)
    stored = pushing = None
    if found is None:
        if hosted(parameter) is None:
            return None
        if publish:
            service(parameter)("publish")
    elif found.filling is None:
        # A parameter whose first state is still on its way from the root has nothing to push.
        copied = publish and found.cached
        pushing = link.send(parameter, "push", True, state_of(parameter), copied)
    if publish and (found is None or found.filling is None):
        name = link.plain_class(type(parameter)).__name__
        stored = network.engine().put(parameter, name)
    made = reference(parameter)
    return ParameterReference(made._proxy, made._cached, stored, pushing)
