"""The root's side of parameters: serves the calls of parameters that are tied to it.

Every hosted object of a tessera class can be a root: its class has `_mosaic_root`, which gives a `Service` of it, and
`_mosaic_copy`, the copy for receivers of parameters with ``cached``. That copy is a stored value, made by push and
publish, so that its readers wait for no call on the root.
"""

from __future__ import annotations

from _weakref import ref as _weak

from mosaic import _core
from mosaic.core import network
from mosaic.core.host import Tessera, host, register
from mosaic.core.hosted import hosted, object_of
from mosaic.core.losses import losses_as
from mosaic.errors import (
    MosaicError,
    ObjectLostError,
    RuntimeDisconnectedError,
    TesseraStoppedError,
)
from mosaic.parameter import derive
from mosaic.parameter.link import plain_class
from mosaic.parameter.pickling import Snapshot
from mosaic.parameter.state import apply_state, state_of
from mosaic.warehouse.accounting import account, measure
from mosaic.warehouse.reference import WarehouseObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic._core import Task, TesseraRef
    from mosaic._core import _RawId as RawId
    from mosaic.core.proxy import TesseraProxy
    from mosaic.parameter.mixin import ParameterMixin


class Service:
    """Does for a parameter what it asks of its root.

    Parameters
    ----------
    obj : object
        The live object.
    """

    __slots__ = ("_obj",)

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def __call__(self, operation: str, *args: Any) -> Any:
        """Do it: ``set``, ``get``, ``push``, ``pull``, ``publish``, ``whole`` or ``size``."""
        return getattr(self, f"_{operation}")(*args)

    def _set(self, name: str, value: object) -> None:
        setattr(self._obj, name, value)
        _measure(self._obj)

    def _get(self, name: str) -> Any:
        return getattr(self._obj, name)

    def _push(self, whole: bool, values: Any, publish: bool) -> None:
        if whole:
            apply_state(self._obj, values)
        else:
            for name, value in values.items():
                setattr(self._obj, name, value)
        _measure(self._obj)
        if publish or _hosted(self._obj).copy is not None:
            self._publish()

    def _pull(self, names: list[str] | None) -> Any:
        if names is None:
            return state_of(self._obj)
        return {name: getattr(self._obj, name) for name in names}

    def _whole(self, proxy: TesseraProxy, cached: bool) -> Snapshot:
        return Snapshot(self._obj, proxy, cached)

    def _size(self) -> int:
        return measure(self._obj)

    def _publish(self) -> None:
        view = _hosted(self._obj)
        task = network.engine().put(Snapshot(self._obj), type(self._obj).__name__)
        view.copy = WarehouseObject(task, whole=True)


def service(obj: object) -> Service:
    """Return what serves the parameters that are tied to an object."""
    return Service(obj)


def copy_of(obj: object) -> Any:
    """Return the reference to the copy that receivers without state use; None if there is none yet."""
    return _hosted(obj).copy


def _hosted(obj: object) -> Tessera:
    view = hosted(obj)
    if view is None:
        raise MosaicError(f"this {type(obj).__name__} is hosted by no tessera")
    return view


class RootBuilder:
    """Builds the root of a parameter: an argument of its construction, which `mosaic.core.host.build` calls.

    Parameters
    ----------
    cached : bool
        The parameter is sent without its state, and receivers use their node's copy.
    """

    __slots__ = ("_cached",)

    def __init__(self, cached: bool) -> None:
        self._cached = cached

    def make(self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the object: an instance of the class of parameters."""
        return derive.parameter_class(cls)(*args, **kwargs)

    def made(self, obj: Any, raw: RawId) -> None:
        """Note the object, which is registered as hosted."""
        root_made(obj, raw, self._cached)

    def __reduce__(self) -> tuple[Any, ...]:
        return RootBuilder, (self._cached,)


def root_made(obj: Any, raw: RawId, cached: bool) -> None:
    """Note a new root in this process."""
    derive.changed = _measure
    view = _hosted(obj)
    view.cached = cached
    view.root = True
    view.on_freed = account.forget
    account.keep(raw, obj)
    if cached:
        service(obj)("publish")


def _measure(obj: Any) -> None:
    view = hosted(obj)
    if view is not None and view.root:
        account.keep(view._raw, obj)


# Copies for parameters that come without their state.


def node_copy(plain: type, proxy: TesseraProxy) -> Any:
    """Return a new local object, made from this node's copy of a root.

    Blocks until the copy is here: an object that is being unpickled cannot wait in any other way. It waits for no call
    on the root, and for nothing that this thread would have to do.
    """

    def lost(error: BaseException) -> ObjectLostError:
        return ObjectLostError(
            f"the root of the parameter {proxy.uid}, a {plain.__name__}, is lost: {error}"
        )

    with losses_as(lost, RuntimeDisconnectedError, TesseraStoppedError):
        return _fetch(_reference(proxy).task)


def _reference(proxy: TesseraProxy) -> Any:
    here = object_of(proxy._ref.id)
    if here is not None:
        if copy_of(here) is None:
            service(here)("publish")
        return copy_of(here)
    ask = proxy._ref.method("_mosaic_copy", kind=_core.CallKind.GET_NOW)
    reference = _fetch(ask())
    if reference is None:
        # A tessera that was made a parameter later: its first copy comes after the calls made before.
        _fetch(proxy._ref.method("_mosaic_root")("publish"))
        reference = _fetch(ask())
    return reference


def _fetch(task: Task) -> Any:
    if not network.on_event_loop():
        return task.wait()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "mosaic-copy") as executor:
        return executor.submit(task.wait).result()


# Roots in the process that made them.


class LocalRootProxy:
    """What the engine holds of a root that its maker holds, too.

    The maker owns the object as long as it refers to it. When the maker frees it, `release_root` makes the engine the
    owner, and the object is freed with the last reference from another process.
    """

    def __init__(self, obj: Any) -> None:
        space = self.__dict__
        space["_weak"] = _weak(obj)
        space["_strong"] = None

    def _mosaic_target(self) -> Any:
        space = self.__dict__
        return space["_strong"] if space["_strong"] is not None else space["_weak"]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mosaic_target(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._mosaic_target(), name, value)

    def __del__(self) -> None:
        obj = self.__dict__.get("_strong")
        if obj is not None:
            _finalize(obj)


_derived_local: dict[type, type] = {}


def local_parameter_class(cls: type) -> type:
    """Return the class of parameters that are roots in the process that made them."""
    derived = _derived_local.get(cls)
    if derived is None:
        base = derive.parameter_class(cls)
        space = {
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
            "__slots__": (),
            "__del__": release_root,
        }
        derived = _derived_local[cls] = type(cls)(cls.__name__, (base,), space)
    return derived


def make_local_one(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> Any:
    """Make one parameter that is the root itself."""
    engine = network.engine()
    obj = local_parameter_class(cls)(*args, **kwargs)
    root_proxy = LocalRootProxy(obj)
    ref, _ = host(engine, cls, root_proxy, options)
    register(ref.id, obj, options["uid"])
    root_made(obj, ref.id, bool(options["cached"]))
    _local[id(obj)] = ref, root_proxy
    return obj


_local: dict[int, tuple[TesseraRef, LocalRootProxy]] = {}
"""What keeps the tesserae of roots whose makers have not let go of them, by the identity of the object."""


def release_root(obj: ParameterMixin) -> None:
    """Make the engine the owner of a root that its maker frees (``__del__`` of such parameters)."""
    kept = _local.pop(id(obj), None)
    engine = _core.engine()
    if kept is None or engine is None or engine.stopped:
        _finalize(obj)
        return
    ref, root_proxy = kept
    root_proxy.__dict__["_strong"] = obj
    if hosted(obj) is None:
        # The collector of cycles has cut the weak references already.
        register(ref.id, obj, None)


def _finalize(obj: Any) -> None:
    finalizer = getattr(plain_class(type(obj)), "__del__", None)
    if finalizer is not None:
        finalizer(obj)
