"""References to parts of a task's result, and to its end."""

from __future__ import annotations

from mosaic import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Self

    from mosaic.core.futures import Arrival
    from mosaic.core.task import TaskProxy


class _PartOfTask(_core.Output):
    """What references to an output of a task and to its end have in common: the names of the task."""

    __slots__ = ()

    @property
    def runtime_id(self) -> str | None:
        """The uid of the runtime where the task runs."""
        return _task(self).runtime_id

    @property
    def remote_runtime(self) -> Any:
        """A proxy of the runtime where the task runs; None while that is not decided."""
        return _task(self).remote_runtime

    @property
    def state(self) -> str:
        """The state of the task."""
        return self.task.state

    @property
    def init_future(self) -> Arrival:
        """Awaited, it waits until the call has reached its worker."""
        return _task(self).init_future

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until the task is done, and give this reference; raises the failure of the task."""
        yield from self.task.__await__()
        return self


class TaskOutput(_PartOfTask):
    """A reference to one output of a task: as an argument it is replaced by its value, at the callee.

    A tuple result has positions, a dict result has keys, anything else is output 0.
    """

    __slots__ = ()

    @property
    def uid(self) -> str:
        """The task's uid and the key of the output."""
        return f"{_task(self).uid}[{self.key!r}]"

    @property
    def done(self) -> TaskDone:
        """A reference to the end of the task."""
        return TaskDone(self.task, done=True)

    async def size(self, pending: bool = False) -> int:
        """Wait for the end of the task, and return the encoded size in bytes of its whole result, which comes along.

        Parameters
        ----------
        pending : bool
            Accepted and not needed: what is still being made is waited for.
        """
        return await _task(self).size(pending)

    async def result(self) -> Any:
        """Fetch the value of this output.

        The whole result comes along; what of it lies in the store is mapped and not copied.

        Raises
        ------
        LookupError
            The result has no such position or key.
        """
        return _core.select_output(await self.task.result(), self.key)

    def wait(self, timeout: float | None = None) -> Any:
        """Block until the value is here, and return it."""
        return _core.select_output(self.task.wait(timeout), self.key)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_output, (type(self), self.task, self.key)

    def _repr_html_(self) -> str:
        from mosaic.notebook.summary import of_tasks

        return of_tasks(f"Output {self.key!r} of a task", [self.task])

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} object at {id(self):#x}, uid={self.uid}, state={self.state}>"
        )


class TaskDone(_PartOfTask):
    """A reference to the end of a task: as an argument a pure dependency, awaited it waits, called it tells.

    Examples
    --------
    ``task.done()`` tells whether the task has ended; ``await task.done`` waits for it;
    ``other.method(task.done)`` calls ``other.method()`` after the task.
    """

    __slots__ = ()

    @property
    def uid(self) -> str:
        """The task's uid."""
        return _task(self).uid

    async def size(self, pending: bool = False) -> int:
        """Wait for the end of the task, and return 0: there is no value."""
        await self.task
        return 0

    def __call__(self) -> bool:
        """Return whether the task has ended, well or not."""
        return self.task.ended

    done = __call__

    async def result(self) -> bool:
        """Wait until the task is done; gives True, or raises its failure."""
        await self.task
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the task is done; gives True, or raises its failure."""
        _task(self).wait_done(timeout)
        return True

    def cancelled(self) -> bool:
        """Return whether the task was cancelled."""
        return _task(self).cancelled()

    def exception(self) -> BaseException | None:
        """Return the failure of the ended task, if there is one."""
        return _task(self).exception()

    def add_done_callback(self, function: Callable[[Any], object], *, context: Any = None) -> None:
        """Have a function called with `TaskProxy.done_future` once the task has ended."""
        _task(self).add_done_callback(function, context=context)

    def remove_done_callback(self, function: Callable[[Any], object]) -> int:
        """Take a callback back; return how many there were."""
        return _task(self).remove_done_callback(function)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_done, (self.task,)

    def _repr_html_(self) -> str:
        from mosaic.notebook.summary import of_tasks

        return of_tasks("End of a task", [self.task])

    def __repr__(self) -> str:
        return f"<TaskDone object at {id(self):#x}, uid={self.uid}, state={self.task.state}>"


class TaskOutputGenerator:
    """The outputs of a task: ``outputs[0]``, ``outputs["key"]``, ``outputs.key``, ``outputs.done``.

    Parameters
    ----------
    task : TaskProxy
        The task. How many outputs it has is known only when it is done: there is no ``len``.
    """

    __slots__ = ("_task",)

    __iter__ = None
    __contains__ = None

    def __init__(self, task: _core.Task) -> None:
        self._task = task

    @property
    def done(self) -> TaskDone:
        """A reference to the end of the task."""
        return TaskDone(self._task, done=True)

    def __getitem__(self, key: object) -> TaskOutput:
        return TaskOutput(self._task, key)

    def __getattr__(self, name: str) -> TaskOutput:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}", name=name)
        return TaskOutput(self._task, name)

    def __repr__(self) -> str:
        return f"<TaskOutputGenerator object at {id(self):#x}, task={_task(self).uid}>"


def _task(held: Any) -> TaskProxy:
    task: Any = held._task if isinstance(held, TaskOutputGenerator) else held.task
    return task  # type: ignore[no-any-return]


def _rebuild_output(cls: type[TaskOutput], task: _core.Task, key: object) -> TaskOutput:
    return cls(task, key)


def _rebuild_done(task: _core.Task) -> TaskDone:
    return TaskDone(task, done=True)
