"""Completes cloudpickle's pickler: reduces what it refuses, loses, or does in some of its versions only.

- Code keeps the name of its file, which the tracebacks of workers show. cloudpickle 3.1.3 leaves it out.
- Classes keep their slots, without which their instances take no state. Those of `typing.NamedTuple` are made as the
  plain tuples that they are.
- What `functools` makes is made again at the receiver: caches start empty, registries arrive as they are. Subclasses of
  `property`, `staticmethod` and `classmethod` keep their functions.
- Members of enumerations keep the attributes that their ``__init__`` made.
- A class that comes back to the process that it is from stays as it is there.
- Locks and their kind that a class or function holds are fresh ones (`mosaic.serialise.per_process`).
- An error says which attribute of which class, or which global of which function, cannot be pickled
  (`mosaic.serialise.diagnostics`).

Imported with the first value that needs cloudpickle, at the sender and at the receiver.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import sys
import types
import typing
import weakref
from collections import ChainMap
from typing import TYPE_CHECKING

import cloudpickle

from mosaic.serialise import by_value, preload
from mosaic.serialise.per_process import reduce_typing, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

# All functions that singledispatch makes share this code.
_singledispatch_code = functools.singledispatch(len).__code__  # type: ignore[attr-defined]
_locked_cached_property = sys.version_info < (3, 12)
_wrappers = (property, staticmethod, classmethod)


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    return types.CodeType, (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_nlocals,
        code.co_stacksize,
        code.co_flags,
        code.co_code,
        code.co_consts,
        code.co_names,
        code.co_varnames,
        code.co_filename,
        code.co_name,
        code.co_qualname,
        code.co_firstlineno,
        code.co_linetable,
        code.co_exceptiontable,
        code.co_freevars,
        code.co_cellvars,
    )


def _reduce_cell(cell: types.CellType) -> tuple[Any, ...]:
    make, args = _cloudpickle_table[types.CellType](cell)
    return make, tuple(map(stand_in, args))


def _reduce_lru_cache(wrapper: Any) -> str | tuple[Any, ...]:
    if by_value.importable(wrapper):
        name: str = wrapper.__qualname__
        return name
    attributes = dict(vars(wrapper))
    del attributes["__wrapped__"]
    # Made anew with the wrapper.
    parameters = attributes.pop("cache_parameters")()
    return _make_lru_cache, (wrapper.__wrapped__, parameters), attributes


def _make_lru_cache(function: Any, parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


_SINGLEDISPATCH_OWN = frozenset({"register", "dispatch", "registry", "_clear_cache", "__wrapped__"})


def _reduce_singledispatch(function: Any) -> tuple[Any, ...]:
    attributes = {k: v for k, v in vars(function).items() if k not in _SINGLEDISPATCH_OWN}
    state = (list(function.registry.items()), attributes)
    # The implementations come after the function, since they may call it.
    return functools.singledispatch, (function.__wrapped__,), state, None, None, _set_singledispatch


def _set_singledispatch(
    function: Any, state: tuple[list[tuple[type, Any]], dict[str, Any]]
) -> None:
    implementations, attributes = state
    for cls, implementation in implementations:
        function.register(cls, implementation)
    vars(function).update(attributes)


def _reduce_weak_dictionary(weak: Any) -> tuple[Any, ...]:
    return type(weak), (dict(weak),)


def _reduce_wrapper(wrapper: Any) -> tuple[Any, ...]:
    """Reduce an instance of a subclass of property, staticmethod or classmethod."""
    functions: tuple[Any, ...]
    if isinstance(wrapper, property):
        functions = (wrapper.fget, wrapper.fset, wrapper.fdel, wrapper.__doc__)
    else:
        functions = (wrapper.__func__,)
    return _make_wrapper, (type(wrapper), functions), dict(getattr(wrapper, "__dict__", None) or {})


def _make_wrapper(kind: type, functions: tuple[Any, ...]) -> Any:
    made = copyreg.__newobj__(kind)  # type: ignore[attr-defined]
    base: Any = next(base for base in _wrappers if issubclass(kind, base))
    base.__init__(made, *functions)
    return made


def _has_own_reduce(kind: Any) -> bool:
    return (kind.__reduce_ex__, kind.__reduce__) != (object.__reduce_ex__, object.__reduce__)


_cloudpickle_table = cloudpickle.Pickler.dispatch_table

_table: dict[Any, Callable[[Any], Any]] = {
    types.CodeType: _reduce_code,
    types.CellType: _reduce_cell,
    type(functools.lru_cache(len)): _reduce_lru_cache,
    weakref.WeakKeyDictionary: _reduce_weak_dictionary,
    weakref.WeakValueDictionary: _reduce_weak_dictionary,
    typing.NewType: reduce_typing,
    typing.TypeVar: reduce_typing,
    typing.ParamSpec: reduce_typing,
    typing.TypeVarTuple: reduce_typing,
}
if sys.version_info >= (3, 12):
    _table[typing.TypeAliasType] = reduce_typing


class ClassPickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """cloudpickle's pickler, completed."""

    dispatch_table: ClassVar[Any] = ChainMap(_table, _cloudpickle_table)
    packages: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._by_value: list[Any] = []

    def dump(self, obj: object) -> None:
        """Pickle; an error says what cannot be pickled."""
        try:
            super().dump(obj)
        except Exception as error:
            from mosaic.serialise import diagnostics

            diagnostics.explain(error, obj, self._by_value, type(self))
            raise

    def reducer_override(self, obj: Any) -> Any:
        """Reduce functions and classes that go by value, and what only its base class tells."""
        kind = type(obj)
        if issubclass(kind, type):
            reduced = super().reducer_override(obj)
            if isinstance(reduced, tuple) and len(reduced) > 2:
                self._by_value.append(obj)
                return _complete_class(obj, reduced)
            if reduced is NotImplemented:
                preload.note(self, obj)
            return reduced
        if kind is types.FunctionType:
            reduced = super().reducer_override(obj)
            if isinstance(reduced, tuple):
                self._by_value.append(obj)
                if obj.__code__ is _singledispatch_code:
                    return _reduce_singledispatch(obj)
                return _complete_function(reduced)
            preload.note(self, obj)
            return reduced
        if _locked_cached_property and isinstance(obj, functools.cached_property):
            state = {name: stand_in(value) for name, value in vars(obj).items()}
            return copyreg.__newobj__, (kind,), state  # type: ignore[attr-defined]
        if isinstance(obj, _wrappers) and kind not in _wrappers and not _has_own_reduce(kind):
            return _reduce_wrapper(obj)
        if issubclass(kind, types.ModuleType):
            preload.note(self, obj)
        return NotImplemented


def _complete_class(cls: type, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    make, new, (attributes, slots), *rest, setter = reduced
    if make.__name__ == "_make_skeleton_class" and "__slots__" in cls.__dict__:
        metaclass, name, bases, space, *more = new
        if any(base is typing.NamedTuple for base in bases):
            bases = tuple(tuple if base is typing.NamedTuple else base for base in bases)
        new = (metaclass, name, bases, {**space, "__slots__": cls.__dict__["__slots__"]}, *more)
    attributes = {name: stand_in(value) for name, value in attributes.items()}
    if cls not in _from_elsewhere:
        _from_here.add(cls)
    members: dict[str, dict[str, Any]] = {}
    if issubclass(cls, enum.Enum):
        members = {member.name: _attributes_of_member(member) for member in cls}
    return make, new, (setter, (attributes, slots), members), *rest, _set_class


def _attributes_of_member(member: enum.Enum) -> dict[str, Any]:
    """Return what ``__init__`` or ``__new__`` of an enumeration has given to a member."""
    return {k: v for k, v in vars(member).items() if not (k.startswith("_") and k.endswith("_"))}


_from_here: weakref.WeakSet[type] = weakref.WeakSet()
_from_elsewhere: weakref.WeakSet[type] = weakref.WeakSet()


def _set_class(
    cls: Any, state: tuple[Callable[[type, Any], Any], Any, dict[str, dict[str, Any]]]
) -> None:
    """Give a class its attributes, unless it has come back to the process that it is from."""
    setter, attributes, members = state
    if cls in _from_here:
        return
    _from_elsewhere.add(cls)
    setter(cls, attributes)
    for name, own in members.items():
        vars(cls[name]).update(own)


def _complete_function(reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    make, new, (attributes, slots), *rest = reduced
    slots = dict(slots)
    for part in ("__globals__", "__kwdefaults__"):
        if slots.get(part):
            slots[part] = {name: stand_in(value) for name, value in slots[part].items()}
    if slots.get("__defaults__"):
        slots["__defaults__"] = tuple(map(stand_in, slots["__defaults__"]))
    attributes = {name: stand_in(value) for name, value in attributes.items()}
    return make, new, (attributes, slots), *rest
