"""The Rust core as Python sees it: one engine a process, tasks, references, and the lanes that run calls."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypeAlias, final

from typing_extensions import disjoint_base

__all__ = [
    "NOT_TRACED",
    "PROTOCOL_VERSION",
    "STORE_THRESHOLD",
    "Engine",
    "Gather",
    "Output",
    "RemoteMethod",
    "Segment",
    "Task",
    "TesseraRef",
    "allocate",
    "configure",
    "engine",
    "join_worker",
    "quiet",
    "read_profile",
    "reduce",
    "select_output",
    "start_head",
]

_RawId: TypeAlias = tuple[int, int]
"""Owner's runtime number and the sequence number within it."""

NOT_TRACED: str
"""Among the constants of a function, it leaves the function out of every trace, with whatever it calls."""

PROTOCOL_VERSION: int
STORE_THRESHOLD: int

def configure(
    *,
    task_type: type[Task],
    pickle: Callable[[object], tuple[bytes, list[Any]]],
    unpickle: Callable[[Any, list[Any]], object],
    encode_exception: Callable[[BaseException], tuple[str, bytes]],
    decode_failure: Callable[[str, str, list[str], bytes | None], BaseException],
    build: Callable[[_RawId, type, tuple[Any, ...], dict[str, Any]], object],
) -> None:
    """Tell the core which Python objects to work with; called once, when ``mosaic`` is imported.

    Parameters
    ----------
    task_type
        The class that calls return; a subclass of `Task` made without arguments.
    pickle, unpickle
        Encode and decode what msgpack cannot: in-band bytes and out-of-band buffers.
    encode_exception
        One line for people, and the exception with its traceback text as bytes.
    decode_failure
        Kind (``raised``, ``cancelled``, ``timed_out``, ``disconnected``, ``stopped``, ``object_lost``,
        ``rejected``, ``internal``), message, context lines and encoded exception to an exception to raise.
    build
        Makes the living object of a tessera: its id, class, arguments and keyword arguments.
    """

def engine() -> Engine | None:
    """Return the engine of this process, if one runs (in a forked child of its process: None)."""

def start_head(
    *,
    worker_command: Sequence[str],
    worker_environment: Mapping[str, str],
    num_workers: int,
    max_pending: int,
    stop_grace: float,
    foreign_strategy: bool,
    least_loaded: bool,
    store_memory: str | None = None,
    spill_directory: str | PathLike[str] | None = None,
    spill_limit: str | None = None,
    profile: str | None = None,
) -> Engine:
    """Start the head: monitor and node agent in this process, workers as processes.

    Returns at once; see `Engine.wait_ready`. The command is run once a worker with
    ``MOSAIC_WORKER_DIRECTORY``, ``MOSAIC_WORKER_RUNTIME`` and ``MOSAIC_WORKER_UID`` in its environment.
    """

def read_profile(contents: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the records that are whole in the contents of a profile's file, and how many bytes belong to none.

    Processes have a ``uid``; the others are batches of packed tables; see ``docs/design/profile.md``. Raises
    `ValueError` for a file of a later version.
    """

def quiet(by: int) -> None:
    """Trace nothing on this thread while more calls with 1 than with -1 were made."""

def join_worker() -> Engine:
    """Join the head named in the environment, as the worker process that it started."""

@final
class Engine:
    """One process's engine: an I/O thread, connections, the rules."""

    @property
    def uid(self) -> str: ...
    @property
    def runtime(self) -> int: ...
    @property
    def directory(self) -> str:
        """Where sockets and the secret are; mode 0700."""
    @property
    def pending(self) -> int:
        """Tasks of this process that have not ended."""
    @property
    def stopped(self) -> bool:
        """Whether `stop` was called here or the network has ended."""
    def wait_ready(self, workers: int, timeout: float | None) -> None:
        """Block until that many workers take part. Raises `TimeoutError`, or the reason why they cannot start."""
    def members(self) -> list[tuple[int, str, int, str]]:
        """Runtime number, uid, process id and role, of all that live, this one too.

        The role is ``head``, ``worker`` or ``warehouse``.
        """
    def named(self, uid: str) -> int | None:
        """Return the runtime number of whoever lives under that uid."""
    def notices(self) -> list[tuple[Any, ...]] | None:
        """Block until there is something to tell the program; None once the engine has stopped.

        ``("output", uid, "stdout" | "stderr", text)`` one line of a worker, without its end;
        ``("report", level, text, uid)`` for the log, from that runtime; ``("joined", uid)``; ``("died", uid, cause)``;
        ``("exhausted", reason)`` when no worker will join any more;
        ``("choose", owner, sequence)``, to be answered with `chosen`; ``("done", token)``.
        """
    def chosen(self, tessera: _RawId, runtime: int | None, reason: str) -> None:
        """Answer a ``choose`` notice."""
    def stop(self, grace: float | None = None) -> None:
        """End the network (head) or leave it. Blocks until every process, thread and file of it is gone.

        ``grace`` seconds instead of ``stop_grace`` for running methods.
        """
    def construct(
        self,
        cls: type,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        place: int | None = None,
        in_warehouse: bool = False,
        concurrent: bool = False,
        retries: int = 0,
        restarts: int = 0,
    ) -> tuple[TesseraRef, Task]:
        """Build a tessera; the task ends when its ``__init__`` has.

        Without a ``place`` it goes to the warehouse, or where the strategy says.
        """
    def holders(self, tessera: _RawId) -> list[int]:
        """Return the runtimes that are counted as holders of a tessera hosted here."""
    def functions(self, runtime: int) -> TesseraRef:
        """Return the tessera of a runtime that plain functions run on; call with kind ``function``."""
    def keyed(self, runtime: int, key: str) -> TesseraRef:
        """Return the tessera of a runtime that functions of one key run on, one at a time; call as `functions`."""
    def warehouse(self) -> Task:
        """Return a task that ends when this machine's warehouse takes part; it is started if it does not."""
    def borrow_tessera(self, tessera: _RawId, host: int, name: str) -> TesseraRef:
        """Return a reference to a tessera known from elsewhere."""
    def borrow_task(self, task: _RawId, tessera: _RawId, name: str, method: str) -> Task:
        """Return a task that was passed to this process."""
    def put(self, value: object, name: str) -> Task:
        """Return a task with this value, kept by the head; elsewhere it ends when the head has the value."""
    def discard(self, task: _RawId) -> None:
        """Drop the value of a task everywhere: whoever asks for it later gets ``object_lost``."""
    def memory(self) -> dict[str, Any]:
        """Return what this process has in the store; see `mosaic.runtime.memory`."""
    def account(self, nbytes: int) -> None:
        """Have living values of this process count as that many bytes more, or fewer, of the node's memory."""
    def fence(self) -> Task:
        """Return a task that ends when every task submitted so far on the network has."""
    def register_barrier_task(self) -> None:
        """Tell the head that something is to be done here at its next barrier."""
    def take_barrier_tasks(self) -> list[int]:
        """Return the runtimes that have something to do at this barrier, each once (head only)."""
    @property
    def profile(self) -> Path | None:
        """The file that a profile is recorded in; None if none is."""
    @property
    def traced(self) -> bool:
        """Whether the functions are recorded that methods call."""
    def record_profile(self, path: str | None, traced: bool = False) -> None:
        """Record a profile of the network in this file from now on; None ends that. Raises `OSError`."""
    def trace_here(self) -> bool:
        """Trace the call that runs on this thread to its end; False if none runs or it is traced already."""
    def end_trace_here(self) -> None:
        """End that before the call does."""
    def run_main_lane(self) -> None:
        """Run plain calls on this thread until the engine stops (workers)."""
    def wait_coroutine(self) -> bool:
        """Block until the first coroutine call is here; False if the engine stopped instead."""
    def attach_coroutine_lane(self, event_loop: AbstractEventLoop, both: bool) -> None:
        """Run coroutine calls on this loop, plain ones too if ``both`` (the head's local tesserae)."""
    def call_is_running(self) -> _RawId | None:
        """Return the id of the tessera whose call runs in the current context, if any."""

@final
class TesseraRef:
    """A counted reference to a tessera; the tessera is freed when the last one anywhere goes."""

    @property
    def id(self) -> _RawId: ...
    @property
    def host(self) -> int | None:
        """The runtime that hosts it; None while that is not decided."""
    def wait_placed(self) -> int:
        """Return the runtime that hosts it; block until that is decided. Its owner if it lives nowhere."""
    @property
    def name(self) -> str:
        """The name of its class, for display."""
    def method(
        self,
        name: str,
        *,
        kind: str = "method",
        coroutine: bool = False,
        reserved: frozenset[str] | None = None,
        retries: int = 0,
        resends: int = 0,
        timeout: float | None = None,
    ) -> RemoteMethod:
        """Return a callable that calls this method.

        ``kind`` is one of ``method``, ``get``, ``get_now``, ``set``, ``stop``, ``function``, ``result:O:S`` (a method
        of the living result of task (O, S)). ``reserved`` are those of ``max_retries``, ``timeout``, ``eager`` and
        ``runtime`` that a call may give as keywords for mosaic itself.
        """
    def note(self) -> None:
        """Tell the encoder at work on this thread that the value being pickled refers to this tessera."""

@final
class RemoteMethod:
    """Calls one method of one tessera; returns tasks."""

    @property
    def name(self) -> str: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Task: ...

@disjoint_base
class Task:
    """One call: a handle on its end and its value."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    @property
    def id(self) -> _RawId: ...
    @property
    def tessera(self) -> _RawId: ...
    @property
    def tessera_name(self) -> str: ...
    @property
    def host(self) -> int | None: ...
    def wait_placed(self) -> int:
        """Return the runtime that runs it; block until that is decided."""
    @property
    def borrowed(self) -> bool:
        """Whether it was passed to this process, rather than made here."""
    @property
    def method(self) -> str: ...
    @property
    def state(self) -> str:
        """``pending``, ``queued``, ``done``, ``failed`` or ``cancelled``."""
    @property
    def ended(self) -> bool: ...
    @property
    def nbytes(self) -> int | None:
        """Encoded size of the value in bytes, once known."""
    def __await__(self) -> Generator[Any, None, Self]: ...
    def result(self) -> Awaitable[Any]: ...
    def wait(self, timeout: float | None = None) -> Any:
        """Block until the value is here and return it."""
    def wait_ended(self, timeout: float | None = None) -> None:
        """Block until the task has ended; do not raise its failure."""
    def failure(self) -> BaseException | None:
        """Return the exception of an ended task, if it failed, and mark it as seen."""
    def arrival(self) -> Task:
        """Return a task that ends when this call has reached its worker, and fails if it did not get there."""
    def cancel(self) -> bool: ...
    def subscribe(self, future: Future[None]) -> None:
        """Have this future of the running loop resolved with None when the task has ended, well or not."""
    def subscribe_notice(self, token: int) -> None:
        """Have a ``("done", token)`` notice sent when the task has ended."""
    def note(self) -> None:
        """Tell the encoder at work on this thread that the value being pickled refers to this task."""

@disjoint_base
class Output:
    """A reference to one output of a task, or to its end.

    Without a task it stands for a value that changes: as an argument, its method ``read`` is asked for a task that
    reads it.
    """

    def __new__(
        cls, task: Task | None, key: object = None, *, done: bool = False, whole: bool = False
    ) -> Self: ...
    @property
    def task(self) -> Task: ...
    @property
    def key(self) -> object: ...

@final
class Gather:
    """Waits for many tasks at the cost of one; `values` says whether their values are wanted."""

    def __new__(cls, tasks: Sequence[Task], values: bool) -> Self: ...
    def __await__(self) -> Generator[Any, None, list[Any]]: ...
    def wait(self, timeout: float | None = None) -> list[Any]: ...

@final
class Segment:
    """Memory that came with a message or lies in a store: a writable buffer (PEP 3118), nobody else's."""

def allocate(length: int) -> Segment:
    """Return memory of the store to write to; passed on whole, it is not copied.

    Raises `MemoryOverflowError` where there is no room.
    """

def select_output(value: object, key: object) -> object:
    """Return one output of a result: a position of a tuple, a key of a dict, or 0 for anything else.

    Raises `LookupError`.
    """

def reduce(arrays: Sequence[Any], operation: str, out: Any) -> None:
    """Combine arrays element by element, in their order, without the interpreter's lock and on every core.

    Parameters
    ----------
    arrays
        Flat contiguous buffers of one type and length: integers, floating-point or complex numbers.
    operation
        ``sum``, ``mean``, ``prod``; ``min`` or ``max`` where numbers have an order.
    out
        A flat contiguous buffer to write to, of the same type and length, and of doubles for the ``mean`` of
        integers. It shares no memory with an array.

    Raises
    ------
    ValueError, BufferError
        An array or the output is not so.
    """
