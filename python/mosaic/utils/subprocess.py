"""Functions in a process of their own: ``mosaic.subprocess(f)(*args)``; the rest is Python's own `subprocess`.

The process is a new interpreter, not a fork: threads and a runtime may be about. It ends with the one that started
it, however that ends. In new programs `concurrent.futures.ProcessPoolExecutor` or a tessera does this.
"""

from __future__ import annotations

import os
import subprocess as _subprocess
import sys
from contextlib import suppress
from tempfile import TemporaryFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_COMMAND = (
    "import sys; sys.path[:] = {path!r}; from mosaic.utils.subprocess import _serve; _serve({out})"
)

_PARENT_GONE = 70
"""Exit code of a process whose parent has gone."""


_running: set[Subprocess] = set()
"""Those that run, so that one whose maker has forgotten it goes on to its end."""


class Subprocess:
    """A function that runs in a process of its own; made by `subprocess`.

    Parameters
    ----------
    function : callable
        Any function that can be pickled, lambdas and closures too.
    args, kwargs
        Its arguments.
    name : str
        For messages.
    """

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], name: str
    ) -> None:
        from mosaic.comms.serialisation import dumps

        self.name = name
        self._outcome: tuple[Any, ...] | None = None
        self._body = b""
        payload = dumps((function, args, kwargs))
        # A file, not a pipe: the process can end before anybody reads what it left.
        self._out = TemporaryFile()  # noqa: SIM115 - closed in `_ended`
        out = self._out.fileno()
        command = _COMMAND.format(path=sys.path, out=out)
        try:
            self._process = _subprocess.Popen(
                [sys.executable, "-c", command], stdin=_subprocess.PIPE, pass_fds=(out,)
            )
        except BaseException:
            self._out.close()
            raise
        _running.add(self)
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self._process.stdin.write(len(payload).to_bytes(8, "little") + payload)
            # Stays open: its end tells the process that this one has gone.
            self._process.stdin.flush()
        except BrokenPipeError:
            # It has ended already; `result` tells how.
            pass

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        if self._process.poll() is None:
            return True
        self._ended()
        return False

    def result(self) -> Any:
        """Wait for its end, and return what the function returned, or raise what it raised.

        Raises
        ------
        RuntimeError
            The process ended without: the message says how.
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
        """
        try:
            code = self._process.wait(timeout)
        except _subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} still runs after {timeout} s") from None
        self._ended()
        return code

    def terminate(self) -> None:
        """End it, and wait for that."""
        self._process.terminate()
        self.join()

    def kill(self) -> None:
        """End it whatever it does, and wait for that."""
        self._process.kill()
        self.join()

    def _ended(self) -> None:
        """Let go of what is open for a process that has ended."""
        if self in _running:
            _running.discard(self)
            self._out.seek(0)
            self._body = self._out.read()
            self._out.close()
            if self._process.stdin is not None:
                with suppress(BrokenPipeError):
                    self._process.stdin.close()

    def _read(self) -> tuple[Any, ...]:
        from mosaic.comms.serialisation import deserialise
        from mosaic.core.failure import decode_failure

        body, self._body = self._body, b""
        if not body:
            code = self._process.returncode
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            return RuntimeError(f"{self.name}, process {self.pid}, {how}, without a result"), None
        failed, value = deserialise(body)
        if failed:
            return decode_failure("raised", value[0], [], value[1]), None
        return None, value

    def __repr__(self) -> str:
        state = "running" if self.is_alive() else f"ended with {self._process.returncode}"
        return f"<{type(self).__name__} {self.name!r}, process {self.pid}, {state}>"


def subprocess(function: Callable[..., Any], name: str | None = None) -> Callable[..., Subprocess]:
    """Have a function run in a process of its own each time that it is called.

    Parameters
    ----------
    function : callable
        The function.
    name : str, optional
        For messages; by default that of the function.

    Returns
    -------
    callable
        Takes the function's arguments, starts the process and returns its `Subprocess`.

    Raises
    ------
    TypeError
        It is no function.

    Examples
    --------
    >>> import mosaic
    >>> mosaic.subprocess(max)(3, 7).result()
    7
    """
    if not callable(function):
        raise TypeError(
            f"mosaic.subprocess takes a function, not {function!r}: see subprocess.run for programs"
        )
    label = str(name or getattr(function, "__name__", repr(function)))

    def start(*args: Any, **kwargs: Any) -> Subprocess:
        return Subprocess(function, args, kwargs, label)

    start.__name__ = label
    start.__doc__ = function.__doc__
    return start


def _serve(out: int) -> None:
    """Run the function that comes on the standard input, and write its outcome to a descriptor."""
    import threading

    from mosaic.comms.serialisation import deserialise, dumps
    from mosaic.core.failure import encode_exception

    source = os.fdopen(os.dup(0), "rb")
    # The function's own input is empty.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    payload = source.read(int.from_bytes(source.read(8), "little"))
    threading.Thread(target=_end_with, args=(source,), daemon=True).start()
    try:
        function, args, kwargs = deserialise(payload)
        body = dumps((False, function(*args, **kwargs)))
    except Exception as error:
        body = dumps((True, encode_exception(error)))
    with os.fdopen(out, "wb") as file:
        file.write(body)


def _end_with(source: Any) -> None:
    source.read()
    os._exit(_PARENT_GONE)


class _CallableModule(type(sys)):  # type: ignore[misc]
    def __call__(
        self, function: Callable[..., Any], name: str | None = None
    ) -> Callable[..., Subprocess]:
        """Have a function run in a process of its own each time that it is called; see `subprocess`."""
        return subprocess(function, name)

    def __reduce__(self) -> Any:
        from importlib import import_module

        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _CallableModule


def __getattr__(name: str) -> Any:
    return getattr(_subprocess, name)
