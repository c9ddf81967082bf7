"""The warehouse as callers see it: its start on demand, `Runtime.exec`, and its proxy."""

from __future__ import annotations

from mosaic.core import methods, network
from mosaic.core.runtime_proxy import RuntimeProxy
from mosaic.errors import ObjectLostError, RuntimeDisconnectedError
from mosaic.warehouse import registry
from mosaic.warehouse.live_reference import LivingObject, keyed, resolve_at_host
from mosaic.warehouse.reference import WarehouseObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mosaic._core import Engine


async def need(engine: Engine) -> int:
    """Return the number of this machine's warehouse; have it started if there is none.

    Raises
    ------
    RuntimeDisconnectedError
        It does not start.
    """
    while True:
        number = network.warehouse()
        if number is not None:
            return number
        await engine.warehouse()


async def execute(
    engine: Engine, uid: str, function: Callable[..., Any], args: Any, kwargs: Any
) -> LivingObject:
    """Run a function on the value of a uid at the warehouse; see `Runtime.exec`."""
    if not isinstance(uid, str):
        raise TypeError(f"the uid of a value at the warehouse is a string, not {uid!r}")
    if not callable(function):
        raise TypeError(f"exec runs a function, not {function!r}")
    args = () if args is None else args
    if not isinstance(args, (tuple, list)):
        raise TypeError(f"func_args is a tuple or list of arguments, not {args!r}")
    host = await need(engine)
    coroutine = methods.is_coroutine_function(function)
    name = getattr(function, "__name__", type(function).__name__)
    call = keyed(engine, host, uid, name, coroutine=coroutine)
    task = call(
        registry.apply_async if coroutine else registry.apply,
        uid,
        function,
        *[resolve_at_host(value) for value in args],
        **{name: resolve_at_host(value) for name, value in (kwargs or {}).items()},
    )
    try:
        generation, nbytes = await task.result()
    except RuntimeDisconnectedError as error:
        if engine.stopped or host in network.living():
            raise
        raise RuntimeDisconnectedError(
            f"{uid}, a value at {network.uid_of(host)}, is lost: {error}"
        ) from error
    return LivingObject(uid, host, generation, nbytes)


def _replace(value: object, new: object) -> object:
    return new


class WarehouseProxy(RuntimeProxy):
    """Stands for a machine's warehouse, whether it has been started or not."""

    __slots__ = ()

    async def get_remote(self, uid: Any, reply: bool = True) -> Any:
        """Return a stored value.

        Parameters
        ----------
        uid : str or WarehouseObject
            The name of the value, or a reference to it.
        reply : bool
            Accepted and not needed: the value is always returned.

        Raises
        ------
        ObjectLostError
            It was dropped or lost, or never stored.
        """
        reference = self.reference(uid)
        if reference is None:
            raise ObjectLostError(f"{uid} was dropped, or was never at this warehouse")
        return await reference.value()

    async def put_remote(
        self, obj: object, uid: str | None = None, publish: bool = False, reply: bool = True
    ) -> WarehouseObject:
        """Store a value, under a name where one is given; returns a reference.

        Parameters
        ----------
        obj : object
            The value.
        uid : str, optional
            Its name; a value that had it before is replaced.
        publish : bool
            Make it available on every node.
        reply : bool
            Accepted and not needed.
        """
        engine = network.engine()
        if uid is not None:
            return await execute(engine, uid, _replace, (obj,), None)
        put = getattr(type(obj), "_mosaic_put", None)
        pushed: WarehouseObject | None = None if put is None else put(obj, publish)
        if pushed is not None:
            return await pushed
        reference = WarehouseObject(engine.put(obj, type(obj).__name__), whole=True)
        return await reference

    async def drop_remote(self, uid: Any, reply: bool = True) -> None:
        """Free a stored value; one that is not there is no error.

        Parameters
        ----------
        uid : str or WarehouseObject
            The name of the value, or a reference to it.
        reply : bool
            Accepted and not needed.
        """
        reference = self.reference(uid)
        if reference is not None:
            await reference.drop()

    def reference(self, uid: Any) -> WarehouseObject | None:
        """Return a reference to the value of a uid, whether it is stored or not; None where it cannot be.

        Raises
        ------
        TypeError
            It is neither a uid nor a reference.
        """
        if isinstance(uid, WarehouseObject):
            return uid
        if not isinstance(uid, str):
            raise TypeError(f"a stored value is named by its uid or a reference, not by {uid!r}")
        reference = WarehouseObject.named(uid)
        if reference is not None:
            return reference
        host = network.warehouse()
        return None if host is None else LivingObject(uid, host, None)

    def __contains__(self, key: object) -> bool:
        """Return whether a value is known to be stored: a reference that was not dropped, a name in this process."""
        if isinstance(key, WarehouseObject):
            return key.warehouse_id == self.uid and not getattr(key, "_dropped", False)
        return isinstance(key, str) and registry.knows(key)
