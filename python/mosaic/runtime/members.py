"""Who takes part in the network, and what old programs call it: the first half of `Runtime`."""

from __future__ import annotations

from mosaic.core import network
from mosaic.core.base import Base
from mosaic.errors import RuntimeDisconnectedError
from mosaic.runtime.proxies import RuntimeProxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from mosaic._core import Engine


class Members(Base):
    """The names of this process and of the others."""

    engine: Engine

    @property
    def uid(self) -> str:
        """The name of this runtime: ``head``, ``worker:0:1``."""
        return self.engine.uid

    @property
    def indices(self) -> tuple[int, ...]:
        """The numbers in the uid: ``(0, 1)`` for ``worker:0:1``."""
        return network.indices_of(self.uid)

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
    def address(self) -> str:
        """The address of this runtime; on one machine only Unix sockets are used."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The TCP port that this runtime listens on; 0 for none."""
        return 0

    @property
    def logger(self) -> Any:
        """The logger of mosaic."""
        from mosaic.utils.logger import logger

        return logger()

    @property
    def comms(self) -> Self:
        """What old programs ask for address, port and uid: this runtime."""
        return self

    @property
    def loop(self) -> Any:
        """The same as `get_event_loop` gives."""
        return self.get_event_loop()

    def get_comms(self) -> Self:
        """Return what old programs ask for address, port and uid: this runtime."""
        return self

    def get_worker(self, uid: str | None = None) -> Any:
        """Return a worker by its uid; without one, this very worker, or None elsewhere."""
        return self._get("worker", uid)

    def get_node(self, uid: str | None = None) -> Any:
        """Return a node by its uid; without one, the node of this runtime."""
        if uid is None and not self.uid.startswith("node"):
            return RuntimeProxy(f"node:{self.indices[0] if self.indices else 0}")
        return self._get("node", uid)

    def get_monitor(self) -> Any:
        """Return the monitor."""
        return self._get("monitor", "monitor")

    def get_head(self) -> Any:
        """Return the head."""
        return self._get("head", "head")

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
        """
        from mosaic.runtime.warehouse import WarehouseProxy

        return WarehouseProxy("warehouse:0" if uid in {None, "warehouse"} else str(uid))

    def get_local_warehouse(self) -> Any:
        """Return the warehouse of this runtime's node."""
        return self.get_warehouse(f"warehouse:{self.indices[0] if self.indices else 0}")

    def get_workers(self) -> list[RuntimeProxy]:
        """Return the living workers."""
        return self.workers

    def get_nodes(self) -> list[RuntimeProxy]:
        """Return the nodes that workers live on."""
        return self.nodes

    def get_runtime(self) -> Self:
        """Return this runtime."""
        return self

    def get_event_loop(self) -> Any:
        """Return an event loop with the names that old programs use: the running one, or one by itself."""
        from mosaic.utils.event_loop import EventLoop

        return EventLoop()

    def _get(self, kind: str, uid: str | None) -> Any:
        if uid == self.uid or (uid is None and self.uid.partition(":")[0] == kind):
            return self
        return None if uid is None else RuntimeProxy(uid)

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
        TimeoutError
            The time has passed.
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
                raise TimeoutError(
                    f"{found} of {count} workers take part after {timeout} s"
                ) from None
