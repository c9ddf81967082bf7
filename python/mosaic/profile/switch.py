"""`profiler`: switches the recording of a running network, and the tracing of functions, on and off."""

from __future__ import annotations

from mosaic import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from mosaic._core import Engine


class Profiler:
    """The recorder of the network that this process takes part in.

    ``mosaic.run(main, profile=True)`` records from the start to the end; with this, a program records a part of its
    run, or has the functions recorded that its methods call. What is switched is switched in every process of the
    network: calls that begin a moment later are the first that it concerns elsewhere.

    Examples
    --------
    >>> import mosaic
    >>> async def main(runtime):
    ...     profiler = mosaic.profiler
    ...     return profiler.recording, profiler.tracing
    >>> mosaic.run(main, num_workers=1)
    (False, False)
    """

    def __init__(self) -> None:
        self._last: tuple[Engine, str] | None = None
        # The traces by name that this process has started and not stopped, and in which network.
        self._traces: set[str] = set()
        self._traced: Engine | None = None

    @property
    def recording(self) -> bool:
        """Whether a profile is being recorded."""
        engine = _core.engine()
        return engine is not None and engine.profile is not None

    @property
    def tracing(self) -> bool:
        """Whether functions that methods call are being recorded."""
        engine = _core.engine()
        return engine is not None and engine.traced

    @property
    def path(self) -> str | None:
        """The file that is being recorded; None if none is."""
        engine = _core.engine()
        path = None if engine is None else engine.profile
        return None if path is None else str(path)

    def start(self, path: str | os.PathLike[str] | None = None) -> str:
        """Record from now on, unless that is done already; without a runtime, from the start of the next one on.

        Parameters
        ----------
        path : path, optional
            The file. Default is that of before `stop`, to which is added, or a new one in ``mosaic-workspace/``.

        Returns
        -------
        str
            The file that is being recorded; empty as long as there is no runtime.

        Raises
        ------
        OSError
            The file cannot be made.
        """
        import os

        from mosaic.launcher import recording

        engine = _core.engine()
        if engine is None:
            recording.asked = True if path is None else os.fspath(path)
            return ""
        current = self.path
        if current is not None:
            return current
        if path is None and self._last is not None and self._last[0] == engine:
            file = self._last[1]
        else:
            file = recording.new_file(None if path is None else os.fspath(path))
        engine.record_profile(file)
        recording.tell_start(file)
        self._last = (engine, file)
        return file

    def stop(self) -> None:
        """Record nothing more, and say where the profile is. Without a recording nothing happens.

        The workers have written the last of it a moment later.
        """
        from mosaic.launcher import recording

        engine, path = _core.engine(), self.path
        recording.asked = None
        self._traces.clear()
        self._traced = None
        if engine is not None and path is not None:
            self._last = (engine, path)
            engine.record_profile(None)
            recording.tell_end(path)

    def start_trace(self, name: str | None = None) -> None:
        """Record the functions too that methods call, in all workers.

        It makes functions slower, short ones several times; what is short is only counted. Without a recording nothing
        happens, so that a program may say this whether it is run with a profile or not.

        Parameters
        ----------
        name : str, optional
            A name for `stop_trace`.
        """
        engine, path = _core.engine(), self.path
        if engine is None or path is None:
            from mosaic.log import logger

            logger().debug("no profile is recorded: start_trace() does nothing")
            return
        self._forget_others(engine)
        if name is not None:
            self._traces.add(name)
            self._traced = engine
        engine.record_profile(path, True)

    def stop_trace(self, name: str | None = None) -> None:
        """Record no functions any more; calls are recorded as before. Without a trace nothing happens.

        Parameters
        ----------
        name : str, optional
            Which trace has ended: functions are recorded as long as this process has others by name.
        """
        engine = _core.engine()
        self._forget_others(engine)
        if name is None:
            self._traces.clear()
        else:
            self._traces.discard(name)
        if self._traces:
            return
        self._traced = None
        if engine is not None and engine.traced:
            engine.record_profile(self.path, False)

    def _forget_others(self, engine: Engine | None) -> None:
        """Forget the names of another network's traces."""
        if self._traces and self._traced != engine:
            self._traces.clear()
            self._traced = None

    def __repr__(self) -> str:
        state = "off" if not self.recording else "tracing" if self.tracing else "recording"
        return f"<Profiler object at {id(self):#x}, {state}, path={self.path}>"


profiler = Profiler()
"""The profiler of this process."""

global_profiler = profiler
"""The same, by the name that programs of mosaic 1.2 know."""
