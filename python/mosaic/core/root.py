"""The root's side of parameters: what its host does for those that are tied to it.

Every hosted object of a tessera class can be a root: its class has `_mosaic_root`, which gives a `Service` of it, and
`_mosaic_copy`, the copy for receivers of parameters with ``cached``. That copy is a stored value, made by push and
publish, so that whoever reads it waits for no call on the root.
"""

from __future__ import annotations

from _weakref import ref as _weak

from mosaic import _core
from mosaic.core import network, parameter_class
from mosaic.core.losses import told
from mosaic.core.parameter_pickle import Snapshot
from mosaic.core.state import apply_state, state_of
from mosaic.core.tessera import Tessera, host, hosted, object_of, register
from mosaic.core.tie import plain_class
from mosaic.errors import (
    MosaicError,
    ObjectLostError,
    RuntimeDisconnectedError,
    TesseraStoppedError,
)
from mosaic.runtime.tally import measure, tally
from mosaic.types import WarehouseObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic._core import Task, TesseraRef
    from mosaic._core import _RawId as RawId
    from mosaic.core.parameter import ParameterMixin
    from mosaic.core.proxy import TesseraProxy


class Service:
    """Does for a parameter what it asks of its root.

    Parameters
    ----------
    obj : object
        The living object.
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


def root_made(obj: Any, raw: RawId, cached: bool) -> None:
    """Take note of a new root in this process."""
    parameter_class.changed = _measure
    view = _hosted(obj)
    view.cached = cached
    view.root = True
    tally.keep(raw, obj)
    if cached:
        service(obj)("publish")


def _measure(obj: Any) -> None:
    view = hosted(obj)
    if view is not None and view.root:
        tally.keep(view._raw, obj)


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

    with told(lost, RuntimeDisconnectedError, TesseraStoppedError):
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


class Standin:
    """What the engine holds of a root that its maker holds, too.

    As long as the maker does, it is the maker that keeps the object; when the maker lets go, `hand_over` makes the
    engine its owner, and the object goes with the last reference from elsewhere.
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


def make_local_one(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> Any:
    """Make one parameter that is the root itself."""
    engine = network.engine()
    obj = parameter_class.local_parameter_class(cls)(*args, **kwargs)
    standin = Standin(obj)
    ref, _ = host(engine, cls, standin, options)
    register(ref.id, obj, options["uid"])
    root_made(obj, ref.id, bool(options["cached"]))
    _local[id(obj)] = ref, standin
    return obj


_local: dict[int, tuple[TesseraRef, Standin]] = {}
"""What keeps the tesserae of roots whose makers have not let go of them, by the identity of the object."""


def hand_over(obj: ParameterMixin) -> None:
    """Give a root that its maker lets go of to the engine (``__del__`` of such parameters)."""
    kept = _local.pop(id(obj), None)
    engine = _core.engine()
    if kept is None or engine is None or engine.stopped:
        _finalize(obj)
        return
    ref, standin = kept
    standin.__dict__["_strong"] = obj
    if hosted(obj) is None:
        # The collector of cycles has cut the weak references already.
        register(ref.id, obj, None)


def _finalize(obj: Any) -> None:
    finalizer = getattr(plain_class(type(obj)), "__del__", None)
    if finalizer is not None:
        finalizer(obj)
