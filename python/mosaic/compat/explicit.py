"""Proxies and tasks that programs of mosaic 1.2 make themselves: `TesseraProxy(cls, runtime=…, uid=…)`, `TaskProxy(…)`.

New programs need neither: ``self._tessera.proxy`` is the proxy of a hosted object, and ``proxy.method(...)`` a task.
"""

from __future__ import annotations

from mosaic import _core
from mosaic.core import network
from mosaic.core.descriptors import INJECTED
from mosaic.core.names import ProxyNames
from mosaic.core.task import TaskArrayProxy, TaskProxy
from mosaic.errors import TesseraStoppedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Self

    from mosaic._core import TesseraRef

_NONE: frozenset[str] = frozenset()


# Proxies.


def reference(cls: type, runtime: object, uid: str) -> TesseraRef:
    """Return a reference to the tessera that has a uid.

    Parameters
    ----------
    cls : type
        Its class.
    runtime : str or RuntimeProxy, optional
        The runtime that hosts it; may be left out in that very runtime.
    uid : str
        Its uid: the one that its maker chose, or the one that mosaic gave it.

    Returns
    -------
    TesseraRef
        Counted where the uid contains the id of the tessera; else the name is looked up with each call.

    Raises
    ------
    TypeError, ValueError
        The uid is no string; the runtime is not given, and is not known here.
    RuntimeDisconnectedError
        That runtime does not take part.
    """
    from mosaic.core.hosted import named

    if not isinstance(uid, str):
        raise TypeError(f"the uid of a tessera is a string, not {uid!r}")
    engine = network.engine()
    here = named(uid)
    if here is not None:
        return engine.borrow_tessera(here, engine.runtime, cls.__name__)
    if runtime is None:
        raise ValueError(
            f"{uid} does not live in this process: TesseraProxy(cls, runtime=..., uid=...) takes its runtime"
        )
    host = network.number_of(runtime)
    raw = network.tessera_of(uid)
    if raw is not None:
        return engine.borrow_tessera(raw, host, cls.__name__)
    by_name: Any = NamedReference(cls, host, uid)
    return by_name  # type: ignore[no-any-return]


class NamedReference:
    """Stands for the reference of a tessera of which only the uid that its maker chose is known.

    Its host looks the name up. Calls made by the name run there in their order, one at a time.

    Parameters
    ----------
    cls : type
        The user's class.
    host : int
        The number of the runtime that hosts the tessera.
    uid : str
        Its uid.
    """

    def __init__(self, cls: type, host: int, uid: str) -> None:
        self._cls = cls
        # Numbers are those of this network: after its end they would mean others.
        self._engine = network.engine()
        self.host = host
        self._uid = uid
        self.name = cls.__name__

    @property
    def id(self) -> tuple[int, str]:
        """The identity of the tessera: its host and its uid."""
        return self.host, self._uid

    @property
    def stopped(self) -> bool:
        """Whether the network that it names a tessera of has ended."""
        return self._engine.stopped

    def wait_placed(self) -> int:
        """Return the number of the runtime that hosts the tessera."""
        return self.host

    def method(
        self,
        name: str,
        *,
        kind: _core.CallKind = _core.CallKind.METHOD,
        coroutine: bool = False,
        reserved: frozenset[str] | None = None,
        retries: int = 0,
        **_: Any,
    ) -> Callable[..., Any]:
        """Return what calls a method of the tessera, reads or sets an attribute of it, or stops it."""
        line = self._engine.keyed(self.host, f"named:{self._uid}")
        call = line.method(
            name,
            kind=_core.CallKind.FUNCTION,
            coroutine=True,
            reserved=reserved or _NONE,
            retries=retries,
        )

        def by_name(*args: Any, **kwargs: Any) -> _core.Task:
            return call(_call_named, self._uid, kind, name, coroutine, *args, **kwargs)

        return by_name

    def note(self) -> None:
        """Do nothing: a name is no reference that counts."""

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedReference, (self._cls, self.host, self._uid)


async def _call_named(
    uid: str, kind: _core.CallKind, name: str, coroutine: bool, /, *args: Any, **kwargs: Any
) -> Any:
    from mosaic.core.hosted import named

    engine = network.engine()
    raw = named(uid)
    if raw is None:
        raise TesseraStoppedError(
            f"{engine.uid} hosts no tessera {uid}: it was freed, or never was"
        )
    ref = engine.borrow_tessera(raw, engine.runtime, uid)
    method = ref.method(name, kind=kind, coroutine=coroutine, reserved=_NONE)
    return await method(*args, **kwargs).result()


# Tasks.


class HandMadeTask(_core.Output, ProxyNames):
    """What ``TaskProxy(proxy, "method", *args)`` gives: a call that starts when it is first asked for anything.

    `isinstance` takes it for a `TaskProxy`. It starts with ``await proxy._init_task(task, *args)``, with ``await
    task``, as an argument of another call, or when anything is read of it but its ``state``; and it starts once.

    Parameters
    ----------
    proxy : TesseraProxy, Tessera or ParameterMixin
        What is called.
    method : str
        The name of the method.
    *args, **kwargs
        Arguments of the call.
    """

    __slots__ = ("__weakref__", "_args", "_kwargs", "_method", "_proxy", "_task")

    _args: tuple[Any, ...]
    _kwargs: dict[str, Any]
    _method: str
    _proxy: Any
    _task: TaskProxy | None

    runtime, logger, loop = INJECTED["runtime"], INJECTED["logger"], INJECTED["loop"]
    head, monitor, comms = INJECTED["head"], INJECTED["monitor"], INJECTED["comms"]

    def __new__(cls, proxy: Any, method: str, *args: Any, **kwargs: Any) -> Self:
        """Make a task that has not started."""
        called = _called(proxy)
        if not isinstance(method, str):
            raise TypeError(f"a task calls a method by its name, not {method!r}")
        made = super().__new__(cls, None)
        made._proxy, made._method = called, method
        made._args, made._kwargs = args, kwargs
        made._task = None
        return made

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return TaskProxy

    def start(self, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> TaskProxy:
        """Start the call, unless it has; with other arguments than those that it was made with, where some are given.

        Parameters
        ----------
        args : tuple, optional
            Arguments instead of those that the task was made with.
        kwargs : dict, optional
            Keyword arguments, likewise.

        Returns
        -------
        TaskProxy
            The task that runs.
        """
        task = self._task
        if task is None:
            if args or kwargs:
                self._args, self._kwargs = args, kwargs or {}
            task = self._task = self._proxy[self._method](*self._args, **self._kwargs)
        return task

    read = start
    """What the core asks for, where the task is an argument."""

    @property
    def state(self) -> str:
        """The state of the task; ``pending`` before it has started."""
        return "pending" if self._task is None else self._task.state

    @property
    def method(self) -> str:
        """The name of the method."""
        return self._method

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments of the call."""
        return self._args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments of the call."""
        return self._kwargs

    @property
    def tessera_id(self) -> str:
        """The uid of the tessera that is called."""
        uid: str = self._proxy.uid
        return uid

    @property
    def type(self) -> str:
        """What this is: ``task_proxy``."""
        return "task_proxy"

    @property
    def collectable(self) -> bool:
        """Whether the result is freed when the last reference to it goes."""
        return True

    @property
    def _eager(self) -> bool:
        return True

    @property
    def _dependencies(self) -> list[Any]:
        if self._task is not None:
            return self._task._dependencies
        given = (*self._args, *self._kwargs.values())
        return [
            value
            for value in given
            if isinstance(value, (_core.Task, _core.Output, TaskArrayProxy))
        ]

    def __await__(self) -> Generator[Any, None, Self]:
        """Start it, and wait for its end; gives this task."""
        yield from self.start().__await__()
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(TaskProxy, name):
            # Programs and libraries probe for such: that starts nothing.
            raise AttributeError(f"'TaskProxy' object has no attribute {name!r}", name=name)
        return getattr(self.start(), name)

    def __reduce__(self) -> str | tuple[Any, ...]:
        return self.start().__reduce__()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        if self._task is not None:
            return repr(self._task)
        return f"<TaskProxy object at {id(self):#x}, {self._proxy.uid}.{self._method}, not started>"


def _called(proxy: Any) -> Any:
    from mosaic.core.host import Tessera
    from mosaic.core.proxy import TesseraProxy
    from mosaic.parameter.mixin import ParameterMixin

    if isinstance(proxy, TesseraProxy):
        return proxy
    if isinstance(proxy, Tessera):
        return proxy.proxy
    if isinstance(proxy, ParameterMixin):
        return _called(proxy._tessera)
    raise TypeError(
        f"TaskProxy(proxy, method, *args) takes the proxy of a tessera, not {proxy!r}; "
        "proxy.method(*args) makes a task, too"
    )


async def init_task(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Start a task made by hand, and wait until it has reached its worker; see `TesseraProxy._init_task`."""
    if type(task) is HandMadeTask:
        task = task.start(args, kwargs)
    elif not isinstance(task, _core.Task):
        raise TypeError(f"_init_task() takes a task, not {task!r}")
    await task.init_future
