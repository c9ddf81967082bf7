"""`TaskProxy`: what ``proxy.method()`` returns; and the tasks of a call on an array.

The handle itself, its waiting and its value are the core's `mosaic._core.Task`; here are the names around it.
"""

from __future__ import annotations

from mosaic import _core
from mosaic._facade import lazy_names
from mosaic.core import callbacks, network
from mosaic.core.descriptors import INJECTED
from mosaic.core.names import ProcessNames, ProxyNames
from mosaic.core.output import TaskDone, TaskOutput, TaskOutputGenerator
from mosaic.core.services import services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Any, Self

    import numpy.typing as npt

    from mosaic._core import _RawId as RawId
    from mosaic.core.futures import AllReady, Arrival, Ending
    from mosaic.core.task_remote import TaskRemote

__all__ = [
    "Task",
    "TaskArray",
    "TaskArrayProxy",
    "TaskDone",
    "TaskOutput",
    "TaskOutputGenerator",
    "TaskProxy",
]


class Task(ProcessNames):
    """The side of a task that runs it; queueing and running are the core's work."""

    __slots__ = ()


class TaskArray(ProcessNames):
    """The side of an array's tasks that runs them."""

    __slots__ = ()


class _HandMaking(type):
    """Lets programs of mosaic 1.2 make tasks by hand; the core makes them past this."""

    def __call__(cls, proxy: Any = None, method: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Return a task that has not started; see `mosaic.compat.explicit.HandMadeTask`."""
        return services().explicit_task(proxy, method, args, kwargs)


class TaskProxy(_core.Task, ProxyNames, metaclass=_HandMaking):
    """One call: it has started already, whether it is awaited or not.

    ``await task`` waits for its end and gives the task; ``await task.result()`` gives the value, which is fetched
    once. A task given as an argument of another call is replaced by its value there.
    """

    __slots__ = ("_arrival", "_callbacks")

    _callbacks: callbacks.Registered
    _arrival: Arrival

    runtime, logger, loop = INJECTED["runtime"], INJECTED["logger"], INJECTED["loop"]
    head, monitor, comms = INJECTED["head"], INJECTED["monitor"], INJECTED["comms"]

    @property
    def uid(self) -> str:
        """The name of this task on the network."""
        return network.task_uid(self.tessera_name, self.method, self.id)

    @property
    def tessera_id(self) -> str:
        """The uid of the tessera that is called."""
        return network.tessera_uid(self.tessera_name, self.tessera)

    @property
    def runtime_id(self) -> str | None:
        """The uid of the runtime that runs the task; None while that is not decided."""
        host = self.host
        return None if host is None else network.uid_of(host)

    @property
    def remote_runtime(self) -> Any:
        """A proxy of the runtime that runs the task; None while that is not decided."""
        from mosaic.core.runtime_proxy import RuntimeProxy

        uid = self.runtime_id
        return None if uid is None else RuntimeProxy(uid)

    @property
    def type(self) -> str:
        """What this is: ``task_proxy``."""
        return "task_proxy"

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments of the call, as far as this process still has them; see `kwargs`."""
        from mosaic.core.call_arguments import parts

        return parts(self.given)[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments of the call, as far as this process still has them.

        A task keeps no argument alive but numbers, short texts and short lists of them. A `NotKept`
        (`mosaic.core.call_arguments`) replaces others that the program has freed. A task that was passed to this
        process has none.
        """
        from mosaic.core.call_arguments import parts

        return parts(self.given)[1]

    @property
    def max_retries(self) -> int:
        """How often the call is run again if it raises; 0 for a task that was passed to this process."""
        from mosaic.core.call_arguments import parts

        return parts(self.given)[2]

    @property
    def collectable(self) -> bool:
        """Whether the result is freed when the last reference to it goes."""
        return True

    @classmethod
    def remote_cls(cls) -> Any:
        """Return the class of the side that runs, `Task`."""
        return Task

    @classmethod
    def remote_type(cls) -> str:
        """Return what the side is that runs: ``task``."""
        return "task"

    @property
    def outputs(self) -> TaskOutputGenerator:
        """References to the outputs: positions of a tuple, keys of a dict, 0 for anything else."""
        return TaskOutputGenerator(self)

    @property
    def done(self) -> TaskDone:
        """A reference to the end of the task; called, it tells whether the task has ended."""
        return TaskDone(self, done=True)

    @property
    def done_future(self) -> Ending:
        """A future of the end of the task: its result is True, or it raises the failure."""
        from mosaic.core.futures import Ending

        return Ending(self)

    @property
    def init_future(self) -> Arrival:
        """Awaited, it waits until the call has reached its worker; it need not have run there.

        Of a task that was passed to this process nothing is known before its end.
        """
        try:
            return self._arrival
        except AttributeError:
            pass
        from mosaic.core.futures import Arrival

        arrival = Arrival(self if self.borrowed else self.arrival())
        if not self.borrowed:
            self._arrival = arrival
        return arrival

    @property
    def _eager(self) -> bool:
        """Whether it started without being awaited: yes (for programs of mosaic 1.2)."""
        return True

    @property
    def _dependencies(self) -> list[Self]:
        """The tasks among its arguments that this process still holds (for programs of mosaic 1.2)."""
        return self.needs

    def state_changed(self, state: str) -> None:
        """Do nothing: the core sets the state (for programs of mosaic 1.2)."""

    @property
    def remote(self) -> TaskRemote:
        """The live result, where it is: ``task.remote.method(*args)`` calls a method of it and returns a task."""
        from mosaic.core.task_remote import TaskRemote

        return TaskRemote(self)

    def wait_done(self, timeout: float | None = None) -> None:
        """Block until the task has ended, and raise its failure; the value is not moved."""
        self.wait_ended(timeout)
        failure = self.failure()
        if failure is not None:
            raise failure

    def cancelled(self) -> bool:
        """Return whether the task was cancelled."""
        return self.state == "cancelled"

    def exception(self) -> BaseException | None:
        """Return the exception of the ended task, None if it ended well.

        Raises
        ------
        asyncio.InvalidStateError
            The task has not ended.
        """
        return self.done_future.exception()

    def add_done_callback(self, function: Callable[[Any], object], *, context: Any = None) -> None:
        """Have a function called once the task has ended: by the running loop, or by a thread without one.

        Parameters
        ----------
        function : callable
            Called with `done_future`: its ``result()`` is True or raises the failure, its ``task`` is the task.
        context : contextvars.Context, optional
            What it is called in.
        """
        self.register_callback(function, self.done_future, context)

    def register_callback(
        self, function: Callable[[Any], object], future: object, context: Any = None
    ) -> None:
        """Have a function called with this future once the task has ended."""
        try:
            registered = self._callbacks
        except AttributeError:
            registered = self._callbacks = []
        callbacks.add(self, registered, function, future, context)

    def remove_done_callback(self, function: Callable[[Any], object]) -> int:
        """Take a callback back; return how many there were."""
        try:
            registered = self._callbacks
        except AttributeError:
            return 0
        return callbacks.remove(registered, function)

    async def check_result(self) -> Self:
        """Wait for the end and raise the failure, if there is one; the value is not moved."""
        return await self

    async def size(self, pending: bool = False) -> int:
        """Wait for the end, and return the encoded size of the value in bytes.

        Parameters
        ----------
        pending : bool
            Accepted and not needed: a value that is still being made is waited for.
        """
        await self
        return self.nbytes or 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.note()
        return _rebuild_task, (self.id, self.tessera, self.tessera_name, self.method)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def _repr_html_(self) -> str:
        from mosaic.notebook.summary import of_tasks

        return of_tasks("Task", [self])

    def __repr__(self) -> str:
        where = f"runtime={self.runtime_id}, state={self.state}"
        return f"<{type(self).__name__} object at {id(self):#x}, uid={self.uid}, {where}>"


def _rebuild_task(task: RawId, tessera: RawId, name: str, method: str) -> _core.Task:
    return network.engine().borrow_task(task, tessera, name, method)


class TaskArrayProxy(ProxyNames):
    """The tasks of one call on every element of an array: one awaitable.

    Parameters
    ----------
    tasks : list of TaskProxy
        One an element, in the order of the elements.
    """

    __slots__ = ("__weakref__", "tasks")

    def __init__(self, tasks: list[TaskProxy]) -> None:
        self.tasks = tasks

    def __await__(self) -> Generator[Any, None, list[Any]]:
        """Wait for all; gives the list of tasks."""
        return _core.Gather(self.tasks, False).__await__()

    def result(self) -> Awaitable[list[Any]]:
        """Return an awaitable of the list of values, in element order."""
        return _core.Gather(self.tasks, True)

    def wait(self, timeout: float | None = None) -> list[Any]:
        """Block until all values are here, and return them."""
        return _core.Gather(self.tasks, True).wait(timeout)

    async def reduce(
        self, op: str = "sum", out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Combine the values, arrays of one shape and type, element by element; see `Runtime.reduce`.

        Parameters
        ----------
        op : str
            ``sum``, ``mean``, ``min``, ``max`` or ``prod``.
        out : ndarray, optional
            Where to write the result.

        Returns
        -------
        ndarray
            ``out``, or a new array.

        Examples
        --------
        ``gradient = await solvers.gradient(model).reduce("sum")``
        """
        return await services().reduce(self.tasks, op, out)

    @property
    def uid(self) -> list[str]:
        """The uid of each task."""
        return [task.uid for task in self.tasks]

    @property
    def runtime_id(self) -> list[str | None]:
        """The uid of each runtime that runs one."""
        return [task.runtime_id for task in self.tasks]

    @property
    def remote_runtime(self) -> list[Any]:
        """A proxy of each runtime that runs one."""
        return [task.remote_runtime for task in self.tasks]

    @property
    def type(self) -> str:
        """What this is: ``task_array_proxy``."""
        return "task_array_proxy"

    @property
    def state(self) -> list[str]:
        """The state of each task."""
        return [task.state for task in self.tasks]

    @property
    def init_future(self) -> AllReady:
        """Awaited, it waits until each call has reached its worker."""
        from mosaic.core.futures import AllReady

        return AllReady([task.init_future for task in self.tasks])

    @property
    def done_future(self) -> AllReady:
        """A future of the end of all: its result is True, or it raises the first failure."""
        from mosaic.core.futures import AllReady

        return AllReady([task.done_future for task in self.tasks])

    def state_changed(self, state: str) -> None:
        """Do nothing: the core sets the state (for programs of mosaic 1.2)."""

    @property
    def outputs(self) -> list[TaskOutputGenerator]:
        """The outputs of each task."""
        return [task.outputs for task in self.tasks]

    def done(self) -> bool:
        """Return whether all have ended."""
        return all(task.ended for task in self.tasks)

    def cancel(self) -> bool:
        """Cancel each task that has not ended."""
        return [task.cancel() for task in self.tasks].count(True) > 0

    async def check_result(self) -> Self:
        """Wait for all, and raise the first failure."""
        await self
        return self

    def __getitem__(self, index: int) -> TaskProxy:
        return self.tasks[index]

    def __len__(self) -> int:
        return len(self.tasks)

    def _repr_html_(self) -> str:
        from mosaic.notebook.summary import of_tasks

        return of_tasks(f"{len(self.tasks)} tasks", self.tasks)

    def __repr__(self) -> str:
        return f"<TaskArrayProxy object at {id(self):#x}, {len(self.tasks)} tasks>"


# Names that programs of mosaic 1.2 import from here.
__getattr__ = lazy_names(
    __name__,
    dict.fromkeys(("MemoryOverflowError", "RuntimeDisconnectedError"), "mosaic.errors"),
)
