"""Chooses the worker of a new tessera: the one that was asked for, or the one that a Python strategy picks.

Without either the core's own strategy decides.
"""

from __future__ import annotations

from mosaic.core import network
from mosaic.errors import MosaicError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

strategy: Callable[[Sequence[str]], str] | None = None
"""A user's strategy, on the head: worker uids in, the uid of one of them out. Set by `mosaic.runtime.head`."""

_turn = 0


def place(runtime: object) -> int | None:
    """Return the number of the runtime to build on; None leaves it to the core."""
    if runtime is not None:
        return network.number_of(runtime)
    return None if strategy is None else choose(strategy)


def choose(pick: Callable[[Sequence[str]], str]) -> int:
    """Ask a strategy in Python for a worker.

    Raises
    ------
    RuntimeDisconnectedError
        There is no worker.
    MosaicError
        It answered with something else than one of the workers.
    """
    workers = network.workers()
    if not workers:
        raise network.no_worker()
    chosen = pick([uid for _, uid in workers])
    uid = getattr(chosen, "uid", chosen)
    for number, name in workers:
        if name == uid:
            return number
    raise MosaicError(f"the placement strategy picked {chosen!r}, which is no living worker")


def spread(count: int) -> list[int]:
    """Return the numbers of the workers for the elements of an array: each worker in turn.

    Raises
    ------
    RuntimeDisconnectedError
        There is no worker.
    """
    workers = network.workers()
    if not workers:
        raise network.no_worker()
    return [workers[index % len(workers)][0] for index in range(count)]


async def select_worker(runtime: object = None) -> str:
    """Return the uid of the worker that the strategy picks; a uid or runtime proxy given is answered by its uid."""
    global _turn
    if runtime is not None:
        return network.uid_of(network.number_of(runtime))
    if strategy is not None:
        return network.uid_of(choose(strategy))
    workers = network.workers()
    if not workers:
        raise network.no_worker()
    _turn += 1
    return workers[(_turn - 1) % len(workers)][1]
