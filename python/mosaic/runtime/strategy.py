"""Placement strategies: the core's own by name, and those that programs write."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class MonitorStrategy:
    """A placement strategy written by a program: derive from it and define `choose`.

    Examples
    --------
    >>> class First(MonitorStrategy):
    ...     def choose(self, workers):
    ...         return workers[0]
    >>> First().choose(["worker:0:0", "worker:0:1"])
    'worker:0:0'

    It is given to ``mosaic.run(main, monitor_strategy=First())``.
    """

    def choose(self, workers: Sequence[str]) -> str:
        """Return the uid of the worker for a new tessera.

        Parameters
        ----------
        workers : sequence of str
            The uids of the living workers, at least one, in the order of their indices.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define choose(workers)")


class RoundRobin(MonitorStrategy):
    """Each worker in turn."""

    def __init__(self) -> None:
        self._turn = 0

    def choose(self, workers: Sequence[str]) -> str:
        """Return the next worker."""
        self._turn += 1
        return workers[(self._turn - 1) % len(workers)]


class LeastLoaded(MonitorStrategy):
    """The worker with the fewest tesserae and pending calls; the core decides."""


monitor_strategies: dict[str, type[MonitorStrategy]] = {
    "round-robin": RoundRobin,
    "round_robin": RoundRobin,
    "least-loaded": LeastLoaded,
    "least_loaded": LeastLoaded,
}


def resolve(strategy: object) -> MonitorStrategy:
    """Return the strategy that a name, class or instance means.

    Raises
    ------
    ValueError, TypeError
        It means none.
    """
    if isinstance(strategy, str):
        if strategy not in monitor_strategies:
            known = ", ".join(sorted(name for name in monitor_strategies if "_" not in name))
            raise ValueError(f"there is no placement strategy {strategy!r} (known: {known})")
        return monitor_strategies[strategy]()
    if isinstance(strategy, type) and issubclass(strategy, MonitorStrategy):
        strategy = strategy()
    if (
        isinstance(strategy, MonitorStrategy)
        and type(strategy) is not LeastLoaded
        and type(strategy).choose is MonitorStrategy.choose
    ):
        raise TypeError(f"{type(strategy).__name__} has to define choose(workers)")
    if isinstance(strategy, MonitorStrategy) or callable(getattr(strategy, "choose", None)):
        return strategy  # type: ignore[return-value]
    raise TypeError(f"monitor_strategy is a name or a MonitorStrategy, not {strategy!r}")
