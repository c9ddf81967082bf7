"""`Runtime`: a program's view of the network; its methods are thin calls on the engine."""

from __future__ import annotations

from mosaic._facade import lazy_names
from mosaic.errors import MosaicError
from mosaic.runtime.members import Members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from typing import Any

    import numpy.typing as npt

    from mosaic._core import Engine, Task
    from mosaic.runtime.async_for import Loop
    from mosaic.runtime.memory import MemoryReport
    from mosaic.warehouse.reference import WarehouseObject


class StoppedEngine:
    """Takes the place of the engine of a runtime that has been stopped.

    Parameters
    ----------
    uid : str
        The name that the runtime had.
    """

    stopped = True

    def __init__(self, uid: str) -> None:
        self.uid = uid

    def __getattr__(self, name: str) -> Any:
        raise MosaicError(f"the runtime {self.uid} has been stopped")


def _one_of(ref: WarehouseObject | str | None, uid: WarehouseObject | str | None) -> Any:
    """Return the one that is given of a reference and what programs of mosaic 1.2 call the uid."""
    if (ref is None) == (uid is None):
        raise TypeError("give a reference to a stored value or its uid, and not both")
    return ref if uid is None else uid


class Runtime(Members):
    """One process's view of the network.

    Parameters
    ----------
    engine : Engine
        The engine of this process.
    mode : str
        ``local``, ``cluster``, ``interactive`` or ``dynamic``.
    num_threads : int
        Threads that each worker may use.
    """

    def __init__(self, engine: Engine, *, mode: str = "local", num_threads: int = 1) -> None:
        self.engine = engine
        self.mode = mode
        self.num_threads = num_threads
        self._barrier_tasks: list[Callable[[], Awaitable[object]]] = []

    def leave(self) -> None:
        """Release the engine, which has stopped, also where the program still refers to this object."""
        stopped: Any = StoppedEngine(self.engine.uid)
        self.engine = stopped
        loops, self._event_loops = self._event_loops, None
        if loops is not None:
            loops.close()

    def async_for(
        self,
        *iterables: Iterable[Any],
        safe: bool = True,
        timeout: float | None = None,
        max_await: int | None = None,
        ordered: bool = True,
        progress: bool = False,
        retries: int = 0,
        max_deaths: int = 3,
    ) -> Callable[[Callable[..., Awaitable[Any]]], Loop]:
        """Call a coroutine function for every item, each with a worker of its own; a decorator.

        Parameters
        ----------
        *iterables : iterable
            Items; of several, one from each, as `zip` gives them. Without any the results are ``[]``.
        safe : bool
            The item of a worker that died is given to another.
        timeout : float, optional
            Seconds for the whole loop.
        max_await : int, optional
            End with that many results.
        ordered : bool
            Results in the order of the items, else in that of their ends.
        progress : bool
            Show how far the loop is, on standard error.
        retries : int
            How often an item that raised is tried again.
        max_deaths : int
            An item under which that many workers died fails; the others go on.

        Returns
        -------
        decorator
            The decorated name is awaited for the list of results.

        Raises
        ------
        RuntimeDisconnectedError
            On await: no worker is left, or an item was fatal to ``max_deaths`` workers.
        TimeoutError
            On await: the time has passed.

        Examples
        --------
        ::

            @runtime.async_for(shots)
            async def loop(worker, shot):
                return await solver.run(shot, runtime=worker).result()


            results = await loop
        """
        from mosaic.runtime.async_for import Loop, Settings

        settings = Settings(
            safe=safe,
            timeout=timeout,
            max_await=max_await,
            ordered=ordered,
            progress=progress,
            retries=retries,
            max_deaths=max_deaths,
        )

        def decorate(function: Callable[..., Awaitable[Any]]) -> Loop:
            return Loop(self, function, iterables, settings)

        return decorate

    def submit(
        self, function: Callable[..., Any], /, *args: Any, runtime: object = None, **kwargs: Any
    ) -> Task:
        """Run a plain or coroutine function on a worker.

        Parameters
        ----------
        function : callable
            Any that pickles; lambdas and closures too.
        *args, **kwargs
            Its arguments; tasks among them are replaced by their values. ``max_retries`` and ``timeout`` are
            mosaic's unless the function declares them. With ``max_retries`` a function that raised is run again,
            and so is, on another worker, one whose worker died; without, it is run at most once.
        runtime : str or RuntimeProxy, optional
            The worker; default is each in turn.

        Returns
        -------
        TaskProxy
        """
        from mosaic.runtime.functions import submit

        return submit(self.engine, function, args, kwargs, runtime)

    async def map(
        self,
        function: Callable[..., Any],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        ordered: bool = True,
        progress: bool = False,
        retries: int = 0,
        max_deaths: int = 3,
    ) -> list[Any]:
        """Call a function for every item, on the workers.

        Parameters
        ----------
        function : callable
            Plain or coroutine function.
        *iterables : iterable
            Items; of several, one from each, as `zip` gives them.
        chunksize : int, optional
            Items that travel together; default is sized by the measured time of an item.
        ordered : bool
            Results in the order of the items, else in that of their ends.
        progress : bool
            Show how far it is, on standard error.
        retries : int
            How often an item that raised is tried again.
        max_deaths : int
            An item under which that many workers died fails; the others go on.

        Returns
        -------
        list
        """
        from mosaic.runtime.mapping import Mapping, MapSettings

        settings = MapSettings(
            chunksize=chunksize,
            ordered=ordered,
            progress=progress,
            retries=retries,
            max_deaths=max_deaths,
            window=None,
        )
        return await Mapping(self, function, iterables, settings).collect()

    async def imap(
        self,
        function: Callable[..., Any],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        ordered: bool = True,
        progress: bool = False,
        retries: int = 0,
        max_deaths: int = 3,
        window: int | None = None,
    ) -> AsyncIterator[Any]:
        """As `map`, giving results as they come; a slow reader holds the work back.

        Parameters
        ----------
        window : int, optional
            Items that may be under way or waiting to be read.
        """
        from mosaic.runtime.mapping import Mapping, MapSettings

        limit = window if window is not None else max(64, 16 * self.num_workers)
        settings = MapSettings(
            chunksize=chunksize,
            ordered=ordered,
            progress=progress,
            retries=retries,
            max_deaths=max_deaths,
            window=limit,
        )
        mapping = Mapping(self, function, iterables, settings)
        try:
            async for value in mapping.stream():
                yield value
        finally:
            await mapping.close()

    async def barrier(self, timeout: float | None = None) -> None:
        """Wait until every task of the network submitted before has ended, well or not.

        Then what was registered with `register_barrier_task`, on whichever runtime, is awaited there.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Raises
        ------
        TimeoutError
            The time has passed.
        MosaicError
            It is called inside a method, for whose end it would wait.
        """
        import asyncio

        if self.engine.call_is_running() is not None:
            raise MosaicError(
                "runtime.barrier() inside a method would wait for the call of that very method: "
                "await the tasks that are meant, or call barrier() in the driver"
            )
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                await self.engine.fence()
                elsewhere = self.engine.take_barrier_tasks()
                if self._barrier_tasks or elsewhere:
                    from mosaic.runtime.barrier import run_registered

                    await run_registered(self, elsewhere)
                    # They may have called something.
                    await self.engine.fence()
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"tasks are still under way after {timeout} s") from None
            raise

    def register_barrier_task(self, function: Callable[[], Awaitable[object]]) -> None:
        """Have a coroutine function awaited once, in this process, by the next `barrier` of the driver."""
        first = not self._barrier_tasks
        self._barrier_tasks.append(function)
        if first and self.uid != "head":
            self.engine.register_barrier_task()

    def take_registered(self) -> list[Callable[[], Awaitable[object]]]:
        """Return what was registered in this process, and forget it."""
        registered, self._barrier_tasks = self._barrier_tasks, []
        return registered

    # Values.

    def put(self, obj: object, publish: bool = False, reply: bool = True) -> WarehouseObject:
        """Store a value.

        Parameters
        ----------
        obj : object
            The value, as it is now: later changes of it are not seen. The node keeps it, whichever of its workers
            may die.
        publish : bool
            Make it available on every node; on one machine it is, with or without.
        reply : bool
            Accepted and not needed: the reference is always returned.

        Returns
        -------
        WarehouseObject
            Awaited it gives itself, once the value is stored. Of a parameter that is its ``ref``: the parameter is
            pushed to its root, whose state is the value.
        """
        put = getattr(type(obj), "_mosaic_put", None)
        reference: WarehouseObject | None = None if put is None else put(obj, publish)
        if reference is not None:
            return reference
        from mosaic.warehouse.reference import WarehouseObject

        return WarehouseObject(self.engine.put(obj, type(obj).__name__), whole=True)

    async def get(
        self,
        ref: WarehouseObject | str | None = None,
        *,
        uid: WarehouseObject | str | None = None,
        cache: bool = True,
    ) -> Any:
        """Return a stored value.

        Parameters
        ----------
        ref : WarehouseObject or str
            A reference to the value, or its uid.
        uid : WarehouseObject or str
            The same, as programs of mosaic 1.2 name it.
        cache : bool
            Accepted and not needed: values are mapped where they lie, and not copied to this process.

        Raises
        ------
        ObjectLostError
            It was dropped or lost, or never stored.
        """
        return await self.get_local_warehouse().get_remote(_one_of(ref, uid))

    async def memory(self) -> MemoryReport:
        """Return what is in the store of this machine: how much, where, held by whom.

        Returns
        -------
        MemoryReport
            Printed, it is a table.
        """
        from mosaic.runtime.memory import report

        return await report(self.engine)

    def drop(
        self,
        ref: WarehouseObject | str | None = None,
        propagate: bool = True,
        *,
        uid: WarehouseObject | str | None = None,
        cache_only: bool = False,
    ) -> Awaitable[None]:
        """Free a stored value now, wherever it is; need not be awaited. One that is not there is no error.

        Parameters
        ----------
        ref : WarehouseObject or str
            A reference to the value, or its uid.
        propagate : bool
            Accepted and not needed.
        uid : WarehouseObject or str
            The same as ``ref``, as programs of mosaic 1.2 name it.
        cache_only : bool
            Free only what this process has of it, which is nothing: the value stays.
        """
        from mosaic.core.futures import Completion

        found = self.get_local_warehouse().reference(_one_of(ref, uid))
        return Completion() if found is None else found.drop(propagate, cache_only=cache_only)

    async def reduce(
        self,
        refs: Iterable[Any] | Awaitable[Iterable[Any]],
        op: str = "sum",
        out: npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Combine arrays of one shape and type, element by element.

        They are combined in the order of ``refs``, whichever is ready first: the same arrays give the same bits.

        Parameters
        ----------
        refs : iterable of references, or awaitable
            Tasks, outputs of tasks, stored values, arrays; or what a call on an array of tesserae returned.
            Integers, ``float32``, ``float64``, ``complex64`` and ``complex128``; arrays that are contiguous in one
            order are not copied. They must not change before the end.
        op : str
            ``sum``, ``mean``, ``min``, ``max`` or ``prod``. The type of the elements is kept, so that sums and
            products of integers wrap as those of two NumPy arrays do; only the ``mean`` of integers is ``float64``.
            A NaN wins ``min`` and ``max``, as in `numpy.minimum` and `numpy.maximum`; complex numbers have neither.
        out : ndarray, optional
            Where to write the result, which it may take from ``refs``. When the wait is given up, it may be written
            to until the arrays at hand are combined.

        Returns
        -------
        ndarray
            ``out``, or a new array.

        Raises
        ------
        ValueError, TypeError
            There is no reference, or one is not an array like the first; ``out`` does not fit.
        Exception
            What a task among them failed with.

        Examples
        --------
        ``gradient = await runtime.reduce([solver.gradient(shot) for shot in shots])``
        """
        from mosaic.runtime.reduction import reduce

        return await reduce(refs, op, out)

    async def exec(
        self, uid: str, func: Callable[..., Any], func_args: Any = None, func_kwargs: Any = None
    ) -> WarehouseObject:
        """Run a function on a live value at the warehouse, and keep what it returns there.

        Calls on one uid run one at a time, in the order of their arrival.

        Parameters
        ----------
        uid : str
            The name of the value.
        func : callable
            Plain or coroutine function; called with the value, None the first time, and the arguments. What it returns
            need not pickle, and stays until it is dropped.
        func_args : tuple or list, optional
            Further arguments; tasks and references among them are replaced by their values.
        func_kwargs : dict, optional
            Keyword arguments, likewise.

        Returns
        -------
        WarehouseObject
            As an argument of a call it is replaced by the value of that moment: by a copy of it, at the warehouse
            by the live value.

        Raises
        ------
        RuntimeDisconnectedError
            The warehouse died; the values that it held are lost. The next call starts another.

        Examples
        --------
        >>> import mosaic
        >>> async def main(runtime):
        ...     for number in (1, 2, 3):
        ...         total = await runtime.exec("total", lambda old, n: (old or 0) + n, (number,))
        ...     return await total.value()
        >>> mosaic.run(main, num_workers=1)
        6
        """
        from mosaic.warehouse.proxy import execute

        return await execute(self.engine, uid, func, func_args, func_kwargs)

    def _repr_html_(self) -> str:
        from mosaic.notebook.summary import of_runtime

        return of_runtime(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}, uid={self.uid}, mode={self.mode}>"


# A name that programs of mosaic 1.2 import from here.
__getattr__ = lazy_names(__name__, {"RuntimeProxy": "mosaic.core.runtime_proxy"})
