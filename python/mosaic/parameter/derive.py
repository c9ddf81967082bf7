"""Derives the classes of parameters: one for each user's class, made once.

It adds `ParameterMixin` and lets methods take ``propagate=True``. ``__class__`` of its instances is the user's class
itself, so that what asks an object for its class finds the one that can be imported.
"""

from __future__ import annotations

from functools import partial, wraps

from mosaic import _core
from mosaic.core import methods, network
from mosaic.core.descriptors import is_injected
from mosaic.core.losses import losses_as
from mosaic.core.output import TaskDone
from mosaic.parameter import link
from mosaic.parameter.link import PLAIN
from mosaic.parameter.mixin import ParameterMixin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from mosaic._core import Task

_NONE: frozenset[str] = frozenset()

_ORDER = object()
"""Stands for an argument that is none."""

_function_type = type(lambda: None)

changed: Callable[[object], object] | None = None
"""Set by `mosaic.parameter.root` where roots live: called after each call that may have changed one."""

_derived: dict[type, type] = {}


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
            "_mosaic_derived": (parameter_class, (cls,)),
        }
        if not hasattr(cls, "_repr_html_"):
            space["_repr_html_"] = _repr_html
        for name, function in _methods_of(cls):
            space[name] = _propagating(name, function)
        try:
            derived = type(cls)(cls.__name__, (ParameterMixin, cls), space)
        except TypeError as error:
            raise TypeError(f"{cls.__name__} cannot have parameters: {error}") from None
        _derived[cls] = derived
    return derived


def _repr_html(self: ParameterMixin) -> str:
    from mosaic.notebook.summary import of_parameter

    return of_parameter(self)


def _methods_of(cls: type) -> Iterable[tuple[str, Any]]:
    """Give the methods that can be propagated: all but those that Python calls by their special names.

    Operators and ``__call__`` can be, and so can the class's own methods with double underscores.
    """
    seen = set(dir(ParameterMixin))
    for base in cls.__mro__[:-1]:
        for name, found in base.__dict__.items():
            if name in seen:
                continue
            seen.add(name)
            if name in methods.SPECIAL and name not in methods.OPERATORS:
                continue
            if _is_mosaics(found) or not isinstance(methods.describe(cls, name), methods.Method):
                continue
            # A class attribute that happens to be callable stays what it is.
            if hasattr(type(found), "__get__") and not methods.takes(found, "propagate"):
                yield name, found


def _is_mosaics(found: Any) -> bool:
    return is_injected(found) or (
        isinstance(found, classmethod) and found.__func__.__module__ == "mosaic.core.decorator"
    )


def _propagating(name: str, function: Any) -> Any:
    """Make a method that runs on the root too, with ``propagate=True``."""
    if not isinstance(function, _function_type):
        return _Propagating(name, function)
    call = _propagating_call(name, function, methods.is_coroutine_function(function))
    return wraps(function)(call)


def _propagating_call(
    name: str, function: Callable[..., Any], coroutine: bool
) -> Callable[..., Any]:
    if coroutine:

        async def run_async(
            self: ParameterMixin, /, *args: Any, propagate: bool = False, **kwargs: Any
        ) -> Any:
            if not propagate:
                result = await function(self, *args, **kwargs)
            else:
                here, named = await _values(args, kwargs)
                result = await function(self, *here, **named)
                await link.answer(self, _propagate(self, name, True, args, kwargs))
            if changed is not None:
                changed(self)
            return result

        return run_async

    def run(self: ParameterMixin, /, *args: Any, propagate: bool = False, **kwargs: Any) -> Any:
        result = function(self, *args, **kwargs)
        if propagate:
            _wait(self, _propagate(self, name, False, args, kwargs))
        if changed is not None:
            changed(self)
        return result

    return run


class _Propagating:
    """A method that is no plain function, on a class of parameters: static, of the class, made by a decorator.

    Parameters
    ----------
    name : str
        Its name.
    found : object
        What the user's class has by that name: a descriptor.
    """

    __slots__ = ("_call", "_found")

    def __init__(self, name: str, found: Any) -> None:
        def call(self: ParameterMixin, /, *args: Any, **kwargs: Any) -> Any:
            return found.__get__(self, type(self))(*args, **kwargs)

        self._found = found
        self._call = _propagating_call(name, call, methods.is_coroutine_function(found))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        bound = self._found.__get__(instance, owner)
        if instance is None:
            return bound
        return _Bound(self._call, instance, bound)


class _Bound:
    """Such a method of one parameter; whatever else is asked of it, the method itself answers."""

    __slots__ = ("_bound", "_call", "_parameter")

    def __init__(self, call: Callable[..., Any], parameter: ParameterMixin, bound: Any) -> None:
        self._call = call
        self._parameter = parameter
        self._bound = bound

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(self._parameter, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bound, name)


async def _values(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments as the root gets them: values in place of tasks and references, nothing for mere orders."""
    here = [await _value(value) for value in args]
    named = {name: await _value(value) for name, value in kwargs.items()}
    return (
        [value for value in here if value is not _ORDER],
        {name: value for name, value in named.items() if value is not _ORDER},
    )


async def _value(value: Any) -> Any:
    if not isinstance(value, (_core.Task, _core.Output)):
        return value
    if isinstance(value, TaskDone):
        await value
        return _ORDER
    reference: Any = value
    return await reference.result()


def _wait(self: ParameterMixin, task: Task | None) -> None:
    """Wait until the root follows, so that code that runs after the local call finds the root changed.

    In synchronous code that is the end of the root's call. Inside a method it is only its arrival, behind which
    comes whatever is sent to the root later: the root may be waiting for this very method. Not on an event loop, which
    would stand still, and not where the root would have to run on this very thread.
    """
    found = link.link_of(self)
    if task is None or found is None or network.on_event_loop():
        return
    engine, proxy = network.engine(), found.proxy
    if proxy._host is None:
        proxy._ref.wait_placed()
    if proxy._host == engine.runtime:
        return
    if engine.call_is_running() is not None:
        if proxy._options.get("in_warehouse"):
            # Known without the interpreter there, whoever keeps it.
            task = task.arrival()
        else:
            # Sent on the same connection, and answered past whatever runs or waits.
            task = proxy._ref.method("_mosaic_copy", kind=_core.CallKind.GET_NOW)()
    task.wait_ended()
    failure = task.failure()
    if failure is not None:
        with losses_as(partial(link.lost, self), *link.GONE):
            raise failure


def _propagate(
    self: ParameterMixin, name: str, coroutine: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Task | None:
    """Call a method of the root; None where this is the root, which has run it already, or is tied to none."""
    found = link.link_of(self)
    if found is None:
        return None
    proxy = found.proxy
    method = proxy._ref.method(name, coroutine=coroutine, reserved=_NONE)
    return method(
        *[link.travelling(proxy, value) for value in args],
        **{key: link.travelling(proxy, value) for key, value in kwargs.items()},
    )
