"""The kinds of runtimes: the classes of `mosaic.runtime()` in the driver and in the workers."""

from __future__ import annotations

import os

from mosaic.runtime.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mosaic._core import Engine


class Head(Runtime):
    """The driver's runtime."""


class Worker(Runtime):
    """A worker's runtime."""


class Monitor(Runtime):
    """The runtime that keeps the list of members."""


class Node(Runtime):
    """The runtime that starts and watches the workers of one machine."""


class Warehouse(Runtime):
    """The runtime that holds live values for a node."""


_ROLES: dict[str, type[Runtime]] = {
    "head": Head,
    "worker": Worker,
    "monitor": Monitor,
    "node": Node,
    "warehouse": Warehouse,
}


def role_of(engine: Engine) -> Runtime:
    """Return a runtime for an engine, of the kind that its uid names."""
    threads = os.environ.get("MOSAIC_NUM_THREADS", "1")
    role = _ROLES.get(engine.uid.partition(":")[0], Runtime)
    return role(engine, num_threads=int(threads) if threads.isdigit() else 1)
