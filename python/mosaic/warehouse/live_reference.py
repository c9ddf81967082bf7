"""References to live values at a warehouse: what `Runtime.exec` returns.

Every `exec` on a uid changes its value, so a reference has no task: as an argument of a call it is read at the time of
the call. A callee at the same warehouse gets the live value itself, any other callee a copy.
"""

from __future__ import annotations

from mosaic import _core
from mosaic.core import network
from mosaic.core.futures import Completion
from mosaic.core.losses import losses_as
from mosaic.errors import ObjectLostError, RuntimeDisconnectedError
from mosaic.warehouse.reference import WarehouseObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Self

    from mosaic._core import Engine, RemoteMethod
    from mosaic.warehouse.registry import Generation

_NONE: frozenset[str] = frozenset()


class LivingObject(WarehouseObject):
    """A reference to a live value at a warehouse.

    Parameters
    ----------
    uid : str
        The name of the value.
    host : int
        The number of the warehouse.
    generation : tuple of int, optional
        Distinguishes the value from earlier ones of the same name; None means the latest.
    nbytes : int
        About how many bytes it has.

    Examples
    --------
    ``ref = await runtime.exec("mean", update, (sample,))``, ``value = await ref.value()``, ``await ref.drop()``.
    """

    __slots__ = ("_engine", "_generation", "_host", "_nbytes", "_uid")

    _engine: Engine
    _generation: Generation | None
    _host: int
    _nbytes: int
    _uid: str

    def __new__(cls, uid: str, host: int, generation: Generation | None, nbytes: int = 0) -> Self:
        """Make a reference that has no task."""
        made = super().__new__(cls, None)
        # Numbers are those of this network: after its end they would mean others.
        made._engine = network.engine()
        made._uid = uid
        made._host = host
        made._generation = generation
        made._nbytes = nbytes
        return made

    @property
    def uid(self) -> str:
        """The name of the value."""
        return self._uid

    @property
    def warehouse_id(self) -> str:
        """The uid of the warehouse that holds the value."""
        return "warehouse:0" if self._engine.stopped else network.uid_of(self._host)

    @property
    def state(self) -> str:
        """``done``, or ``failed`` where the warehouse has died."""
        lives = not self._engine.stopped and self._host in network.living()
        return "done" if lives else "failed"

    @property
    def nbytes(self) -> int:
        """About how many bytes the value had when this reference was made."""
        return self._nbytes

    def read(self) -> _core.Task:
        """Return a task that reads the value, after what was called on its uid before."""
        self._check()
        from mosaic.warehouse import registry

        return self._call("read")(registry.read, self._uid, self._generation)

    def _call(self, name: str) -> RemoteMethod:
        return keyed(self._engine, self._host, self._uid, name)

    def _lost(self, error: BaseException) -> ObjectLostError:
        return ObjectLostError(f"{self.uid}, a value at {self.warehouse_id}, is lost: {error}")

    async def _ask(self, name: str, function: Callable[..., Any]) -> Any:
        self._check()
        with losses_as(self._lost, RuntimeDisconnectedError):
            return await self._call(name)(function, self._uid, self._generation).result()

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait for what was called on the uid before; gives this reference."""
        yield from self.size().__await__()
        return self

    async def value(self) -> Any:
        """Return the value: a copy of it, or at its warehouse itself.

        Raises
        ------
        ObjectLostError
            It was dropped or lost.
        """
        from mosaic.warehouse import registry

        if self._engine.runtime == self._host:
            self._check()
            return registry.live(self._uid, self._generation)
        return await self._ask("read", registry.read)

    result = value

    def wait(self, timeout: float | None = None) -> Any:
        """Block until the value is here, and return it."""
        with losses_as(self._lost, RuntimeDisconnectedError):
            return self.read().wait(timeout)

    async def size(self, pending: bool = False) -> int:
        """Return about how many bytes the value has: its arrays, and the rest; ``pending`` is not needed."""
        from mosaic.warehouse import registry

        size: int = await self._ask("size", registry.size)
        self._nbytes = size
        return size

    def drop(self, propagate: bool = True, *, cache_only: bool = False) -> Completion:
        """Free the value now; need not be awaited. Dropping twice is no error. See `WarehouseObject.drop`."""
        from mosaic.warehouse import registry

        if cache_only or getattr(self, "_dropped", False):
            return Completion()
        self._dropped = True
        task = self._call("drop")(registry.drop, self._uid, self._generation)
        # The value is gone with its warehouse, too.
        return Completion(task, ignored=RuntimeDisconnectedError)

    def __reduce__(self) -> tuple[Any, ...]:
        return LivingObject, (self._uid, self._host, self._generation, self._nbytes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LivingObject) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self._uid, self._host, self._generation


def keyed(
    engine: Engine, host: int, uid: str, name: str, *, coroutine: bool = False
) -> RemoteMethod:
    """Return what calls functions at a warehouse, in the order of calls on that uid."""
    tessera = engine.keyed(host, uid)
    return tessera.method(name, kind=_core.CallKind.FUNCTION, coroutine=coroutine, reserved=_NONE)


class LiveArgument:
    """An argument on its way to where its value lives: arrives as the live value.

    Parameters
    ----------
    ref : LivingObject
        The reference.
    """

    __slots__ = ("_ref",)

    def __init__(self, ref: LivingObject) -> None:
        self._ref = ref

    def __reduce__(self) -> tuple[Any, ...]:
        from mosaic.warehouse import registry

        self._ref._check()
        return registry.live, (self._ref._uid, self._ref._generation)


def resolve_at_host(value: Any) -> Any:
    """Return an argument of a call at the warehouse: a reference to what lives there stands for the live value."""
    return LiveArgument(value) if isinstance(value, LivingObject) else value


class WarehouseMethod:
    """Calls a method of a tessera that lives at the warehouse.

    Parameters
    ----------
    method : RemoteMethod
        What calls it.
    """

    __slots__ = ("_method",)

    def __init__(self, method: RemoteMethod) -> None:
        self._method = method

    @property
    def name(self) -> str:
        """The name of the method."""
        return self._method.name

    def __call__(self, *args: Any, **kwargs: Any) -> _core.Task:
        """Call; returns a task."""
        return self._method(
            *[resolve_at_host(value) for value in args],
            **{name: resolve_at_host(value) for name, value in kwargs.items()},
        )
