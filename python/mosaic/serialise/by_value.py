"""Decides which functions and classes are pickled by reference, and what the pickle of a class by value depends on.

`mosaic.serialise.classes` remembers such pickles as long as nothing that `collect_class` finds has changed.
"""

from __future__ import annotations

import sys

from mosaic.serialise import preload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_function_type = type(lambda: None)
_module_type = type(sys)
_builtin_type = type(len)
_slot_types = (
    type(_function_type.__dict__["__code__"]),
    type(_function_type.__dict__["__globals__"]),
)
_atoms = (
    int,
    float,
    complex,
    str,
    bytes,
    bool,
    type(None),
    type(Ellipsis),
    type(NotImplemented),
    range,
)
_fixed_modules = frozenset({"typing", "dataclasses", "_abc", "abc", "re", "logging"})
_fixed_types = frozenset(
    {
        ("types", "GenericAlias"),
        ("types", "UnionType"),
        # The fields of named tuples; in Python 3.11 the first.
        ("_collections", "_tuplegetter"),
        ("collections", "_tuplegetter"),
        # These arrive as fresh ones.
        ("_thread", "lock"),
        ("_thread", "RLock"),
        ("_thread", "_local"),
        ("threading", "Condition"),
        ("threading", "Semaphore"),
        ("threading", "BoundedSemaphore"),
        ("threading", "Barrier"),
        ("_contextvars", "ContextVar"),
    }
)
_function_holders = {
    ("functools", "_lru_cache_wrapper"): ("__wrapped__",),
    ("functools", "cached_property"): ("func",),
    ("functools", "partial"): ("func", "args", "keywords"),
    ("functools", "partialmethod"): ("func", "args", "keywords"),
    ("functools", "singledispatchmethod"): ("func", "dispatcher"),
}
"""What is pickled of objects that are made around functions, and do not change but for that."""

KINDS_BY_NAME = frozenset(
    {
        "_lru_cache_wrapper",
        "NewType",
        "ParamSpec",
        "TypeAliasType",
        "TypeVar",
        "TypeVarTuple",
    }
)
"""Types of `functools` and `typing` whose objects pickle sends by name, as it does functions and classes."""

_PARTS_LIMIT = 4096

_importable: dict[int, object] = {}
packages: dict[int, str | None] = {}
"""The packages of the objects in `_importable`, None where they have none; see `mosaic.serialise.preload`."""


def importable(obj: Any) -> bool:
    """Return whether another process finds this function or class by its module and name."""
    if _importable.get(id(obj)) is obj:
        return True
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None)
    if (
        not isinstance(module, str)
        or not isinstance(name, str)
        or module in {"__main__", "__mp_main__"}
    ):
        return False
    found: Any = sys.modules.get(module)
    if found is None:
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            # None and NotImplemented's classes have no module that holds them; pickle knows them.
            return module == "builtins" and isinstance(obj, type)
    if found is not obj:
        return False
    _importable[id(obj)] = obj
    packages[id(obj)] = preload.package_of(module)
    return True


def collect_class(cls: type, parts: list[object], seen: set[int]) -> bool:
    """Gather by identity what a class's pickle depends on; False where it could change unseen."""
    if importable(cls):
        parts.append(cls)
        return True
    if id(cls) in seen:
        return True
    seen.add(id(cls))
    parts.append(cls)
    if not all(collect_class(base, parts, seen) for base in cls.__bases__):
        return False
    for name, value in cls.__dict__.items():
        if name in {"__dict__", "__weakref__", "_abc_impl"}:
            continue
        parts.append(name)
        if not _collect(value, parts, seen):
            return False
    return True


def _collect(value: Any, parts: list[object], seen: set[int]) -> bool:
    if len(parts) > _PARTS_LIMIT:
        return False
    kind = type(value)
    if kind in _atoms or kind is _module_type or kind is _builtin_type or kind in _slot_types:
        parts.append(value)
        return True
    if kind is _function_type:
        return _collect_function(value, parts, seen)
    if isinstance(value, type):
        return collect_class(value, parts, seen)
    if kind is staticmethod or kind is classmethod:
        parts.append(value)
        return _collect(value.__func__, parts, seen)
    if kind is property:
        parts.append(value)
        return all(_collect(part, parts, seen) for part in (value.fget, value.fset, value.fdel))
    if kind is tuple or kind is list or kind is frozenset or kind is set:
        parts.append(kind)
        return all(_collect(item, parts, seen) for item in value)
    if kind is dict or kind.__name__ == "mappingproxy":
        parts.append(kind)
        return all(
            _collect(key, parts, seen) and _collect(item, parts, seen)
            for key, item in value.items()
        )
    if (
        kind.__module__ in _fixed_modules
        or (kind.__module__, kind.__name__) in _fixed_types
        or type(kind).__name__ in {"EnumType", "EnumMeta"}
        or getattr(kind, "_mosaic_injected", False)
    ):
        parts.append(value)
        return True
    if kind.__name__ == "Event" and kind.__module__ == "threading":
        # Arrives as a fresh one that is set or not.
        parts += (value, value.is_set())
        return True
    names = _function_holders.get((kind.__module__, kind.__name__))
    if names is None:
        return False
    parts.append(value)
    if id(value) in seen or importable(value):
        return True
    seen.add(id(value))
    return all(_collect(getattr(value, name, None), parts, seen) for name in names)


def _collect_function(function: Any, parts: list[object], seen: set[int]) -> bool:
    parts.append(function)
    if id(function) in seen or importable(function):
        return True
    seen.add(id(function))
    code = function.__code__
    parts.append(code)
    if code.co_name == "wrapper" and function.__globals__.get("__name__") == "functools":
        registry = getattr(function, "registry", None)
        if registry is not None:
            # singledispatch, which keeps what it has found in a weak dictionary.
            return _collect(registry, parts, seen)
    for held in (
        function.__defaults__,
        function.__kwdefaults__,
        function.__annotations__,
        function.__dict__,
    ):
        if held and not _collect(held, parts, seen):
            return False
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:
            parts.append(None)
            continue
        if not _collect(content, parts, seen):
            return False
    space = function.__globals__
    named = (space[name] for name in global_names(code) if name in space)
    return all(_collect(value, parts, seen) for value in named)


_names_of: dict[Any, tuple[str, ...]] = {}


def global_names(code: Any) -> tuple[str, ...]:
    """Return the names that a function's code, and the functions nested in it, may look up as globals."""
    names = _names_of.get(code)
    if names is None:
        found = set(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, type(code)):
                found.update(global_names(constant))
        names = _names_of[code] = tuple(sorted(found))
    return names
