"""`TesseraProxy`: the handle by which a program calls a tessera.

The first look-up of a method asks the user's class what it is and keeps a `mosaic._core.RemoteMethod` in the
instance's dictionary, so that later look-ups are a plain dictionary hit and a call goes straight to the core.

Names that the class does not show are refused; see `mosaic.core.methods`. Mosaic's own names, listed in `OWN_NAMES`,
win over the class's, and ``proxy["name"]`` reaches those; only `mosaic.core.methods.YIELDING` give way.
"""

from __future__ import annotations

from mosaic import _core
from mosaic.core import methods, network
from mosaic.core.attribute import RemoteAttribute
from mosaic.core.futures import Completion, Readiness
from mosaic.core.names import ProxyNames
from mosaic.core.services import services
from mosaic.errors import MosaicError
from mosaic.serialise.pickle_class import PickleClass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, Self

    from mosaic._core import TesseraRef
    from mosaic._core import _RawId as RawId


class TesseraProxy(ProxyNames):
    """A reference to a tessera: calls of its methods are sent to the worker where it lives.

    Made by ``Klass.remote(...)``; pickled and sent elsewhere it is a working proxy there. The tessera lives as long
    as any process, message in flight or stored object refers to it. It has the names that the class shows; `get_attr`
    reads any other. Programs of mosaic 1.2 make one by hand for a tessera that
    is there, ``TesseraProxy(cls, runtime=runtime_uid, uid=uid)``; see `mosaic.compat.explicit`.
    """

    _ref: TesseraRef
    _user_class: type
    _options: dict[str, Any]
    _uid: str | None
    _built: _core.Task | None
    _place: int | None
    _stopping: _core.Task | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make a proxy that forwards the operators of the user's class, where the class is given."""
        user = user_class(args[0] if args else kwargs.get("cls"))
        if isinstance(user, type):
            return object.__new__(methods.forwarding_class(cls, user))
        return object.__new__(cls)

    def __init__(
        self,
        cls: type | PickleClass,
        ref: TesseraRef | None = None,
        options: dict[str, Any] | None = None,
        built: _core.Task | None = None,
        place: int | None = None,
        *,
        runtime: object = None,
        uid: str | None = None,
    ) -> None:
        plain: type = user_class(cls)
        if ref is None:
            if uid is None:
                raise MosaicError(
                    f"a proxy is made by {plain.__name__}.remote(...), "
                    "or by TesseraProxy(cls, runtime=..., uid=...) for a tessera that is there"
                )
            ref = services().reference_to(plain, runtime, uid)
            options = {"uid": uid}
        space = self.__dict__
        space["_ref"] = ref
        space["_user_class"] = plain
        space["_options"] = options or {}
        space["_built"] = built
        space["_place"] = place
        if self._options.get("uid") and isinstance(ref, _core.TesseraRef):
            network.choose_uid(ref.id, self._options["uid"])
        space["_stopping"] = None

    # Looking up methods and attributes of the remote object.

    def __getattr__(self, name: str) -> Any:
        cls = self.__dict__.get("_user_class")
        if cls is None:
            # Half made: a copier or unpickler looks at it.
            raise AttributeError(name)
        found = methods.find(cls, name)
        if isinstance(found, methods.Method):
            method = self.__dict__[name] = self._remote_method(name, found)
            return method
        return RemoteAttribute(self, name)

    def __getitem__(self, name: str) -> Any:
        """Look up a method or attribute of the remote object, also one that mosaic's own names hide."""
        if not isinstance(name, str):
            raise TypeError(f'proxy["name"] takes the name of a method or attribute, not {name!r}')
        found = methods.describe(self._user_class, name)
        return (
            self._send(name) if isinstance(found, methods.Method) else RemoteAttribute(self, name)
        )

    __iter__ = None
    __contains__ = None

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__ or name.startswith("_") or name in OWN_NAMES:
            object.__setattr__(self, name, value)
        else:
            raise AttributeError(
                f"a proxy has no attributes of its own: use proxy.set_attr({name!r}, value)"
            )

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *methods.listed(self._user_class)})

    def _send(self, name: str) -> Any:
        """Return what calls a method, whatever its name."""
        key = f"[{name}]"
        method = self.__dict__.get(key)
        if method is None:
            found = methods.describe(self._user_class, name)
            method = self._remote_method(name, found if isinstance(found, methods.Method) else None)
            self.__dict__[key] = method
        return method

    def _remote_method(self, name: str, found: methods.Method | None) -> Any:
        options = self._options
        retries = options.get("max_retries", 0)
        method: Any = self._ref.method(
            name,
            coroutine=found is not None and found.coroutine,
            reserved=methods.RESERVED if found is None else found.reserved,
            retries=retries,
            resends=retries if options.get("max_restarts") else 0,
        )
        if options.get("in_warehouse"):
            method = services().at_warehouse(method)
        return method if found is None else found.described(method)

    def get_attr(self, name: str, *, immediate: bool = False) -> RemoteAttribute:
        """Read an attribute of the remote object; the read is sent now.

        Parameters
        ----------
        name : str
            The attribute.
        immediate : bool
            Read past a running call, instead of after the calls made before.

        Returns
        -------
        RemoteAttribute
            Awaited it gives the value, or raises `AttributeError`.
        """
        return RemoteAttribute(self, name, immediate).send()

    def set_attr(self, name: str, value: object) -> _core.Task:
        """Set an attribute of the remote object, ordered after the calls made before; need not be awaited."""
        methods.give(self._user_class, (name,))
        return self._ref.method(name, kind=_core.CallKind.SET)(value)

    # The tessera itself.

    @property
    def _cls(self) -> PickleClass:
        """The user's class, wrapped (for programs of mosaic 1.2)."""
        return PickleClass(self._user_class)

    @property
    def _tessera(self) -> Self:
        """The proxy itself: it stands for the tessera (for programs of mosaic 1.2)."""
        return self

    @property
    def max_retries(self) -> int:
        """How often a call that raised is run again."""
        retries: int = self._options.get("max_retries", 0)
        return retries

    @property
    def is_async(self) -> bool:
        """Whether calls run as soon as their arguments are ready, as far as this proxy knows."""
        return bool(self._options.get("is_async"))

    @property
    def args(self) -> tuple[Any, ...]:
        """Empty: the arguments of the construction are sent and not kept (for programs of mosaic 1.2)."""
        return ()

    @property
    def kwargs(self) -> dict[str, Any]:
        """Empty, as `args` (for programs of mosaic 1.2)."""
        return {}

    @property
    def uid(self) -> str:
        """The name of the tessera on the network."""
        uid: str | None = self._options.get("uid")
        return uid if uid is not None else network.tessera_uid(self._ref.name, self._ref.id)

    @property
    def _host(self) -> int | None:
        """The number of the runtime that hosts the tessera, or hosted it; None while that is not decided."""
        host = self._ref.host
        if host is None and self._built is not None:
            # Nowhere any more, or not yet: where it was built tells, or where it was asked for.
            host = self._built.host
            if host is None and not self._built.ended:
                host = self._place
        return host

    @property
    def runtime_id(self) -> str | None:
        """The uid of the runtime that hosts the tessera, or hosted it; None while that is not decided."""
        host = self._host
        return None if host is None else network.uid_of(host)

    @property
    def _is_lost(self) -> bool:
        """Whether the tessera is gone because its runtime died, or was never built for want of one."""
        host = self._host
        if host is not None:
            return host not in network.living()
        return self._built is not None and self._built.state == "failed"

    @property
    def remote_runtime(self) -> Any:
        """A proxy of the runtime that hosts the tessera; None while that is not decided."""
        from mosaic.core.runtime_proxy import RuntimeProxy

        uid = self.runtime_id
        return None if uid is None else RuntimeProxy(uid)

    @property
    def state(self) -> str:
        """``pending``, ``listening``, ``stopped``, or ``failed``: its ``__init__`` raised, or its runtime died.

        It is ``stopped`` with the network, too.
        """
        built = self._built
        if built is not None:
            state = built.state
            if state in {"failed", "cancelled"}:
                return "failed"
            if state != "done":
                return "pending"
        stopping = self._stopping
        if self._ref.stopped or (stopping is not None and stopping.ended):
            return "stopped"
        return "failed" if self._is_lost else "listening"

    @property
    def type(self) -> str:
        """What this is: ``tessera_proxy``."""
        return "tessera_proxy"

    @property
    def is_parameter(self) -> bool:
        """Whether the tessera is the root of a parameter, as far as this proxy knows."""
        return bool(self._options.get("is_parameter"))

    @property
    def collectable(self) -> bool:
        """Whether the tessera is freed when the last reference to it goes."""
        return True

    @property
    def init_future(self) -> Readiness:
        """Awaited, it waits until the tessera exists."""
        return Readiness(self._built)

    @classmethod
    def remote_cls(cls) -> Any:
        """Return the class of the hosting side, `Tessera`."""
        from mosaic.core.host import Tessera

        return Tessera

    @classmethod
    def remote_type(cls) -> str:
        """Return what the hosting side is: ``tessera``."""
        return "tessera"

    def state_changed(self, state: str) -> None:
        """Do nothing: the core sets the state (for programs of mosaic 1.2)."""

    async def _init_task(self, task: Any, *args: Any, **kwargs: Any) -> None:
        """Start a task made by hand, and wait until it has reached its worker (for programs of mosaic 1.2).

        Parameters
        ----------
        task : TaskProxy
            ``TaskProxy(proxy, "method", *args)``, or any other task, which has started already.
        *args, **kwargs
            Arguments of the call, where they are others than those that the task was made with.

        Raises
        ------
        TypeError
            It is no task.
        """
        await services().start_task(task, args, kwargs)

    def init(self, *args: Any, **kwargs: Any) -> Self:
        """Return the proxy: the tessera has been on its way since `remote` was called."""
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until the tessera exists; gives the proxy, or raises what ``__init__`` raised."""
        built = self._built
        if built is not None:
            yield from built.__await__()
        return self

    async def select_worker(self, runtime: object = None) -> str:
        """Return the uid of the worker that the placement strategy picks, or of the one given."""
        from mosaic.core.placement import select_worker

        return await select_worker(runtime)

    def make_parameter(self, *args: Any, cached: bool = False, **kwargs: Any) -> Any:
        """Make a parameter whose root is this tessera.

        Parameters
        ----------
        *args, **kwargs
            For the ``__init__`` of the local object. Without any its state comes from the tessera: on an event loop
            await the parameter before its attributes are used.
        cached : bool
            Send the parameter without its state.

        Returns
        -------
        ParameterMixin
            An instance of the class, tied to the tessera.
        """
        return services().parameter_of(self, args, kwargs, cached)

    def stop(self) -> Any:
        """Free the remote object now, after the calls made before; calls made later fail.

        A method ``stop`` of the user's class wins over this one; `stop_tessera` does the same.

        Returns
        -------
        Completion
            Need not be awaited; ``wait`` is for synchronous code.
        """
        return Completion(self._mosaic_stop())

    def _mosaic_stop(self) -> _core.Task:
        """Return the task that frees the remote object, sent once."""
        stopping = self._stopping
        if stopping is None:
            stopping = self.__dict__["_stopping"] = self._ref.method(
                "stop", kind=_core.CallKind.STOP
            )()
        return stopping

    # Being a reference.

    def __reduce__(self) -> tuple[Any, ...]:
        ref: Any = self._ref
        if not isinstance(ref, _core.TesseraRef):
            return TesseraProxy, (self._user_class, ref, self._options)
        host = ref.wait_placed()
        ref.note()
        options = {name: self._options[name] for name in _TRAVELLING if self._options.get(name)}
        given = methods.given(self._user_class)
        if given:
            options["given"] = given
        return _rebuild_proxy, (self._user_class, ref.id, host, ref.name, options)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TesseraProxy):
            return self._ref.id == other._ref.id
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._ref.id)

    def _repr_html_(self) -> str:
        from mosaic.notebook.summary import of_tesserae

        return of_tesserae("Tessera", [self])

    def __repr__(self) -> str:
        return f"<TesseraProxy object at {id(self):#x}, uid={self.uid}, runtime={self.runtime_id}, state={self.state}>"


OWN_NAMES = frozenset(
    name for base in TesseraProxy.__mro__[:-1] for name in base.__dict__ if not name.startswith("_")
)
"""Names on proxies that are mosaic's own; ``proxy["name"]`` reaches the user's."""

_TRAVELLING = ("max_retries", "max_restarts", "uid", "is_async", "is_parameter", "in_warehouse")


def _rebuild_proxy(
    cls: type, raw: RawId, host: int, name: str, options: dict[str, Any]
) -> TesseraProxy:
    ref = network.engine().borrow_tessera(raw, host, name)
    given = options.pop("given", None)
    if given:
        methods.give(cls, given)
    return TesseraProxy(cls, ref, options)


def user_class(cls: Any) -> Any:
    """Return the user's class itself: of a `PickleClass`, or of the class of a root, which is derived from it."""
    if isinstance(cls, PickleClass):
        cls = cls.cls
    return getattr(cls, "_mosaic_plain", cls)
