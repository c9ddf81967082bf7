"""The members of the network, by the names that programs of mosaic 1.2 use: the base class of `Runtime`."""

from __future__ import annotations

from mosaic.core import network
from mosaic.core.runtime_proxy import Named, RuntimeProxy
from mosaic.core.services import services
from mosaic.errors import RuntimeDisconnectedError, TooFewWorkersError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from typing import Any, Self

    from mosaic._core import Engine
    from mosaic.compat.event_loop import EventLoops


def _pick(kind: str, uid: str, found: dict[str, Any]) -> Any:
    try:
        return found[uid]
    except KeyError:
        known = ", ".join(found) or "none"
        raise KeyError(f"there is no {kind} {uid!r} (known: {known})") from None


class Members(Named):
    """The names of this process and of the others."""

    engine: Engine

    reuse_head = False
    """Whether the head's machine was asked to have workers, too."""

    _event_loops: EventLoops | None = None

    @property
    def uid(self) -> str:  # type: ignore[override]
        """The name of this runtime: ``head``, ``worker:0:1``."""
        return self.engine.uid

    @property
    def workers(self) -> list[RuntimeProxy]:
        """The living workers, in the order of their indices."""
        return [RuntimeProxy(uid) for _, uid in network.workers()]

    @property
    def num_workers(self) -> int:
        """How many workers live."""
        return len(network.workers())

    @property
    def nodes(self) -> list[RuntimeProxy]:
        """The nodes that workers live on."""
        found = sorted({network.indices_of(uid)[0] for _, uid in network.workers()})
        return [RuntimeProxy(f"node:{index}") for index in found or [0]]

    @property
    def num_nodes(self) -> int:
        """How many nodes workers live on."""
        return len(self.nodes)

    @property
    def logger(self) -> Any:
        """The logger of mosaic."""
        from mosaic.log import logger

        return logger()

    @property
    def comms(self) -> Self:
        """What programs of mosaic 1.2 ask for address, port and uid: this runtime."""
        return self

    @property
    def loop(self) -> Any:
        """The event loop that `get_event_loop` returns."""
        return self.get_event_loop()

    def get_comms(self) -> Self:
        """Return what programs of mosaic 1.2 ask for address, port and uid: this runtime."""
        return self

    def get_worker(self, uid: str | None = None) -> Any:
        """Return a living worker by its uid; without one, this very worker, or None elsewhere.

        Raises
        ------
        KeyError
            No worker of that uid takes part.
        """
        return self._get("worker", uid, self.get_workers)

    def get_node(self, uid: str | None = None) -> Any:
        """Return a node by its uid; without one, the node of this runtime.

        Raises
        ------
        KeyError
            There is no node of that uid.
        """
        if uid is None and not self.is_node:
            return RuntimeProxy(f"node:{self.indices[0] if self.indices else 0}")
        return self._get("node", uid, self.get_nodes)

    def get_monitor(self) -> Any:
        """Return the monitor."""
        return self if self.is_monitor else RuntimeProxy("monitor")

    def get_head(self) -> Any:
        """Return the head."""
        return self if self.is_head else RuntimeProxy("head")

    def get_warehouse(self, uid: str | None = None) -> Any:
        """Return a warehouse by its uid; without one, the main one, which is also called ``warehouse``.

        Parameters
        ----------
        uid : str, optional
            ``warehouse:0``.

        Returns
        -------
        WarehouseProxy
            Whether the warehouse has been started or not.

        Raises
        ------
        KeyError
            There is no node for such a warehouse.
        """
        name = "warehouse:0" if uid in {None, "warehouse"} else str(uid)
        return _pick("warehouse", name, self.get_warehouses())

    def get_warehouses(self) -> dict[str, Any]:
        """Return the warehouses by uid, one a node, whether they have been started or not."""
        from mosaic.warehouse.proxy import WarehouseProxy

        uids = [f"warehouse:{node.indices[0]}" for node in self.nodes]
        return {uid: WarehouseProxy(uid) for uid in uids}

    def get_local_warehouse(self) -> Any:
        """Return the warehouse of this runtime's node."""
        from mosaic.warehouse.proxy import WarehouseProxy

        return WarehouseProxy(f"warehouse:{self.indices[0] if self.indices else 0}")

    def get_workers(self) -> dict[str, RuntimeProxy]:
        """Return the living workers by uid, in the order of their indices."""
        return {worker.uid: worker for worker in self.workers}

    def get_nodes(self) -> dict[str, RuntimeProxy]:
        """Return the nodes that workers live on, by uid."""
        return {node.uid: node for node in self.nodes}

    def proxy(
        self,
        name: str | None = None,
        indices: int | tuple[int, ...] | list[int] = (),
        uid: str | None = None,
    ) -> Any:
        """Return a proxy of a runtime, given by its name and its numbers, or by its uid; of this one without either.

        Parameters
        ----------
        name : str, optional
            ``worker``, ``node``, ``head``, ``monitor`` or ``warehouse``; or a uid.
        indices : int or tuple of int, optional
            ``(0, 1)`` for ``worker:0:1``.
        uid : str, optional
            The uid instead.

        Returns
        -------
        RuntimeProxy
            Whether such a runtime takes part, its ``alive`` tells.
        """
        if uid is None:
            numbers = (indices,) if isinstance(indices, int) else indices
            uid = self.uid if name is None else ":".join([name, *map(str, numbers)])
        if uid.startswith("warehouse"):
            from mosaic.warehouse.proxy import WarehouseProxy

            return WarehouseProxy(uid)
        return RuntimeProxy(uid)

    def memory_limit(self) -> int:
        """Return the memory in bytes that this process may use; see `mosaic.utils.memory_limit`."""
        from mosaic.system.memory import memory_limit

        return memory_limit()

    def fits_in_memory(self, nbytes: float) -> bool:
        """Return whether so many bytes more are within the memory that this process may use."""
        from mosaic.system.memory import memory_limit, memory_used

        return memory_used() + nbytes < memory_limit()

    def cpu_load(self) -> float:
        """Return how busy this process was since this was asked before, or since it started.

        Returns
        -------
        float
            In units of one core: 2.0 where two threads were busy all the time.
        """
        from mosaic.system.cpu import cpu_load

        return cpu_load()

    def get_runtime(self) -> Self:
        """Return this runtime."""
        return self

    def get_event_loop(self) -> Any:
        """Return an event loop with the names that programs of mosaic 1.2 use: the running one, or one by itself."""
        loops = self._event_loops
        if loops is None:
            loops = self._event_loops = services().event_loops()
        return loops.get()

    def use_event_loop(self, loop: AbstractEventLoop | None) -> None:
        """Have `get_event_loop` use a loop of the program's, where none runs."""
        self._event_loops = None
        if loop is not None:
            self._event_loops = services().event_loops(loop)

    def _get(
        self, kind: str, uid: str | None, living: Callable[[], dict[str, RuntimeProxy]]
    ) -> Any:
        if uid == self.uid or (uid is None and self.name == kind):
            return self
        return None if uid is None else _pick(kind, uid, living())

    async def wait_for_workers(self, count: int, timeout: float | None = None) -> None:
        """Wait until that many workers take part.

        Parameters
        ----------
        count : int
            How many.
        timeout : float, optional
            Seconds.

        Raises
        ------
        TooFewWorkersError
            The time has passed; a `TimeoutError`, and a `RuntimeError`.
        RuntimeDisconnectedError
            No worker will join any more.
        """
        import asyncio

        from mosaic.runtime.notices import Membership, exhausted

        with Membership(self.engine) as membership:
            try:
                async with asyncio.timeout(timeout):
                    while (found := self.num_workers) < count:
                        if (reason := exhausted(self.engine)) is not None:
                            raise RuntimeDisconnectedError(
                                f"{found} of {count} workers take part, and none will join: {reason}"
                            )
                        await membership.changed()
            except TimeoutError:
                found = self.num_workers
                raise TooFewWorkersError(
                    f"{found} of {count} workers take part after {timeout} s"
                ) from None
