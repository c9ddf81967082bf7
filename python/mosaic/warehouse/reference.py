"""References to values in the warehouse: what `Runtime.put` gives."""

from __future__ import annotations

from mosaic import _core
from mosaic.core import network
from mosaic.core.descriptors import INJECTED
from mosaic.core.futures import Completion
from mosaic.core.losses import losses_as
from mosaic.errors import ObjectLostError, RuntimeDisconnectedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from typing import Any, Self


class WarehouseObject(_core.Output):
    """A reference to a value in the warehouse; as an argument of a call it is replaced by the value, at the callee.

    Examples
    --------
    ``ref = await runtime.put(array)``, ``value = await ref.value()``, ``await ref.drop()``.
    """

    __slots__ = ("_dropped",)

    _dropped: bool

    runtime, logger, loop = INJECTED["runtime"], INJECTED["logger"], INJECTED["loop"]
    head, monitor, comms = INJECTED["head"], INJECTED["monitor"], INJECTED["comms"]

    def __new__(cls, obj: Any, *, whole: bool = False) -> Self:
        """Store a value, and return a reference to it; or (``whole``) refer to the value of a task.

        Parameters
        ----------
        obj : object
            The value; or the task.
        whole : bool
            Whether a task is given.
        """
        if not whole and cls is WarehouseObject:
            obj, whole = network.engine().put(obj, type(obj).__name__), True
        return super().__new__(cls, obj, whole=whole)

    @classmethod
    def named(cls, uid: str) -> Self | None:
        """Return a reference to the value that was put and has this name; None if there can be none."""
        kind, _, numbers = uid.partition("-")
        owner, _, sequence = numbers.partition("-")
        if kind != "ware" or not owner.isdecimal():
            return None
        try:
            task = (int(owner), int(sequence, 16))
        except ValueError:
            return None
        if task[0] not in network.living():
            return None
        functions = (task[0], 0)
        return cls(network.engine().borrow_task(task, functions, "", "put"), whole=True)

    @property
    def uid(self) -> str:
        """The name of the value on the network."""
        owner, sequence = self.task.id
        return f"ware-{owner}-{sequence:x}"

    @property
    def warehouse_id(self) -> str | None:
        """The uid of the runtime that holds the value."""
        host = self.task.host
        return network.uid_of(self.task.id[0] if host is None else host)

    @property
    def is_proxy(self) -> bool:
        """Whether this stands for something that lives elsewhere: yes."""
        return True

    @property
    def is_tessera(self) -> bool:
        """Whether this is the hosting side of a tessera: no."""
        return False

    @property
    def has_tessera(self) -> bool:
        """Whether a tessera stands behind this object: no."""
        return False

    @property
    def node_id(self) -> str:
        """The uid of the node that holds the value."""
        indices = network.indices_of(self.warehouse_id or "")
        return f"node:{indices[0] if indices else 0}"

    @property
    def state(self) -> str:
        """The state of the value's task."""
        return self.task.state

    @property
    def nbytes(self) -> int | None:
        """The encoded size of the value in bytes, once known."""
        return self.task.nbytes

    def _check(self) -> None:
        if getattr(self, "_dropped", False):
            raise ObjectLostError(f"{self.uid} was dropped")

    def _lost(self, error: BaseException) -> ObjectLostError:
        """Return the error to raise where the value was dropped elsewhere, or the runtime that held it died."""
        return ObjectLostError(f"{self.uid}, a stored {self.task.tessera_name}, is lost: {error}")

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until the value is stored; gives this reference."""
        self._check()
        with losses_as(self._lost, ObjectLostError, RuntimeDisconnectedError):
            yield from self.task.__await__()
        return self

    async def value(self) -> Any:
        """Return the value, a new one for each call: writes to it are not seen by others.

        Reading an array again copies nothing; what is written to is copied then.

        Raises
        ------
        ObjectLostError
            It was dropped or lost.
        """
        self._check()
        with losses_as(self._lost, ObjectLostError, RuntimeDisconnectedError):
            return await self.task.fresh_result()

    result = value

    def wait(self, timeout: float | None = None) -> Any:
        """Block until the value is here, and return it; see `value`."""
        self._check()
        with losses_as(self._lost, ObjectLostError, RuntimeDisconnectedError):
            return self.task.fresh_result().wait(timeout)

    async def size(self, pending: bool = False) -> int:
        """Return the encoded size of the value in bytes.

        Parameters
        ----------
        pending : bool
            Accepted and not needed: a value that is not stored yet is waited for.
        """
        await self
        return self.task.nbytes or 0

    def drop(self, propagate: bool = True, *, cache_only: bool = False) -> Awaitable[None]:
        """Free the value now, wherever it is; need not be awaited. Dropping twice is no error.

        Parameters
        ----------
        propagate : bool
            Accepted and not needed.
        cache_only : bool
            Free only what this process has of it, which is nothing: the value stays.
        """
        if not cache_only and not getattr(self, "_dropped", False):
            self._dropped = True
            network.engine().discard(self.task.id)
        return Completion()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.task,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WarehouseObject) and other.task.id == self.task.id

    def __hash__(self) -> int:
        return hash(self.task.id)

    def _repr_html_(self) -> str:
        from mosaic.notebook.summary import of_value

        return of_value(self)

    def __repr__(self) -> str:
        nbytes = self.nbytes
        size = "unknown" if nbytes is None else f"{nbytes} bytes"
        place = f"uid={self.uid}, size={size}, warehouse={self.warehouse_id}"
        return f"<{type(self).__name__} object at {id(self):#x}, {place}>"


def _rebuild(task: _core.Task) -> WarehouseObject:
    return WarehouseObject(task, whole=True)
