"""`RuntimeProxy`: the name of a runtime of the network, and the facts that follow from it."""

from __future__ import annotations

import os

from mosaic.core import network
from mosaic.core.names import ProxyNames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Named:
    """The facts about a runtime that its uid contains."""

    __slots__ = ()

    uid: str

    @property
    def name(self) -> str:
        """The uid without its numbers: ``head``, ``monitor``, ``node``, ``worker`` or ``warehouse``."""
        return self.uid.partition(":")[0]

    @property
    def indices(self) -> tuple[int, ...]:
        """The numbers in the uid: node and worker index of ``worker:0:1`` are ``(0, 1)``."""
        return network.indices_of(self.uid)

    @property
    def address(self) -> str:
        """The address of the runtime; on one machine only Unix sockets are used."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The TCP port that the runtime listens on; 0 for none."""
        return 0

    @property
    def is_head(self) -> bool:
        """Whether this is the driver's runtime."""
        return self.name == "head"

    @property
    def is_monitor(self) -> bool:
        """Whether this is the runtime that keeps the list of members."""
        return self.name == "monitor"

    @property
    def is_node(self) -> bool:
        """Whether this is the runtime that starts the workers of one machine."""
        return self.name == "node"

    @property
    def is_worker(self) -> bool:
        """Whether this is a worker's runtime."""
        return self.name == "worker"

    @property
    def is_warehouse(self) -> bool:
        """Whether this is a warehouse's runtime."""
        return self.name == "warehouse"


class RuntimeProxy(Named, ProxyNames):
    """Stands for a runtime: a worker, a node, the head, the monitor, a warehouse.

    Parameters
    ----------
    uid : str
        ``head``, ``monitor``, ``node:0``, ``worker:0:1``, ``warehouse:0``.
    """

    __slots__ = ("__weakref__", "uid")

    def __init__(self, uid: str) -> None:
        self.uid = uid

    @property
    def kind(self) -> str:
        """``head``, ``monitor``, ``node``, ``worker`` or ``warehouse``; the same as `name`."""
        return self.name

    @property
    def alive(self) -> bool:
        """Whether it takes part in the network."""
        return self.pid is not None

    @property
    def pid(self) -> int | None:
        """Its process id; None if it does not take part any more.

        Monitor and node are the head's process, unless `mrun` started them.
        """
        engine = network.engine()
        if self.uid == engine.uid:
            return os.getpid()
        if self.uid in {"monitor", "node:0"}:
            monitor, node = engine.launchers
            return monitor if self.uid == "monitor" else node
        return next((member.pid for member in engine.members() if member.uid == self.uid), None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuntimeProxy) and other.uid == self.uid

    def __hash__(self) -> int:
        return hash(self.uid)

    def __reduce__(self) -> tuple[Any, ...]:
        return RuntimeProxy, (self.uid,)

    def __repr__(self) -> str:
        return f"<RuntimeProxy object at {id(self):#x}, uid={self.uid}>"
