"""The hosting side of a tessera: makes the object, and is what a program sees of it in its worker.

The Rust core queues and counts, and calls `build` to make the object; `mosaic.core.hosted` has the table of them.
"""

from __future__ import annotations

from _weakref import ref as _weak

from mosaic import _core
from mosaic.core import hosted, network
from mosaic.core.names import ProcessNames
from mosaic.core.services import services
from mosaic.errors import MosaicError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mosaic._core import Engine, Task, TesseraRef
    from mosaic._core import _RawId as RawId
    from mosaic.core.futures import Readiness
    from mosaic.core.proxy import TesseraProxy
    from mosaic.core.task import TaskProxy
    from mosaic.parameter.root import RootBuilder

PREPARED = "_mosaic_prepared"
"""Keyword of a construction whose object has been made already (`Klass.local`): its key in `prepared`."""

UID = "_mosaic_uid"
"""Keyword of a construction that carries the uid that the caller chose."""

ROOT = "_mosaic_root"
"""Keyword of a construction that builds the root of a parameter: a `RootBuilder`."""

prepared: dict[int, object] = {}


class Tessera(ProcessNames):
    """A tessera as its host sees it.

    Inside a method of a hosted object, ``self._tessera`` is this.

    Parameters
    ----------
    raw : tuple of int
        Its id: the owner's number and the sequence number.
    obj : object
        The live object; held weakly where its class allows it.
    uid : str, optional
        The uid that its maker chose.
    """

    def __init__(self, raw: RawId, obj: object, uid: str | None = None) -> None:
        self._raw = raw
        self._chosen = uid
        self._cls = type(obj)
        self._strong: object = None
        try:
            self._weak: Any = _weak(obj)
        except TypeError:
            self._weak = None
        self._ref: Any = None
        self._construction: _core.Task | None = None
        self._queued: list[_core.Task] = []
        self.root = False
        self.cached = False
        self.copy: Any = None
        self.on_freed: Callable[[RawId], object] | None = None

    @property
    def uid(self) -> str:
        """The name of the tessera on the network."""
        return (
            self._chosen
            if self._chosen is not None
            else network.tessera_uid(self._cls.__name__, self._raw)
        )

    @property
    def obj(self) -> Any:
        """The live object; None when it has been freed."""
        return self._weak() if self._weak is not None else None

    @property
    def state(self) -> str:
        """``listening``, or ``stopped`` when the object has been freed."""
        return "listening" if self._weak is None or self._weak() is not None else "stopped"

    @property
    def type(self) -> str:
        """What this is: ``tessera``."""
        return "tessera"

    @property
    def is_parameter(self) -> bool:
        """Whether the object was made as the root of a parameter."""
        return self.root

    @property
    def init_future(self) -> Readiness:
        """Awaited, it waits until the tessera listens."""
        from mosaic.core.futures import Readiness

        return Readiness(self._construction)

    @property
    def collectable(self) -> bool:
        """Whether the object is freed when the last reference to it goes."""
        return True

    @property
    def runtime_id(self) -> str:
        """The uid of this runtime."""
        engine = _core.engine()
        # Only the head's process goes on after the stop.
        return "head" if engine is None else engine.uid

    @property
    def remote_runtime(self) -> set[str]:
        """The uids of the runtimes that hold proxies of the tessera."""
        return {network.uid_of(number) for number in network.engine().holders(self._raw)}

    @classmethod
    def remote_cls(cls) -> Any:
        """Return the class of the calling side, `TesseraProxy`."""
        return services().proxy_class()

    @property
    def proxy(self) -> TesseraProxy:
        """A new proxy of this tessera, to call it or to give it to others."""
        engine = network.engine()
        cls = self._plain
        ref = self._ref or engine.borrow_tessera(self._raw, engine.runtime, cls.__name__)
        options: dict[str, Any] = {"uid": self._chosen} if self._chosen else {}
        if self.root:
            options |= {"is_parameter": True, "in_warehouse": engine.uid.startswith("warehouse")}
        return services().proxy_class()(cls, ref, options)

    @property
    def _plain(self) -> Any:
        """The user's class: that of a root is derived from it."""
        return getattr(self._cls, "_mosaic_plain", self._cls)

    def keep(self, obj: object, ref: Any, construction: _core.Task) -> None:
        """Keep the object and the tessera alive as long as this view (`Klass.local`)."""
        self._strong = obj
        self._ref = ref
        self._construction = construction

    def make_parameter(self, *args: Any, cached: bool = False, **kwargs: Any) -> Any:
        """Make a parameter whose root is this tessera; see `TesseraProxy.make_parameter`."""
        return services().parameter_of(self.proxy, args, kwargs, cached, self._object())

    def get_attr(self, name: str) -> Any:
        """Return an attribute of the object, now."""
        return getattr(self._object(), name)

    def set_attr(self, name: str, value: object) -> None:
        """Set an attribute of the object, now."""
        setattr(self._object(), name, value)

    def _object(self) -> Any:
        obj = self.obj
        if obj is None:
            from mosaic.errors import TesseraStoppedError

            raise TesseraStoppedError(f"{self.uid} has been freed")
        return obj

    # The core queues and runs calls by itself: what follows looks at that work, or waits for it.

    def state_changed(self, state: str) -> None:
        """Do nothing: the core sets the state (for programs of mosaic 1.2)."""

    def queue_task(self, task: TaskProxy) -> None:
        """Have a call of this tessera waited for by `run_async`. The core has queued it when it was made.

        Parameters
        ----------
        task : TaskProxy
            What a call on a proxy of this tessera returned.

        Raises
        ------
        TypeError
            It is no task.
        ValueError
            It calls another tessera.
        """
        if not isinstance(task, _core.Task):
            raise TypeError(f"queue_task() takes a task, not {task!r}")
        if task.tessera != self._raw:
            raise ValueError(f"{task!r} is not a call of {self.uid}: only its own can be queued")
        self._queued = [*(queued for queued in self._queued if not queued.ended), task]

    def listen(self) -> None:
        """Block until the tessera listens: what is called from now on runs.

        Raises
        ------
        TesseraStoppedError
            The object has been freed.
        """
        self._object()
        if self._construction is not None:
            self._construction.wait()

    async def listen_async(self) -> None:
        """Wait until the tessera listens; see `listen`."""
        self._object()
        if self._construction is not None:
            await self._construction

    async def run_async(self) -> None:
        """Wait until every call given to `queue_task` has ended; its caller gets the outcome."""
        while self._queued:
            task = self._queued[0]
            try:
                await task
            except BaseException:
                # This wait may have been cancelled, rather than the call have failed.
                if not task.ended:
                    raise
            self._queued = [queued for queued in self._queued if queued is not task]

    async def call_safe(self, sender_id: str, method: Any, task: Any) -> Any:
        """Call a method of the object, or a function, and log and raise what it raises.

        Parameters
        ----------
        sender_id : str
            The uid of the caller, for the log.
        method : str or callable
            What to call: a plain method or a coroutine one, without arguments.
        task : TaskProxy, optional
            The task that stands for the call, for the log.

        Returns
        -------
        object
            What it returned.
        """
        function = getattr(self._object(), method) if isinstance(method, str) else method
        try:
            result = function()
            return await result if hasattr(result, "__await__") else result
        except Exception:
            self.send_exception(sender_id, method, task)
            raise

    def send_exception(self, sender_id: str, method: Any, task: Any) -> None:
        """Log the exception that is being handled, with who called what; raised on, it goes to the caller.

        Parameters
        ----------
        sender_id : str
            The uid of the caller.
        method : str or callable
            What was called.
        task : TaskProxy, optional
            The task that stands for the call.

        Raises
        ------
        MosaicError
            No exception is being handled.
        """
        from sys import exception

        error = exception()
        if error is None:
            raise MosaicError("send_exception() is for an `except` block: no exception is handled")
        from mosaic.log import logger

        name = method if isinstance(method, str) else getattr(method, "__name__", repr(method))
        call = "" if task is None else f" ({task.uid})"
        logger().error(
            "%s.%s%s, called by %s, failed", self.uid, name, call, sender_id, exc_info=error
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Elsewhere the hosting side is a proxy.
        return self.proxy.__reduce__()

    def _repr_html_(self) -> str:
        from mosaic.notebook.summary import of_tesserae

        return of_tesserae("Tessera, hosted here", [self])

    def __repr__(self) -> str:
        return f"<Tessera object at {id(self):#x}, uid={self.uid}, runtime={self.runtime_id}, state={self.state}>"


def build(raw: RawId, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """Make the live object of a tessera, for the core."""
    uid = kwargs.pop(UID, None)
    key = kwargs.pop(PREPARED, None)
    root: RootBuilder | None = kwargs.pop(ROOT, None)
    if key is not None:
        obj = prepared.pop(key)
    elif root is None:
        obj = cls(*args, **kwargs)
    else:
        obj = root.make(cls, args, kwargs)
    register(raw, obj, uid)
    if root is not None:
        root.made(obj, raw)
    return obj


def register(raw: RawId, obj: object, uid: str | None) -> None:
    """Remember that an object is hosted, as long as it lives, where its class allows a weak reference."""
    hosted.register(raw, obj, uid, Tessera(raw, obj, uid))


def host(
    engine: Engine, cls: type, obj: object, options: dict[str, Any]
) -> tuple[TesseraRef, Task]:
    """Have an object that was made in this process hosted in it, as a tessera of the class."""
    services().ensure_lane(engine)
    key = id(obj)
    prepared[key] = obj
    extra: dict[str, Any] = {PREPARED: key}
    if options["uid"] is not None:
        extra[UID] = options["uid"]
    try:
        return engine.construct(
            cls,
            cls.__name__,
            (),
            extra,
            place=engine.runtime,
            concurrent=bool(options["is_async"]),
        )
    except BaseException:
        prepared.pop(key, None)
        raise


def local(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> Tessera:
    """Host an object in this very process.

    Raises
    ------
    MosaicError
        An array was asked for.
    """
    if options["len"] is not None:
        raise MosaicError("Klass.local() makes one tessera: it takes no len")
    engine = network.engine()
    obj = cls(*args, **kwargs)
    ref, construction = host(engine, cls, obj, options)
    register(ref.id, obj, options["uid"])
    view = Tessera(ref.id, obj, options["uid"])
    view.keep(obj, ref, construction)
    return view
