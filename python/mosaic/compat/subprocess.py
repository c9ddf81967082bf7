"""Functions in a process of their own: ``mosaic.subprocess(f)(*args)``; the rest is Python's own `subprocess`.

The process is a new interpreter, not a fork: threads and a runtime may be about. It ends with the one that started
it, however that ends, unless it was made with ``daemon=False``: then an interpreter that ends waits for it. In new
programs `concurrent.futures.ProcessPoolExecutor` or a tessera does this.
"""

from __future__ import annotations

import os
import signal as _signal
import subprocess as _subprocess
import sys
from contextlib import suppress
from tempfile import TemporaryFile

from mosaic._facade import make_callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_COMMAND = (
    "import sys; sys.path[:] = {path!r}; from mosaic.compat.subprocess import _serve; "
    "_serve({out}, {cores!r})"
)

_PARENT_GONE = 70
"""Exit code of a process whose parent has gone."""


_PR_SET_PDEATHSIG = 1

_running: set[Subprocess] = set()
"""The processes that run: referred to here, each goes on to its end when its maker has freed it."""


class Subprocess:
    """A function that runs in a process of its own, once `start_process` starts it; made by `subprocess`.

    Parameters
    ----------
    function : callable
        Any function that can be pickled, lambdas and closures too.
    args, kwargs
        Its arguments, as they are when the process starts.
    name : str
        For messages.
    daemon : bool
        Whether the process ends with this one, rather than this one waiting for it at its end.
    cpu_affinity : int or iterable of int, optional
        The numbers of the cores that the process may run on; default is those of this one.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str,
        *,
        daemon: bool = True,
        cpu_affinity: int | Iterable[int] | None = None,
    ) -> None:
        cores = [cpu_affinity] if isinstance(cpu_affinity, int) else cpu_affinity
        self.name = name
        self.daemon = bool(daemon)
        self.cpu_affinity = None if cores is None else sorted({int(core) for core in cores})
        self._call: tuple[Any, ...] | None = (function, args, kwargs)
        self._process: _subprocess.Popen[bytes] | None = None
        self._paused = False
        self._outcome: tuple[Any, ...] | None = None
        self._body = b""
        self._looked: tuple[float, float] | None = None

    def start_process(self) -> None:
        """Start the process, or have one that was paused go on; one that runs or has ended is left alone.

        Raises
        ------
        TypeError, pickle.PicklingError
            The function or an argument cannot be pickled.
        OSError
            The process cannot be started.
        RuntimeError
            It was stopped before it was started.
        """
        if self._process is not None:
            if self._paused:
                self._paused = False
                self._send(_signal.SIGCONT)
            return
        if self._call is None:
            raise RuntimeError(f"{self.name} was stopped before it was started: make another one")
        from time import monotonic

        from mosaic.serialise.codec import dumps

        payload = dumps(self._call)
        # A file, not a pipe: the process can end before anybody reads what it left.
        self._out = TemporaryFile()  # noqa: SIM115 - closed in `_ended`
        out = self._out.fileno()
        command = _COMMAND.format(path=sys.path, out=out, cores=self.cpu_affinity)
        try:
            self._process = _subprocess.Popen(
                [sys.executable, "-c", command], stdin=_subprocess.PIPE, pass_fds=(out,)
            )
        except BaseException:
            self._out.close()
            raise
        self._call = None
        self._looked = (monotonic(), 0.0)
        _running.add(self)
        if not self.daemon:
            import atexit

            atexit.register(self.join)
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self._process.stdin.write(len(payload).to_bytes(8, "little") + payload)
            # Stays open: end of file there means that this process has ended.
            self._process.stdin.flush()
        except BrokenPipeError:
            # It has ended already; `result` says how.
            pass

    def pause_process(self) -> None:
        """Stop the process where it is, until `start_process` has it go on."""
        if self.running():
            self._paused = True
            self._send(_signal.SIGSTOP)

    def stop_process(self) -> None:
        """End the process, and wait for that; one that has not been started never will be."""
        if self._process is None:
            self._call = None
        else:
            self.terminate()

    def join_process(self, timeout: float | None = None) -> int:
        """Wait for its end; see `join`."""
        return self.join(timeout)

    @property
    def state(self) -> str:
        """``pending``, ``running``, ``paused`` or ``stopped``."""
        if self._process is None:
            return "stopped" if self._call is None else "pending"
        if not self.is_alive():
            return "stopped"
        return "paused" if self._paused else "running"

    def running(self) -> bool:
        """Return whether it runs and is not paused."""
        return self.state == "running"

    def memory(self) -> int:
        """Return its resident memory in bytes; 0 where it does not run."""
        from mosaic.system.memory import memory_used

        if self.is_alive():
            with suppress(ProcessLookupError):
                return memory_used(self.pid)
        return 0

    def cpu_load(self) -> float:
        """Return how many cores it has used on average since this was last asked, or since its start; 0 at its end."""
        if self._looked is None or not self.is_alive():
            return 0.0
        from time import monotonic

        try:
            with open(f"/proc/{self.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return 0.0
        # User and system time in ticks, the 14th and 15th field; the first two are cut off.
        now, used = monotonic(), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        (then, before), self._looked = self._looked, (now, used)
        return (used - before) / (now - then) if now > then else 0.0

    @property
    def pid(self) -> int | None:
        """The number of the process, None where it has not been started."""
        return None if self._process is None else self._process.pid

    def is_alive(self) -> bool:
        """Return whether the process is there, running or paused."""
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        self._ended()
        return False

    def result(self) -> Any:
        """Wait for its end, and return what the function returned, or raise what it raised.

        Raises
        ------
        RuntimeError
            The process ended without: the message says how. Or it has not been started.
        """
        self.join()
        if self._outcome is None:
            self._outcome = self._read()
        error, value = self._outcome
        if error is not None:
            raise error
        return value

    def join(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code, negative for a signal.

        Raises
        ------
        TimeoutError
            That many seconds have passed.
        RuntimeError
            It has not been started.
        """
        try:
            code = self._started().wait(timeout)
        except _subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} still runs after {timeout} s") from None
        self._ended()
        return code

    def terminate(self) -> None:
        """End it, and wait for that."""
        self._started().terminate()
        # One that is paused has no other signal than SIGKILL until it goes on.
        self._send(_signal.SIGCONT)
        self.join()

    def kill(self) -> None:
        """End it whatever it does, and wait for that."""
        self._started().kill()
        self.join()

    def _send(self, number: int) -> None:
        self._started().send_signal(number)

    def _started(self) -> _subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(
                f"{self.name} has not been started: call start_process(), or make it with "
                "mosaic.subprocess(function, start=True)"
            )
        return self._process

    def _ended(self) -> None:
        """Release what is open for a process that has ended."""
        if self in _running:
            _running.discard(self)
            self._out.seek(0)
            self._body = self._out.read()
            self._out.close()
            if not self.daemon:
                import atexit

                atexit.unregister(self.join)
            stdin = self._started().stdin
            if stdin is not None:
                with suppress(BrokenPipeError):
                    stdin.close()

    def _read(self) -> tuple[Any, ...]:
        from mosaic.core.failure import decode_exception
        from mosaic.serialise.codec import deserialise

        body, self._body = self._body, b""
        if not body:
            code = self._started().returncode
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            return RuntimeError(f"{self.name}, process {self.pid}, {how}, without a result"), None
        failed, value = deserialise(body)
        if failed:
            return decode_exception(value[0], value[1]), None
        return None, value

    def __repr__(self) -> str:
        state = self.state
        if self._process is not None:
            ended = state == "stopped"
            text = f"ended with {self._process.returncode}" if ended else state
            state = f"process {self.pid}, {text}"
        return f"<{type(self).__name__} {self.name!r}, {state}>"


def subprocess(
    function: Callable[..., Any], name: str | None = None, start: bool = False
) -> Callable[..., Subprocess]:
    """Have a function run in a process of its own each time that it is called.

    Parameters
    ----------
    function : callable
        The function.
    name : str, optional
        For messages; by default that of the function.
    start : bool
        Whether a call starts the process; else its `Subprocess.start_process` does.

    Returns
    -------
    callable
        Takes the function's arguments and returns a `Subprocess`. Its keywords ``name``, ``daemon`` and
        ``cpu_affinity`` are not the function's; see there.

    Raises
    ------
    TypeError
        It is no function.

    Examples
    --------
    >>> import mosaic
    >>> process = mosaic.subprocess(max)(3, 7, cpu_affinity=0)
    >>> process.start_process()
    >>> process.result()
    7
    """
    if not callable(function):
        raise TypeError(
            f"mosaic.subprocess takes a function, not {function!r}: see subprocess.run for programs"
        )
    label = str(name or getattr(function, "__name__", repr(function)))

    def make(
        *args: Any,
        name: str | None = None,
        daemon: bool = True,
        cpu_affinity: int | Iterable[int] | None = None,
        **kwargs: Any,
    ) -> Subprocess:
        own = str(name or label)
        made = Subprocess(function, args, kwargs, own, daemon=daemon, cpu_affinity=cpu_affinity)
        if start:
            made.start_process()
        return made

    make.__name__ = label
    make.__doc__ = function.__doc__
    return make


def _serve(out: int, cores: list[int] | None) -> None:
    """Run the function that comes on the standard input, and write its outcome to a descriptor."""
    import threading

    from mosaic.core.failure import encode_exception
    from mosaic.serialise.codec import deserialise, dumps

    source = os.fdopen(os.dup(0), "rb")
    # The function's own input is empty.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    payload = source.read(int.from_bytes(source.read(8), "little"))
    threading.Thread(target=_end_with, args=(source,), daemon=True).start()
    _go_on_without_parent()
    try:
        if cores is not None:
            # Before numeric libraries are imported: they start as many threads as there are cores.
            os.sched_setaffinity(0, cores)
        function, args, kwargs = deserialise(payload)
        body = dumps((False, function(*args, **kwargs)))
    except Exception as error:
        body = dumps((True, encode_exception(error)))
    with os.fdopen(out, "wb") as file:
        file.write(body)


def _go_on_without_parent() -> None:
    """Have this process go on when its parent ends, if it is paused then: it sees that end only while it runs."""
    with suppress(ImportError, AttributeError, OSError):
        # Linux. The signal does nothing to one that runs, so that it may come when just a thread of the parent's ends.
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _signal.SIGCONT)


def _end_with(source: Any) -> None:
    source.read()
    os._exit(_PARENT_GONE)


def _call(
    _: object, function: Callable[..., Any], name: str | None = None, start: bool = False
) -> Callable[..., Subprocess]:
    """Have a function run in a process of its own each time that it is called; see `subprocess`."""
    return subprocess(function, name, start)


make_callable(__name__, _call)


def __getattr__(name: str) -> Any:
    return getattr(_subprocess, name)
