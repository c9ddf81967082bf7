"""Parameters: local objects tied to a root elsewhere.

A parameter of a class is an instance of a class derived from it, made once per class, which adds `ParameterMixin` and
lets methods take ``propagate=True``; ``__class__`` of such an instance is the user's class itself. What ties it
to its root is kept beside it in `_ties`, by identity, so that the object's own state is the user's alone. The root is an
instance of the same derived class, hosted by a tessera. Invariants:

- PARAM-1: the root lives as long as a parameter that is tied to it, anywhere.
- PARAM-2: a push is one call on the root, so that no two are ever mixed.
- PARAM-3: what came from elsewhere is tied to the same root as the one that was sent.
"""

from __future__ import annotations

import copyreg
from _weakref import ref as _weak
from functools import wraps

from mosaic import _core
from mosaic.core import methods, network
from mosaic.core.base import CMDBase
from mosaic.core.living import there
from mosaic.core.tessera import ROOT, UID, hosted
from mosaic.errors import (
    MosaicError,
    ObjectLostError,
    RuntimeDisconnectedError,
    TesseraStoppedError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, Self, SupportsIndex

    from mosaic._core import Task
    from mosaic.core.proxy import TesseraProxy
    from mosaic.core.tessera import Tessera

    Names = str | Iterable[str] | None

PLAIN = "_mosaic_plain"
"""Name by which a derived class knows the user's class."""

_NONE: frozenset[str] = frozenset()

_function_type = type(lambda: None)
_reconstructors = (
    copyreg.__newobj__,  # type: ignore[attr-defined]
    copyreg.__newobj_ex__,  # type: ignore[attr-defined]
    copyreg._reconstructor,  # type: ignore[attr-defined]
)

changed: Callable[[object], object] | None = None
"""Set by `mosaic.core.root` where roots live: told of each call that may have changed one."""


class Tie:
    """What a parameter has beside its local state.

    Parameters
    ----------
    proxy : TesseraProxy
        The root.
    cached : bool
        It is sent without its state.
    """

    __slots__ = ("cached", "filling", "proxy")

    def __init__(self, proxy: TesseraProxy, cached: bool = False) -> None:
        self.proxy = proxy
        self.cached = cached
        # What brings the first state, where the object was made without any.
        self.filling: Task | None = None


_ties: dict[int, tuple[object, Tie]] = {}


def tie(obj: object, tied: Tie) -> None:
    """Tie a local object to its root."""
    key = id(obj)

    def gone(_: object) -> None:
        _ties.pop(key, None)

    _ties[key] = _weak(obj, gone), tied


def tie_of(obj: object) -> Tie | None:
    """Return what ties an object to a root that it is not itself, if anything does."""
    found = _ties.get(id(obj))
    return None if found is None else found[1]


class _Own(property):
    """A name of mosaic's own, which wins over the class's: what the class sets by that name is kept, and not read."""

    def __set__(self, instance: Any, value: object) -> None:
        vars(instance)[self.fget.__name__] = value  # type: ignore[union-attr]


class ParameterMixin(CMDBase):
    """What instances made by ``Klass.parameter()`` are, besides being a ``Klass``.

    Attributes and methods are local. ``method(..., propagate=True)``, `set` and `push` change the root too; `get` and
    `pull` bring its state here.
    """

    __slots__ = ()

    @_Own
    def _tessera(self) -> TesseraProxy | Tessera:
        found = tie_of(self)
        root = found.proxy if found is not None else hosted(self)
        if root is None:
            raise AttributeError(f"this {_plain(self).__name__} is tied to no root", name="_tessera")
        return root

    @_Own
    def ref(self) -> TesseraProxy:
        """A proxy of the root."""
        root: Any = self._tessera
        return root if root.is_proxy else root.proxy  # type: ignore[no-any-return]

    @_Own
    def uid(self) -> str:
        """The name of the root on the network."""
        return self._tessera.uid

    @_Own
    def runtime_id(self) -> str | None:
        """The uid of the runtime where the root lives; None while that is not decided."""
        return self._tessera.runtime_id

    @_Own
    def has_tessera(self) -> bool:
        """Whether this is tied to a root, or is one."""
        return self.is_proxy or self.is_tessera

    @_Own
    def is_proxy(self) -> bool:
        """Whether the root lives elsewhere."""
        return tie_of(self) is not None

    @_Own
    def is_tessera(self) -> bool:
        """Whether this is the root itself."""
        return hosted(self) is not None

    @_Own
    def is_parameter(self) -> bool:
        """Whether this is a parameter: yes."""
        return True

    @_Own
    def cached(self) -> bool:
        """Whether it is sent without its state, so that receivers use their node's copy."""
        found = tie_of(self)
        root = hosted(self) if found is None else None
        return found.cached if found is not None else root is not None and root.cached

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until the root exists; gives the parameter."""
        yield from _settle(self).__await__()
        return self

    def set(self, name: str, value: object) -> Change:
        """Set an attribute here and on the root; need not be awaited."""
        setattr(self, name, value)
        return Change(self, _send(self, "set", name, value))

    async def get(self, name: str) -> Any:
        """Bring an attribute's value from the root; it is stored here and returned."""
        task = _send(self, "get", name)
        if task is None:
            return getattr(self, name)
        value = await _answer(self, task)
        setattr(self, name, value)
        return value

    async def push(self, attr: Names = None, publish: bool = False) -> None:
        """Move attributes to the root, all at once.

        Parameters
        ----------
        attr : str or iterable of str, optional
            Their names; all without.
        publish : bool
            Make the root's value available on every node, too.
        """
        if hosted(self) is not None:
            return await self.publish() if publish else None
        if attr is None:
            values = state_of(self)
        else:
            values = {name: getattr(self, name) for name in _names(attr)}
        return await _answer(self, _send(self, "push", attr is None, values, publish))

    async def pull(self, attr: Names = None) -> Any:
        """Bring attributes from the root.

        Parameters
        ----------
        attr : str or iterable of str, optional
            Their names; all without.

        Returns
        -------
        object
            The value of one attribute, the list of several, the parameter itself for all.
        """
        names = None if attr is None else _names(attr)
        task = _send(self, "pull", names)
        if task is not None:
            values = await _answer(self, task)
            if names is None:
                apply_state(self, values)
                found = tie_of(self)
                if found is not None:
                    found.filling = None
            else:
                for name in names:
                    setattr(self, name, values[name])
        if names is None:
            return self
        found_values = [getattr(self, name) for name in names]
        return found_values[0] if isinstance(attr, str) else found_values

    async def publish(self) -> None:
        """Make the root's value available on every node: copies with ``cached`` are of it from now on."""
        task = _send(self, "publish")
        if task is not None:
            await _answer(self, task)
            return
        from mosaic.core.root import service

        service(self)("publish")

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        found = tie_of(self)
        if found is not None:
            # Mosaic sends with protocol 5; a copy made here, with 4, is one of the local state.
            if found.cached and protocol.__index__() >= 5:
                return _rebuild_cached, (_plain(self), found.proxy)
            return reduced(self, protocol, found.proxy, found.cached)
        root = hosted(self)
        return reduced(
            self,
            protocol,
            None if root is None else root.proxy,
            root is not None and root.cached,
        )


class Change:
    """What `ParameterMixin.set` gives: need not be awaited.

    Parameters
    ----------
    parameter : ParameterMixin
        Whose root is changed.
    task : Task, optional
        The change; None if the parameter is the root.
    """

    __slots__ = ("_parameter", "_task")

    def __init__(self, parameter: ParameterMixin, task: Task | None) -> None:
        self._parameter = parameter
        self._task = task

    def __await__(self) -> Generator[Any, None, None]:
        if self._task is not None:
            yield from _answer(self._parameter, self._task).__await__()

    def wait(self, timeout: float | None = None) -> None:
        """Block until the root is changed."""
        try:
            if self._task is not None:
                self._task.wait(timeout)
        except _GONE as error:
            raise _lost(self._parameter, error) from error


def _send(self: ParameterMixin, operation: str, *args: Any) -> Task | None:
    """Have the root of a parameter do something; None where the parameter is the root, which need not be told."""
    found = tie_of(self)
    if found is None:
        if hosted(self) is None:
            raise MosaicError(f"this {_plain(self).__name__} is tied to no root")
        return None
    method = found.proxy._ref.method("_mosaic_root", reserved=_NONE)
    return method(operation, *[_travelling(found.proxy, value) for value in args])


async def _settle(self: ParameterMixin) -> None:
    """Wait until the root of a parameter exists, and the state that was asked for is here."""
    found = tie_of(self)
    if found is None:
        return
    try:
        await found.proxy
        if found.filling is not None:
            state = await found.filling.result()
            if found.filling is not None:
                found.filling = None
                apply_state(self, state)
    except _GONE as error:
        raise _lost(self, error) from error


def _travelling(proxy: TesseraProxy, value: Any) -> Any:
    return there(value) if proxy._options.get("in_warehouse") else value


async def _answer(parameter: ParameterMixin, task: Task | None) -> Any:
    try:
        return None if task is None else await task.result()
    except _GONE as error:
        raise _lost(parameter, error) from error


_GONE = (RuntimeDisconnectedError, TesseraStoppedError)
"""What a call on a root fails with that is not there any more."""


def _lost(parameter: ParameterMixin, error: BaseException) -> BaseException:
    """Return the error to raise for one that came from the root: where the root is lost, one that names it."""
    found = tie_of(parameter)
    if found is None or _core.engine() is None:
        return error
    # A parameter that came here after its root was lost knows of no host that could have died.
    if not isinstance(error, TesseraStoppedError) and not found.proxy._is_lost:
        return error
    name = _plain(parameter).__name__
    return ObjectLostError(
        f"the root of the parameter {found.proxy.uid}, a {name}, is lost: {error}"
    )


def _names(attr: str | Iterable[str]) -> list[str]:
    names = [attr] if isinstance(attr, str) else list(attr)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"attr names attributes, but {name!r} is no name")
    return names


# The derived classes.

_derived: dict[type, type] = {}
_derived_local: dict[type, type] = {}


def _plain(obj: object) -> type:
    return plain_class(type(obj))


def plain_class(cls: type) -> type:
    """Return the user's class of a derived one; any other class as it is."""
    plain: type = getattr(cls, PLAIN, cls)
    return plain


def parameter_class(cls: type) -> type:
    """Return the class of parameters of a user's class.

    Raises
    ------
    TypeError
        Its instances cannot be referred to weakly, as those of ``tuple`` and ``int``.
    """
    if PLAIN in cls.__dict__:
        return cls
    derived = _derived.get(cls)
    if derived is None:
        slots = () if cls.__weakrefoffset__ else ("__weakref__",)
        space: dict[str, Any] = {
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
            "__slots__": slots,
            "__class__": property(lambda _: cls),
            PLAIN: cls,
        }
        for name, function in _methods_of(cls):
            space[name] = _propagating(name, function)
        try:
            derived = type(cls)(cls.__name__, (ParameterMixin, cls), space)
        except TypeError as error:
            raise TypeError(f"{cls.__name__} cannot have parameters: {error}") from None
        _derived[cls] = derived
    return derived


def local_parameter_class(cls: type) -> type:
    """Return the class of parameters that are roots in the process that made them."""
    derived = _derived_local.get(cls)
    if derived is None:
        from mosaic.core.root import hand_over

        base = parameter_class(cls)
        space = {
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
            "__slots__": (),
            "__del__": hand_over,
        }
        derived = _derived_local[cls] = type(cls)(cls.__name__, (base,), space)
    return derived


def _methods_of(cls: type) -> Iterable[tuple[str, Any]]:
    """Give the methods that can be propagated: those that programs call by name, and ``__call__``."""
    seen = set(dir(ParameterMixin))
    for base in cls.__mro__[:-1]:
        for name, found in base.__dict__.items():
            if name in seen:
                continue
            seen.add(name)
            dunder = name.startswith("__") and name != "__call__"
            if isinstance(found, _function_type) and not dunder and not _declares(found):
                yield name, found


def _declares(function: Any) -> bool:
    code = function.__code__
    return "propagate" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _propagating(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method that runs on the root too, if it is told to."""
    if methods.is_coroutine_function(function):

        @wraps(function)
        async def run_async(
            self: ParameterMixin, /, *args: Any, propagate: bool = False, **kwargs: Any
        ) -> Any:
            result = await function(self, *args, **kwargs)
            if propagate:
                await _answer(self, _propagate(self, name, True, args, kwargs))
            if changed is not None:
                changed(self)
            return result

        return run_async

    @wraps(function)
    def run(self: ParameterMixin, /, *args: Any, propagate: bool = False, **kwargs: Any) -> Any:
        result = function(self, *args, **kwargs)
        if propagate:
            task = _propagate(self, name, False, args, kwargs)
            if task is not None and not network.on_event_loop():
                # Whoever hears that this has ended finds the root changed.
                task.wait_ended()
                failure = task.failure()
                if isinstance(failure, _GONE):
                    raise _lost(self, failure) from failure
                if failure is not None:
                    raise failure
        if changed is not None:
            changed(self)
        return result

    return run


def _propagate(
    self: ParameterMixin, name: str, coroutine: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Task | None:
    """Call a method of the root; None where this is the root, which has run it already, or is tied to none."""
    found = tie_of(self)
    if found is None:
        return None
    proxy = found.proxy
    method = proxy._ref.method(name, coroutine=coroutine, reserved=_NONE)
    return method(
        *[_travelling(proxy, value) for value in args],
        **{key: _travelling(proxy, value) for key, value in kwargs.items()},
    )


# State, and being sent.


def state_of(obj: Any) -> Any:
    """Return all attributes of an object, as its class says what they are."""
    return obj.__getstate__()


def apply_state(obj: Any, state: Any) -> None:
    """Set all attributes of an object; those of its own that the state does not mention stay."""
    if hasattr(type(obj), "__setstate__"):
        obj.__setstate__(state)
        return
    slots: dict[str, Any] = {}
    if isinstance(state, tuple):
        state, slots = state
    if state:
        obj.__dict__.update(state)
    for name, value in slots.items():
        setattr(obj, name, value)


def reduced(
    obj: ParameterMixin, protocol: SupportsIndex, proxy: TesseraProxy | None, cached: bool
) -> str | tuple[Any, ...]:
    """Return how to pickle an object with its local state, tied to a root or to none."""
    how = super(ParameterMixin, obj).__reduce_ex__(protocol)
    if isinstance(how, str):
        return how
    plain, derived = _plain(obj), type(obj)
    function, args, *rest = how
    function = plain if function is derived else function
    args = tuple(plain if value is derived else value for value in args)
    return (_rebuild, (plain, function, args, proxy, cached), *rest)


def _rebuild(
    plain: type,
    function: Any,
    args: tuple[Any, ...],
    proxy: TesseraProxy | None,
    cached: bool,
) -> Any:
    derived = parameter_class(plain)
    if function in _reconstructors:
        obj = function(derived, *args[1:])
    elif function is plain:
        obj = derived(*args)
    else:
        obj = function(*args)
        if type(obj) is plain:
            # A function of the class's own made it.
            ordinary, obj = obj, copyreg.__newobj__(derived)  # type: ignore[attr-defined]
            apply_state(obj, state_of(ordinary))
    if proxy is not None:
        tie(obj, Tie(proxy, cached))
    return obj


class Snapshot:
    """An object's whole state on its way: arrives as an instance that is tied to nothing.

    Parameters
    ----------
    obj : object
        An instance of a tessera class.
    """

    __slots__ = ("_obj",)

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        obj = self._obj
        if isinstance(obj, ParameterMixin):
            return reduced(obj, protocol, None, False)
        how = obj.__reduce_ex__(protocol)
        if isinstance(how, str):
            raise MosaicError(f"{obj!r} pickles by reference: it has no state to send")
        return (_rebuild, (type(obj), how[0], how[1], None, False), *how[2:])


def _rebuild_cached(plain: type, proxy: TesseraProxy) -> Any:
    """Make the local object of a parameter that came without its state, from this node's copy."""
    from mosaic.core.root import node_copy

    obj = node_copy(plain, proxy)
    tie(obj, Tie(proxy, True))
    return obj


# Making parameters.


def make(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
    """Make a parameter, or with ``len`` a list of them; see ``Klass.parameter``."""
    return _some(_make_one, plain_class(cls), args, kwargs, options)


def make_local(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> Any:
    """Make a parameter that is the root itself; see ``Klass.local_parameter``."""
    from mosaic.core.root import make_local_one

    return _some(make_local_one, plain_class(cls), args, kwargs, options)


def _some(
    make_one: Callable[..., Any],
    cls: type,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, Any],
) -> Any:
    network.engine()
    count, uid = options["len"], options["uid"]
    if count is None:
        return make_one(cls, args, kwargs, options)
    made = []
    for index in range(count.__index__()):
        own = options if uid is None else {**options, "uid": f"{uid}-{index}"}
        made.append(make_one(cls, args, kwargs, own))
    return made


def _make_one(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> Any:
    from mosaic.core.proxy import TesseraProxy

    runtime = options["runtime"]
    uid = runtime if isinstance(runtime, str) else getattr(runtime, "uid", "")
    # The warehouse may not have been started.
    anywhere = runtime is None or uid.startswith("warehouse")
    place = None if anywhere else network.number_of(runtime)
    # First here: what fails here is not even tried elsewhere.
    obj = parameter_class(cls)(*args, **kwargs)
    extra: dict[str, Any] = {ROOT: bool(options["cached"])}
    if options["uid"] is not None:
        extra[UID] = options["uid"]
    ref, built = network.engine().construct(
        cls,
        cls.__name__,
        args,
        {**kwargs, **extra},
        place=place,
        in_warehouse=place is None,
        concurrent=bool(options["is_async"]),
        retries=options["max_retries"],
        restarts=options["max_restarts"],
    )
    own = {**options, "is_parameter": True, "in_warehouse": place is None}
    tie(obj, Tie(TesseraProxy(cls, ref, own, built, place), bool(options["cached"])))
    return obj


def of_proxy(
    proxy: TesseraProxy, args: tuple[Any, ...], kwargs: dict[str, Any], cached: bool
) -> Any:
    """Make a parameter whose root is an existing tessera; see `TesseraProxy.make_parameter`."""
    from mosaic.core.proxy import TesseraProxy

    derived = parameter_class(proxy._cls)
    options = {**proxy._options, "is_parameter": True}
    tied = Tie(TesseraProxy(proxy._cls, proxy._ref, options, proxy._built, proxy._place), cached)
    if args or kwargs:
        obj = derived(*args, **kwargs)
        tie(obj, tied)
        return obj
    obj = copyreg.__newobj__(derived)  # type: ignore[attr-defined]
    tie(obj, tied)
    filling = _send(obj, "pull", None)
    if network.on_event_loop():
        tied.filling = filling
    else:
        apply_state(obj, filling.wait())
    return obj
