"""Starts and stops a network from this process."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NamedTuple

from mosaic import _core, log
from mosaic.core import network, placement
from mosaic.errors import MosaicError, TooFewWorkersError
from mosaic.launcher import recording
from mosaic.launcher.join import VARIABLE, find
from mosaic.notebook import display
from mosaic.runtime import children, hooks, interpreter, lanes, notices
from mosaic.runtime.current import set_current
from mosaic.runtime.roles import Head
from mosaic.runtime.strategy import LeastLoaded, RoundRobin, resolve
from mosaic.serialise import import_locks, preload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic._core import Engine
    from mosaic.launcher.join import Launched
    from mosaic.notebook.cells import Cells

hooks.install()

MAX_PENDING = 1 << 20
"""Calls of one process that may be pending before `BackpressureError`."""

START_TIMEOUT = 60.0
"""Seconds in which the workers have to take part."""

STOP_GRACE = 2.0
"""Seconds that running methods get to end when the network stops."""

INTERRUPT_GRACE = 0.3
"""Seconds that running methods get after Ctrl-C: the whole stop takes less than a second."""

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)

_PLACEMENTS = {
    RoundRobin: _core.Placement.ROUND_ROBIN,
    LeastLoaded: _core.Placement.LEAST_LOADED,
}
"""The strategies that the core has itself."""

_COMMAND = (
    "import os, sys; sys.path[:] = os.environ.pop('MOSAIC_SYS_PATH').split(os.pathsep); "
    "from mosaic.runtime.worker import main; main()"
)

POSITIONS = (
    "runtime_type",
    "runtime_indices",
    "address",
    "port",
    "parent_id",
    "parent_address",
    "parent_port",
    "monitor_address",
    "monitor_port",
    "pubsub_port",
    "num_workers",
    "num_threads",
    "mode",
    "reuse_head",
    "monitor_strategy",
    "log_level",
    "profile",
    "node_list",
    "timeout",
    "asyncio_loop",
    "dump_init",
    "wait",
    "runtime_uid",
    "local_warehouse_uid",
)
"""The options of programs of mosaic 1.2, which may give them by position."""

_OF_START = frozenset(
    [
        "num_workers",
        "num_threads",
        "mode",
        "monitor_strategy",
        "log_level",
        "profile",
        "timeout",
        "asyncio_loop",
    ]
)
"""The options in `POSITIONS` that have a meaning here; `asyncio_loop` has it for the driver."""

_ACCEPTED = {*POSITIONS, "num_nodes"} - _OF_START
"""Keywords of programs of mosaic 1.2 that mean nothing to a network on one machine."""

NOT_COMPARED = _ACCEPTED | {"timeout", "asyncio_loop"}
"""Options that say nothing of the runtime that runs."""

_lock = threading.Lock()


def start(
    *,
    num_workers: int | None = None,
    num_threads: int | None = None,
    mode: str | None = None,
    monitor_strategy: object = "round-robin",
    log_level: str | None = None,
    timeout: float | None = None,
    max_pending: int = MAX_PENDING,
    stop_grace: float = STOP_GRACE,
    warehouse_memory: float | str | None = None,
    spill_directory: str | os.PathLike[str] | None = None,
    spill_limit: int | str | None = None,
    profile: bool | str | os.PathLike[str] | None = None,
    **others: Any,
) -> Head:
    """Start a network with this process as its head, and wait until its workers take part.

    Under `mrun` its workers are used, and its settings are the defaults. What `mrun` was told of workers and threads is
    what was allocated: it counts for more than what the call says.

    Parameters
    ----------
    num_workers : int, optional
        Default is what the machine has: the physical cores that this process may use, over ``num_threads``.
    num_threads : int, optional
        Threads that a worker's numerical libraries may use. Default 1.
    mode : str, optional
        How the network came to be, as `Runtime.mode` tells it. Default is ``local``, under `mrun` what that says.
    monitor_strategy : str, MonitorStrategy
        Where new tesserae go: ``round-robin``, ``least-loaded``, or a program's own.
    log_level : str, optional
        The lowest level that is shown, of what the program logs by `mosaic.logger` and, where it has no handlers of its
        own, of what libraries log: ``debug``, ``perf``, ``info``, ``warning`` or ``error``. Default is
        ``MOSAIC_LOG_LEVEL``, or ``perf``, just below ``info``.
    timeout : float, optional
        Seconds in which the workers have to take part. Default 60.
    max_pending : int
        Calls of one process that may be pending before `BackpressureError`.
    stop_grace : float
        Seconds that running methods get to end when the network stops.
    warehouse_memory : float or str, optional
        Memory that large values may take in all processes together: a fraction of the machine's memory up to 1, or
        bytes, with or without a unit (``"2GB"``). Default is ``MOSAIC_WAREHOUSE_MEM``, or half.
    spill_directory : path, optional
        Where values go that do not fit into that. Default is ``MOSAIC_SPILL_DIRECTORY``, or the directory for
        temporary files.
    spill_limit : int or str, optional
        Most bytes that a process may have there. Default is ``MOSAIC_SPILL_LIMIT``, or no limit.
    profile : bool or path, optional
        Record when what was called, ran and moved, in a file for ``mprof``: in ``mosaic-workspace/``, or where a path
        says. Default, and False, is ``MOSAIC_PROFILE`` (a path, or 1), or not to.

    Raises
    ------
    MosaicError
        A runtime runs here already, the workers could not start, or those of `mrun` belong to another program.
    TooFewWorkersError
        They did not start in time.
    TypeError
        There is no such option.
    """
    refuse_unknown(others)
    asked_threads = None if num_threads is None else _positive("num_threads", num_threads)
    asked_workers = None if num_workers is None else _positive("num_workers", num_workers)
    strategy = resolve(monitor_strategy)
    foreign = type(strategy) not in _PLACEMENTS
    cells = _cells_of_notebook()
    with _lock:
        if _core.engine() is not None:
            raise MosaicError(
                "a mosaic runtime runs in this process already: mosaic.stop() it before starting another"
            )
        network.forget()
        launched = find()
        recorded = recording.wanted(profile, launched is not None and launched.key.profile)

        def begin(launched: Launched | None) -> tuple[Engine, _Settings]:
            settings = _settle(launched, asked_workers, asked_threads, log_level)
            log.begin(settings.log_level)
            environment = _environment(settings)
            if cells is not None:
                environment["MOSAIC_MARK_OUTPUT"] = "1"
            engine = _core.start_head(
                _core.WorkerLaunch(
                    command=worker_command(),
                    environment=environment,
                    workers=settings.workers,
                    stop_grace=stop_grace,
                ),
                _core.StoreLimits(
                    memory=None if warehouse_memory is None else str(warehouse_memory),
                    spill_directory=spill_directory,
                    spill_limit=None if spill_limit is None else str(spill_limit),
                ),
                placement=_PLACEMENTS.get(type(strategy), _core.Placement.PROGRAM),
                max_pending=max_pending,
                monitor=None if launched is None else launched.address,
                profile=recorded,
            )
            return engine, settings

        try:
            try:
                engine, settings = begin(launched)
            except MosaicError as error:
                if launched is None or launched.named:
                    raise
                log.end()
                launched.give_up(error)
                engine, settings = begin(None)
        except BaseException:
            log.end()
            if recorded is not None:
                recording.discard(recorded)
            raise
        placement.strategy = strategy.choose if foreign else None
    children.watch()
    import_locks.install()
    preload.publish_for(engine, shared=launched is not None)
    display.follow(cells, engine)
    notices.watch(engine)
    # Not before, unless the program has: it takes longer than everything else here, and workers start meanwhile.
    import asyncio  # noqa: F401 - who waits for tasks needs it

    limit = START_TIMEOUT if timeout is None else timeout
    try:
        engine.wait_ready(settings.workers, limit)
    except TimeoutError:
        found = len(network.workers())
        _stop_engine(engine, 0.0)
        raise TooFewWorkersError(
            f"{found} of {settings.workers} workers take part after {limit:g} s: "
            "give more time with timeout=, or ask for fewer with num_workers="
        ) from None
    except BaseException:
        _stop_engine(engine, 0.0)
        raise
    runtime = Head(engine, mode=mode or settings.mode, num_threads=settings.threads)
    runtime.reuse_head = bool(others.get("reuse_head"))
    set_current(runtime)
    recording.forget_asked()
    if recorded is not None:
        recording.tell_start(recorded)
    return runtime


def refuse_unknown(options: dict[str, Any]) -> None:
    """Raise `TypeError` for options that there are not, naming the nearest that there are."""
    unknown = [name for name in options if name not in _ACCEPTED]
    if not unknown:
        return
    from difflib import get_close_matches
    from inspect import signature

    known = sorted({*_ACCEPTED, *POSITIONS, *signature(start).parameters} - {"others"})
    unknown = [name for name in unknown if name not in known]
    meant = []
    for name in unknown:
        near = get_close_matches(name, known, 1)
        meant.append(f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name))
    if meant:
        raise TypeError(f"mosaic.init and mosaic.run have no option {', '.join(meant)}")


def stop(grace: float | None = None) -> None:
    """Stop the network that this process started; without one nothing happens.

    Parameters
    ----------
    grace : float, optional
        Seconds that running methods get to end. Default is ``stop_grace`` of the start.
    """
    engine = _core.engine()
    if engine is not None:
        _stop_engine(engine, grace)


def _stop_engine(engine: Engine, grace: float | None) -> None:
    notices.expect_deaths()
    preload.publish_nowhere()
    recorded = engine.profile
    try:
        engine.stop(grace)
    finally:
        if recorded is not None:
            recording.tell_end(recorded)
        children.release()
        lanes.release_lane()
        notices.join(5.0)
        display.leave()
        log.end()
        set_current(None)
        placement.strategy = None


def worker_command() -> list[str]:
    """Return the command that starts a worker: this interpreter, with the flags that change what programs mean."""
    flags: list[str] = []
    if sys.flags.optimize:
        flags.append("-" + "O" * sys.flags.optimize)
    if sys.flags.dev_mode:
        flags += ["-X", "dev"]
    for option in sys.warnoptions:
        flags += ["-W", option]
    return [sys.executable, *flags, "-c", _COMMAND]


class _Settings(NamedTuple):
    """The settings that workers are started with: the program's, or those of `mrun`."""

    workers: int
    threads: int
    threads_given: bool
    log_level: str | None
    mode: str


def _settle(
    launched: Launched | None, workers: int | None, threads: int | None, log_level: str | None
) -> _Settings:
    given = threads is not None
    mode = "local"
    if launched is not None:
        workers, threads = launched.workers(workers), launched.threads(threads)
        given = given or launched.key.allocated_threads
        log_level = log_level or launched.key.log_level
        mode = launched.key.mode
    threads = threads or 1
    return _Settings(workers or default_workers(threads), threads, given, log_level, mode)


def _environment(settings: _Settings) -> dict[str, str]:
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = list(sys.path)
    if package not in path:
        path.append(package)
    threads = str(settings.threads)
    # A program that a method starts is none that `mrun` has started.
    environment = {
        "MOSAIC_SYS_PATH": os.pathsep.join(path),
        "MOSAIC_NUM_THREADS": threads,
        VARIABLE: "",
    }
    if settings.log_level is not None:
        environment["MOSAIC_LOG_LEVEL"] = settings.log_level
    environment |= interpreter.describe()
    for name in _THREADS:
        if settings.threads_given or name not in os.environ:
            environment[name] = threads
    return environment


def default_workers(threads: int) -> int:
    """Return how many workers fit: the physical cores that this process may use, over the threads of each."""
    from mosaic.system.cpu import physical_cpu_count

    return max(1, physical_cpu_count() // threads)


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    number: int = value.__index__()
    if number < 1:
        raise ValueError(f"{name} must be at least 1, but is {number}")
    return number


def _cells_of_notebook() -> Cells | None:
    """Return the cells of the notebook that this process runs; None if it runs none."""
    if "ipykernel" not in sys.modules:
        return None
    from mosaic.notebook.cells import find

    return find()


def _stop_at_exit() -> None:
    engine = _core.engine()
    if engine is not None and engine.uid == "head":
        # The uncaught exception that has ended the program.
        interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
        stop(INTERRUPT_GRACE if interrupted else None)


atexit.register(_stop_at_exit)
