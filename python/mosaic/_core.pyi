"""The Rust core as Python sees it: one engine a process, tasks, references, and the lanes that run calls."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Generator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias, final

from typing_extensions import disjoint_base

__all__ = [
    "NOT_TRACED",
    "PROTOCOL_VERSION",
    "STORE_THRESHOLD",
    "CallKind",
    "Engine",
    "Gather",
    "Member",
    "Monitor",
    "MonitorAddress",
    "Notice",
    "Output",
    "Placement",
    "RemoteMethod",
    "Role",
    "Segment",
    "StoreLimits",
    "Subscription",
    "Task",
    "TaskResult",
    "TesseraRef",
    "WorkerLaunch",
    "allocate",
    "available_memory",
    "compress",
    "configure",
    "decompress",
    "engine",
    "free_descriptors",
    "given_descriptors",
    "join_worker",
    "lower_descriptors",
    "quiet",
    "raise_descriptors",
    "read_profile",
    "reduce",
    "run_agent",
    "select_output",
    "spawn_command",
    "start_head",
    "trace_origins",
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
    decode_exception: Callable[[str, bytes], BaseException],
    build: Callable[[_RawId, type, tuple[Any, ...], dict[str, Any]], object],
) -> None:
    """Tell the core which Python objects to work with; called once, when ``mosaic`` is imported.

    Parameters
    ----------
    task_type
        The class that calls return; a subclass of `Task`.
    pickle, unpickle
        Encode and decode what msgpack cannot: in-band bytes and out-of-band buffers.
    encode_exception
        One line for people, and the exception with its traceback text as bytes.
    decode_exception
        Message and encoded exception to the exception to raise, for a task whose method raised.
    build
        Makes the live object of a tessera: its id, class, arguments and keyword arguments.
    """

def trace_origins(
    current: Callable[[], int | None] | None = None,
    enter: Callable[[int], object] | None = None,
    show: Callable[[], object] | None = None,
) -> None:
    """Have calls carry where they come from, and what they call in turn; without functions no more.

    Parameters
    ----------
    current
        Tells the number of the current context, None for none: asked at every call that is made.
    enter
        Makes a number that of the current context: called before a method runs.
    show
        Has what was printed shown: called before who has awaited a call goes on.
    """

def engine() -> Engine | None:
    """Return the engine of this process, if one runs (in a forked child of its process: None)."""

@final
class WorkerLaunch:
    """What the head starts its worker processes with.

    The command is run once a worker with ``MOSAIC_WORKER_DIRECTORY``, ``MOSAIC_WORKER_RUNTIME`` and
    ``MOSAIC_WORKER_UID`` in its environment. Running methods have ``stop_grace`` seconds to end when the network stops.
    """

    def __new__(
        cls,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        workers: int,
        stop_grace: float,
    ) -> Self: ...

@final
class StoreLimits:
    """The limits of the stores: those of the environment where the program says nothing else.

    Raises `ValueError` for a text that is no amount of memory.
    """

    def __new__(
        cls,
        *,
        memory: str | None = None,
        spill_directory: str | PathLike[str] | None = None,
        spill_limit: str | None = None,
    ) -> Self: ...

@final
class MonitorAddress:
    """Where the monitor of an `mrun` is: its directory, its process, its key, and whether it runs this program."""

    def __new__(
        cls,
        *,
        directory: str | PathLike[str],
        process: int,
        key: str | PathLike[str],
        commanded: bool,
    ) -> Self: ...

@final
class Placement:
    """Who chooses the worker of a new tessera: a strategy of the core, or the program by `Engine.chosen`."""

    ROUND_ROBIN: ClassVar[Placement]
    LEAST_LOADED: ClassVar[Placement]
    PROGRAM: ClassVar[Placement]
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __int__(self) -> int: ...

@final
class Role:
    """What a runtime is for; ``str`` gives ``head``, ``worker`` or ``warehouse``."""

    HEAD: ClassVar[Role]
    WORKER: ClassVar[Role]
    WAREHOUSE: ClassVar[Role]
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __int__(self) -> int: ...

@final
class Member:
    """A runtime that takes part."""

    @property
    def runtime(self) -> int: ...
    @property
    def uid(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def role(self) -> Role: ...

@disjoint_base
class Notice:
    """What the engine has to tell the program outside of any call: one class a kind of notice."""

    @final
    class Output(Notice):
        """A line that a worker printed, without its end, and the number that `trace_origins` had its call carry."""

        __match_args__ = ("uid", "error", "origin", "text")
        def __new__(cls, uid: str, error: bool, origin: int | None, text: str) -> Self: ...
        @property
        def uid(self) -> str: ...
        @property
        def error(self) -> bool:
            """On standard error rather than standard output."""
        @property
        def origin(self) -> int | None: ...
        @property
        def text(self) -> str: ...

    @final
    class Log(Notice):
        """A line for the log, from that runtime."""

        __match_args__ = ("uid", "level", "text")
        def __new__(cls, uid: str, level: str, text: str) -> Self: ...
        @property
        def uid(self) -> str: ...
        @property
        def level(self) -> str: ...
        @property
        def text(self) -> str: ...

    @final
    class Joined(Notice):
        """A runtime takes part."""

        __match_args__ = ("uid",)
        def __new__(cls, uid: str) -> Self: ...
        @property
        def uid(self) -> str: ...

    @final
    class Died(Notice):
        """A runtime died."""

        __match_args__ = ("uid", "cause")
        def __new__(cls, uid: str, cause: str) -> Self: ...
        @property
        def uid(self) -> str: ...
        @property
        def cause(self) -> str: ...

    @final
    class Exhausted(Notice):
        """No worker will join any more."""

        __match_args__ = ("reason",)
        def __new__(cls, reason: str) -> Self: ...
        @property
        def reason(self) -> str: ...

    @final
    class Choose(Notice):
        """The program's placement strategy is asked; `Engine.chosen` answers."""

        __match_args__ = ("tessera",)
        def __new__(cls, tessera: _RawId) -> Self: ...
        @property
        def tessera(self) -> _RawId: ...

    @final
    class Ended(Notice):
        """A task has ended for which `Task.subscribe_notice` was called with this token."""

        __match_args__ = ("token",)
        def __new__(cls, token: int) -> Self: ...
        @property
        def token(self) -> int: ...

    @final
    class Drained(Notice):
        """All is read that workers had printed when `Engine.drain_output` was called with this token."""

        __match_args__ = ("token",)
        def __new__(cls, token: int) -> Self: ...
        @property
        def token(self) -> int: ...

_AnyNotice: TypeAlias = (
    Notice.Output
    | Notice.Log
    | Notice.Joined
    | Notice.Died
    | Notice.Exhausted
    | Notice.Choose
    | Notice.Ended
    | Notice.Drained
)

def start_head(
    launch: WorkerLaunch,
    store: StoreLimits,
    *,
    placement: Placement,
    max_pending: int,
    monitor: MonitorAddress | None = None,
    profile: str | None = None,
) -> Engine:
    """Start the head, workers as processes; monitor and node agent in this process, unless a monitor is named.

    Returns at once; see `Engine.wait_ready`.
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
class Monitor:
    """The monitor of `mrun`: a private directory first, then, once started, what listens there."""

    def __new__(cls) -> Self: ...
    def start(self, agent_command: Sequence[str] | None, key: str | PathLike[str]) -> None:
        """Start the monitor, and the node agent: by a command, or in this process without one.

        The key is the file that tells programs of the directory; it is removed at the end, whatever that is.
        """
    @property
    def directory(self) -> Path:
        """Where the sockets and the secret are; mode 0700."""
    @property
    def agent(self) -> int | None:
        """The process of the node agent, while it is ready."""
    def wait_ready(self, timeout: float | None) -> None:
        """Block until the node agent is ready. Raises `TimeoutError`, or the reason why it does not start."""
    def guard(self, command: int | None) -> None:
        """Have the process group of that process end with this process, however this one ends; None for none."""
    def stop(self) -> None:
        """End the node agent and its processes; key and directory are gone when this returns."""

def run_agent() -> None:
    """Be the node agent that the monitor named in the environment has started, until it ends."""

def spawn_command(command: Sequence[str], environment: Sequence[tuple[str, str]]) -> int:
    """Start a command in a process group of its own, and return its process id.

    Parameters
    ----------
    command
        Program and arguments.
    environment
        Added to this process's own.
    """

@final
class Engine:
    """One process's engine: an I/O thread, connections, the rules."""

    @property
    def uid(self) -> str: ...
    @property
    def runtime(self) -> int: ...
    @property
    def directory(self) -> Path:
        """Where sockets and the secret are; mode 0700."""
    @property
    def launchers(self) -> tuple[int | None, int | None]:
        """The processes of the monitor and of this machine's node agent, while they are known and live."""
    @property
    def gave_up(self) -> str | None:
        """Why no worker will be started any more, if so; the head knows."""
    @property
    def pending(self) -> int:
        """Tasks of this process that have not ended."""
    @property
    def stopped(self) -> bool:
        """Whether `stop` was called here or the network has ended."""
    def wait_ready(self, workers: int, timeout: float | None) -> None:
        """Block until that many workers take part. Raises `TimeoutError`, or the reason why they cannot start."""
    def members(self) -> list[Member]:
        """Return all that live, this one too."""
    def named(self, uid: str) -> int | None:
        """Return the runtime number of whoever lives under that uid."""
    def notices(self) -> list[_AnyNotice] | None:
        """Block until there is something to tell the program; None once the engine has stopped."""
    def chosen(self, tessera: _RawId, runtime: int | None, reason: str) -> None:
        """Answer `Notice.Choose`: with a runtime, or with the reason why there is none."""
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
        """Return the tessera of a runtime that plain functions run on; call with `CallKind.FUNCTION`."""
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
        """Have live values of this process count as that many bytes more, or fewer, of the node's memory."""
    def fence(self) -> Task:
        """Return a task that ends when every task submitted so far on the network has."""
    def output_is_due(self) -> bool:
        """Whether the workers have printed something that may not have been handled yet."""
    def drain_output(self, token: int) -> None:
        """Have a `Notice.Drained` with this token come after all that the workers have printed by now."""
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
class CallKind:
    """What a callable asks of a tessera."""

    METHOD: ClassVar[CallKind]
    """Call a method."""
    GET: ClassVar[CallKind]
    """Read an attribute, after the calls made before."""
    GET_NOW: ClassVar[CallKind]
    """Read an attribute past a running call."""
    SET: ClassVar[CallKind]
    """Set an attribute."""
    STOP: ClassVar[CallKind]
    """Free the tessera."""
    FUNCTION: ClassVar[CallKind]
    """Run a plain function, the first argument."""
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __int__(self) -> int: ...
    def __reduce__(self) -> str: ...

@final
class TesseraRef:
    """A counted reference to a tessera; the tessera is freed when the last one anywhere goes."""

    @property
    def id(self) -> _RawId: ...
    @property
    def host(self) -> int | None:
        """The runtime that hosts it; None while that is not decided."""
    @property
    def stopped(self) -> bool:
        """Whether its network has been stopped."""
    def wait_placed(self) -> int:
        """Return the runtime that hosts it; block until that is decided. Its owner if it lives nowhere."""
    @property
    def name(self) -> str:
        """The name of its class, for display."""
    def method(
        self,
        name: str,
        *,
        kind: CallKind = ...,
        coroutine: bool = False,
        reserved: frozenset[str] | None = None,
        retries: int = 0,
        resends: int = 0,
        timeout: float | None = None,
    ) -> RemoteMethod:
        """Return a callable that calls this method, or does what the kind says.

        ``reserved`` are those of ``max_retries``, ``timeout``, ``eager`` and ``runtime`` that a call may give as
        keywords for mosaic itself.
        """
    def result_method(self, name: str, task: Task, reserved: frozenset[str]) -> RemoteMethod:
        """Return a callable that calls a method of the live result of a task that ran on this runtime."""
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
    """One call: a handle on its end and its value; made by calls alone."""

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
    def needs(self) -> list[Self]:
        """The tasks among the call's arguments that somebody still holds."""
    @property
    def given(self) -> tuple[Any, ...] | list[Any] | None:
        """What the call was given, for `mosaic.core.call_arguments.parts`."""
    @property
    def nbytes(self) -> int | None:
        """Encoded size of the value in bytes, once known."""
    def __await__(self) -> Generator[Any, None, Self]: ...
    def result(self) -> TaskResult: ...
    def fresh_result(self) -> TaskResult:
        """Return what gives each who waits a value of its own, of a task whose value an `Output` of the whole keeps."""
    def wait(self, timeout: float | None = None) -> Any:
        """Block until the value is here and return it."""
    def wait_ended(self, timeout: float | None = None) -> None:
        """Block until the task has ended; do not raise its failure."""
    def failure(self) -> BaseException | None:
        """Return the exception of an ended task, if it failed, and mark it as seen."""
    def arrival(self) -> Task:
        """Return a task that ends when this call has reached its worker, and fails if it did not get there."""
    def cancel(self) -> bool: ...
    def subscribe(self, future: Future[None]) -> Subscription:
        """Have this future of the running loop resolved with None when the task has ended, well or not."""
    def subscribe_notice(self, token: int) -> None:
        """Have a `Notice.Ended` with this token sent when the task has ended."""
    def unsubscribe_notice(self, token: int) -> None:
        """Have it not sent."""
    @property
    def waiters(self) -> int:
        """How many wait for it in this process and have not given up."""
    def note(self) -> None:
        """Tell the encoder at work on this thread that the value being pickled refers to this task."""

@final
class TaskResult:
    """What `Task.result` returns: awaitable, as often as wanted."""

    def __await__(self) -> Generator[Any, None, Any]: ...
    def wait(self, timeout: float | None = None) -> Any:
        """Block until the value is here and return it."""

@final
class Subscription:
    """A future that waits for the end of a task."""

    def cancel(self) -> None:
        """Have the future not resolved."""

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

def free_descriptors() -> bool:
    """Close the files that are kept open in reserve, for something that stays open; tell whether there were any."""

def given_descriptors() -> int | None:
    """Return the soft limit of open files for what this process starts; None where that is its own."""

def lower_descriptors(*, insist: bool) -> bool:
    """Lower the soft limit of open files to `given_descriptors` for the start of a program; tell whether it is lowered.

    Not where it was not raised; and only if the caller insists where more files are open than would fit, since nobody
    in this process can open another until `raise_descriptors` is called, on the same thread.
    """

def raise_descriptors() -> None:
    """Take `lower_descriptors` back."""

def available_memory() -> int | None:
    """Return the bytes that this process may use: the machine's, or fewer by control group. None where untold."""

def compress(payload: Any) -> bytes:
    """Compress bytes (a contiguous buffer of format ``B``) by LZ4, without the interpreter's lock.

    Raises `ValueError` for more than 4 GiB.
    """

def decompress(packed: Any) -> bytes:
    """Give back what `compress` was given. Raises `ValueError` for what it did not make."""

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
