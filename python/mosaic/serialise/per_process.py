"""Objects of which every process has its own: locks and their kind, context variables, type variables.

A class or function of a script may hold a lock. A fresh lock arrives elsewhere, one in each process: all classes and
functions that hold the same lock share it there, and find the original lock when they come back to its process. So a
lock excludes threads of one process, as the lock of an imported module does, and never other processes. Type variables
and aliases, which are compared by identity, travel the same way.

A token, made when the object is first pickled, identifies it. Any thread may call this module; `_guard` protects the
tables.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import typing
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_guard = threading.Lock()
_objects: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_tokens: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
# Context variables and type aliases take no weak references.
_lasting_objects: dict[str, Any] = {}
_lasting_tokens: dict[Any, str] = {}


class PerProcess:
    """Stands for an object while it is pickled, where the object itself would be refused.

    Parameters
    ----------
    obj : object
        Of a kind that `is_per_process` knows.
    """

    __slots__ = ("obj",)

    def __init__(self, obj: Any) -> None:
        self.obj = obj

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_shared(self.obj, *_DESCRIPTIONS[type(self.obj)](self.obj))


def is_per_process(value: object) -> bool:
    """Return whether a value is a lock, an event, a context variable or the like."""
    return type(value) in _DESCRIPTIONS


def stand_in(value: Any) -> Any:
    """Return what to pickle for something that a class or function holds: the value, unless it is per process."""
    return PerProcess(value) if type(value) in _DESCRIPTIONS else value


def reduce_shared(obj: Any, maker: str, *args: Any) -> tuple[Any, ...]:
    """Return how to pickle an object that is made once in each process, by the maker of that name."""
    return shared, (_token_of(obj), maker, args)


def shared(token: str, maker: str, args: tuple[Any, ...]) -> Any:
    """Return this process's object of that token, made if it is not there yet."""
    with _guard:
        found = _find(token)
    if found is None:
        made = _MAKERS[maker](*args)
        with _guard:
            found = _find(token)
            if found is None:
                found = made
                _remember(found, token)
    return found


def _find(token: str) -> Any:
    found = _objects.get(token)
    return _lasting_objects.get(token) if found is None else found


def _remember(obj: Any, token: str) -> None:
    try:
        _objects[token] = obj
    except TypeError:
        _lasting_objects[token] = obj
        _lasting_tokens[obj] = token
    else:
        _tokens[obj] = token


def _token_of(obj: Any) -> str:
    import uuid

    with _guard:
        try:
            token = _tokens.get(obj)
        except TypeError:
            token = _lasting_tokens.get(obj)
        if token is None:
            token = uuid.uuid4().hex
            _remember(obj, token)
    return token


# ----------------------------------------------------------------- how each kind is made elsewhere


def _describe_condition(condition: Any) -> tuple[Any, ...]:
    return ("Condition", stand_in(condition._lock))


def _describe_context_variable(variable: contextvars.ContextVar[Any]) -> tuple[Any, ...]:
    try:
        return ("ContextVar", variable.name, contextvars.Context().run(variable.get))
    except LookupError:
        return ("ContextVar", variable.name)


_DESCRIPTIONS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    type(threading.Lock()): lambda _: ("Lock",),
    type(threading.RLock()): lambda _: ("RLock",),
    threading.local: lambda _: ("local",),
    threading.Condition: _describe_condition,
    threading.Event: lambda event: ("Event", event.is_set()),
    threading.Semaphore: lambda semaphore: ("Semaphore", semaphore._value),
    threading.BoundedSemaphore: lambda semaphore: ("BoundedSemaphore", semaphore._initial_value),
    threading.Barrier: lambda barrier: (
        "Barrier",
        barrier._parties,
        barrier._action,
        barrier._timeout,
    ),
    contextvars.ContextVar: _describe_context_variable,
}


def _make_event(is_set: bool) -> threading.Event:
    event = threading.Event()
    if is_set:
        event.set()
    return event


def _make_context_variable(name: str, *default: Any) -> contextvars.ContextVar[Any]:
    if default:
        return contextvars.ContextVar(name, default=default[0])
    return contextvars.ContextVar(name)


_MAKERS: dict[str, Callable[..., Any]] = {
    "Lock": threading.Lock,
    "RLock": threading.RLock,
    "local": threading.local,
    "Condition": threading.Condition,
    "Event": _make_event,
    "Semaphore": threading.Semaphore,
    "BoundedSemaphore": threading.BoundedSemaphore,
    "Barrier": threading.Barrier,
    "ContextVar": _make_context_variable,
}

# -------------------------------------------------------------- type variables, new types, aliases


def reduce_typing(obj: Any) -> str | tuple[Any, ...]:
    """Return how to pickle a type variable, a new type or a type alias: by name, or by what it says."""
    from sys import modules

    name: str = obj.__name__
    module = obj.__module__
    if (
        module not in {"__main__", "__mp_main__"}
        and getattr(modules.get(module or ""), name, None) is obj
    ):
        return name
    kind = type(obj).__name__
    if kind == "NewType":
        return reduce_shared(obj, "typing", kind, module, (name, obj.__supertype__), {})
    if kind == "TypeAliasType":
        # The value comes after the alias, since it may name the alias and its variables.
        variables = [
            (one.__name__, type(one).__name__, _token_of(one)) for one in obj.__type_params__
        ]
        made = reduce_shared(obj, "alias", name, module, variables)
        return *made, obj.__value__, None, None, _set_value
    has_default = getattr(obj, "has_default", bool)()
    if getattr(obj, "__infer_variance__", False) and obj.__bound__ is not None and not has_default:
        # The same for the bound of a variable of the new syntax: it may be the class that has the variable.
        return *reduce_shared(obj, "bounded", name, module), obj.__bound__, None, None, _set_value
    options = {}
    for option in ("bound", "covariant", "contravariant", "infer_variance"):
        value = getattr(obj, f"__{option}__", None)
        if value:
            options[option] = value
    if has_default:
        options["default"] = obj.__default__
    constraints = getattr(obj, "__constraints__", ())
    return reduce_shared(obj, "typing", kind, module, (name, *constraints), options)


def _make_typing(
    kind: str, module: str | None, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    made = getattr(typing, kind)(*args, **options)
    _set_module(made, module)
    return made


def _make_alias(name: str, module: str | None, variables: list[tuple[str, str, str]]) -> Any:
    """Make an alias whose value is known later, by the statement: it looks up ``value`` when it is asked for it."""
    space: dict[str, Any] = {"__name__": module}
    names = ", ".join(_STARS.get(kind, "") + variable for variable, kind, _ in variables)
    # All of these are identifiers.
    exec(f"type {name}{f'[{names}]' if names else ''} = value", space)  # noqa: S102
    made = space[name]
    with _guard:
        for variable, (_, _, token) in zip(made.__type_params__, variables, strict=True):
            if _find(token) is None:
                _remember(variable, token)
    _spaces[made] = space
    return made


def _make_bounded(name: str, module: str | None) -> Any:
    """Make a type variable whose bound is known later, as `_make_alias` makes an alias."""
    space: dict[str, Any] = {"__name__": module}
    exec(f"def holder[{name}: value](): ...", space)  # noqa: S102
    made = space["holder"].__type_params__[0]
    _spaces[made] = space
    return made


_STARS = {"TypeVarTuple": "*", "ParamSpec": "**"}
# The names that the value of an alias, or a bound, is looked up among.
_spaces: dict[Any, dict[str, Any]] = {}


def _set_value(made: Any, value: Any) -> None:
    space = _spaces.get(made)
    if space is not None:
        space["value"] = value


def _set_module(made: Any, module: str | None) -> None:
    # Type aliases do not let it be set.
    with contextlib.suppress(AttributeError, TypeError):
        made.__module__ = module


_MAKERS["typing"] = _make_typing
_MAKERS["alias"] = _make_alias
_MAKERS["bounded"] = _make_bounded
