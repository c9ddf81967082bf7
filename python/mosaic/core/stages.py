"""What proxies give to be awaited: that a tessera exists, and that it has stopped."""

from __future__ import annotations

from mosaic.errors import MosaicError, TesseraStoppedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from mosaic import _core


class Readiness:
    """What `TesseraProxy.init_future` gives: done when the tessera exists.

    Parameters
    ----------
    built : Task, optional
        The construction; None where this process did not ask for it.
    """

    __slots__ = ("_built",)

    def __init__(self, built: _core.Task | None) -> None:
        self._built = built

    def __await__(self) -> Generator[Any, None, bool]:
        if self._built is not None:
            yield from self._built.__await__()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the tessera exists, in synchronous code."""
        if self._built is not None:
            self._built.wait(timeout)
        return True

    def done(self) -> bool:
        """Tell whether the tessera exists or has failed to."""
        return self._built is None or self._built.ended

    def result(self) -> bool:
        """Return True, or raise what ``__init__`` raised."""
        if self._built is not None:
            failure = (
                self._built.failure()
                if self._built.ended
                else MosaicError("the tessera does not exist yet")
            )
            if failure is not None:
                raise failure
        return True

    def set_result(self, value: object) -> None:
        """Do nothing: the core tells when the tessera exists."""


class AllReady:
    """What `init_future` of an array gives: done when each part's is.

    Parameters
    ----------
    parts : list of Readiness or Arrival
        One an element.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: list[Any]) -> None:
        self._parts = parts

    def __await__(self) -> Generator[Any, None, bool]:
        for part in self._parts:
            yield from part.__await__()
        return True

    def done(self) -> bool:
        """Tell whether all are, well or not."""
        return all(part.done() for part in self._parts)

    def result(self) -> bool:
        """Return True, or raise what the first raises that failed or is not done."""
        return all(part.result() for part in self._parts)

    def set_result(self, value: object) -> None:
        """Do nothing: the core tells."""


class Stop:
    """What `mosaic.stop_tessera` gives. Stopping what has failed or stopped already is no error.

    Parameters
    ----------
    *tasks : Task
        One a tessera.
    """

    __slots__ = ("_tasks",)

    def __init__(self, *tasks: _core.Task) -> None:
        self._tasks = tasks

    def __await__(self) -> Generator[Any, None, None]:
        for task in self._tasks:
            try:
                yield from task.__await__()
            except TesseraStoppedError:
                continue

    def wait(self, timeout: float | None = None) -> None:
        """Block until every tessera has stopped, each for at most that many seconds."""
        for task in self._tasks:
            try:
                task.wait(timeout)
            except TesseraStoppedError:
                continue
