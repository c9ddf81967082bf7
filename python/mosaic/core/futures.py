"""Futures of proxies and tasks: a tessera exists, a call has reached its worker, a call has ended.

They have the names of futures. Their result is True: the value of a call is its task's.
"""

from __future__ import annotations

from mosaic.errors import ConnectionLostError, TesseraStoppedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from mosaic import _core
    from mosaic.core.task import TaskProxy


class Stage:
    """A future whose result is True: done when a task has ended.

    Parameters
    ----------
    probe : TaskProxy, optional
        The task. None for what was reached before this process heard of it.
    """

    __slots__ = ("_probe",)

    _pending = "it is not done yet"

    def __init__(self, probe: Any = None) -> None:
        self._probe: TaskProxy | None = probe

    def __await__(self) -> Generator[Any, None, bool]:
        if self._probe is not None:
            yield from self._probe.__await__()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is done, in synchronous code; return True, or raise the failure."""
        if self._probe is not None:
            self._probe.wait_done(timeout)
        return True

    def done(self) -> bool:
        """Return whether it is done, well or not."""
        return self._probe is None or self._probe.ended

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._probe is not None and self._probe.state == "cancelled"

    @property
    def state(self) -> str:
        """``pending``, ``done``, ``failed`` or ``cancelled``."""
        if not self.done():
            return "pending"
        return "done" if self._probe is None else self._probe.state

    def exception(self) -> BaseException | None:
        """Return the failure, None if there is none.

        Raises
        ------
        asyncio.InvalidStateError
            It is not done.
        """
        if not self.done():
            from asyncio import InvalidStateError

            raise InvalidStateError(self._pending)
        return None if self._probe is None else self._probe.failure()

    def result(self) -> bool:
        """Return True, or raise what `exception` returns or raises."""
        error = self.exception()
        if error is not None:
            raise error
        return True

    def set_result(self, value: object) -> None:
        """Do nothing: the core sets the result."""

    def add_done_callback(self, function: Callable[[Any], object], *, context: Any = None) -> None:
        """Have ``function(self)`` called once it is done: by the running loop, or by a thread without one."""
        if self._probe is not None:
            self._probe.register_callback(function, self, context)
        else:
            from mosaic.core import callbacks

            callbacks.call_soon(function, self, context)

    def remove_done_callback(self, function: Callable[[Any], object]) -> int:
        """Take a callback back; return how many there were."""
        return 0 if self._probe is None else self._probe.remove_done_callback(function)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or (self._probe is not None and self._probe is other._probe)

    def __hash__(self) -> int:
        return id(self) if self._probe is None else hash(self._probe)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}, state={self.state}>"


class Readiness(Stage):
    """What `TesseraProxy.init_future` gives: done when the tessera exists."""

    __slots__ = ()

    _pending = "the tessera does not exist yet"


class Arrival(Stage):
    """What `TaskProxy.init_future` gives: done when the call has reached its worker, or has failed on its way."""

    __slots__ = ()

    _pending = "the call is still on its way"


class Ending(Stage):
    """What `TaskProxy.done_future` gives, and what callbacks of tasks are called with: done when the task has ended."""

    __slots__ = ()

    def __init__(self, task: TaskProxy) -> None:
        super().__init__(task)

    @property
    def task(self) -> TaskProxy:
        """The task."""
        task: Any = self._probe
        return task  # type: ignore[no-any-return]

    @property
    def uid(self) -> str:
        """The uid of the task."""
        return self.task.uid

    @property
    def _pending(self) -> str:  # type: ignore[override]
        return f"{self.uid} has not ended yet"

    def cancel(self) -> bool:
        """Cancel the task, if it has not ended."""
        return self.task.cancel()


class AllReady:
    """What `init_future` and `done_future` of an array give: done when each part's is.

    Parameters
    ----------
    parts : list of Stage
        One an element.
    """

    __slots__ = ("_parts", "_registered")

    def __init__(self, parts: list[Any]) -> None:
        self._parts = parts
        self._registered: list[tuple[Callable[[Any], object], Callable[[Any], object]]] = []

    def __await__(self) -> Generator[Any, None, bool]:
        for part in self._parts:
            yield from part.__await__()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all are, in synchronous code; return True, or raise the first failure."""
        from time import monotonic

        end = None if timeout is None else monotonic() + timeout
        for part in self._parts:
            part.wait(None if end is None else max(0.0, end - monotonic()))
        return True

    def done(self) -> bool:
        """Return whether all are, well or not."""
        return all(part.done() for part in self._parts)

    def cancelled(self) -> bool:
        """Return whether one was cancelled."""
        return any(part.cancelled() for part in self._parts)

    def exception(self) -> BaseException | None:
        """Return the first failure, None if there is none; raise as `Stage.exception` where one is not done."""
        failures = [part.exception() for part in self._parts]
        return next((one for one in failures if one is not None), None)

    def result(self) -> bool:
        """Return True, or raise what the first raises that failed or is not done."""
        return all(part.result() for part in self._parts)

    def set_result(self, value: object) -> None:
        """Do nothing: the core sets the result."""

    def add_done_callback(self, function: Callable[[Any], object], *, context: Any = None) -> None:
        """Have ``function(self)`` called once all are done."""
        from itertools import count

        # Taking the next number is one step, whichever thread calls back.
        ended, parts = count(1), len(self._parts)

        def one_less(_: object) -> None:
            if next(ended) == parts:
                function(self)

        if not parts:
            from mosaic.core import callbacks

            callbacks.call_soon(function, self, context)
            return
        self._registered.append((function, one_less))
        for part in self._parts:
            part.add_done_callback(one_less, context=context)

    def remove_done_callback(self, function: Callable[[Any], object]) -> int:
        """Take a callback back; return how many there were."""
        found = [entry for entry in self._registered if entry[0] == function]
        for entry in found:
            self._registered.remove(entry)
        # One that has been called is no callback any more; it is taken back from every part.
        taken = [
            sum(part.remove_done_callback(one_less) for part in self._parts)
            for _, one_less in found
        ]
        return sum(map(bool, taken))


class Completion:
    """The end of tasks whose call need not be awaited: `mosaic.stop_tessera`, ``ref.drop()``. It has no value.

    Parameters
    ----------
    *tasks : Task
        The tasks; none where nothing is left to do.
    ignored : type
        The error by which a task reports that its object is gone already. `ConnectionLostError` is raised in any case:
        the other end lives, and may have the object still.
    """

    __slots__ = ("_ignored", "_tasks")

    def __init__(self, *tasks: _core.Task, ignored: type[Exception] = TesseraStoppedError) -> None:
        self._tasks = tasks
        self._ignored = ignored

    def __await__(self) -> Generator[Any, None, None]:
        for task in self._tasks:
            try:
                yield from task.__await__()
            except ConnectionLostError:
                raise
            except self._ignored:
                continue

    def wait(self, timeout: float | None = None) -> None:
        """Block until every task has ended, each for at most that many seconds."""
        for task in self._tasks:
            try:
                task.wait(timeout)
            except ConnectionLostError:
                raise
            except self._ignored:
                continue
