"""`RuntimeProxy`: the name of a runtime of the network, and what can be told from it."""

from __future__ import annotations

import os

from mosaic.core import network
from mosaic.core.base import ProxyBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RuntimeProxy(ProxyBase):
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
    def indices(self) -> tuple[int, ...]:
        """The numbers in the uid: node and worker index of ``worker:0:1`` are ``(0, 1)``."""
        return network.indices_of(self.uid)

    @property
    def kind(self) -> str:
        """``head``, ``monitor``, ``node``, ``worker`` or ``warehouse``."""
        return self.uid.partition(":")[0]

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
        return next((pid for _, uid, pid, _ in engine.members() if uid == self.uid), None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuntimeProxy) and other.uid == self.uid

    def __hash__(self) -> int:
        return hash(self.uid)

    def __reduce__(self) -> tuple[Any, ...]:
        return RuntimeProxy, (self.uid,)

    def __repr__(self) -> str:
        return f"<RuntimeProxy object at {id(self):#x}, uid={self.uid}>"
