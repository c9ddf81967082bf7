"""What a class tells of its methods: worked out once per class and name, without importing `inspect`.

A name on a class is a method (calls are sent), an attribute (reads are sent), or not there at all.
"""

from __future__ import annotations

from mosaic.errors import MosaicError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

RESERVED = frozenset({"eager", "runtime", "max_retries", "timeout"})
"""Keywords of a call that are mosaic's, unless the method declares a parameter of that name."""

_OPERATORS = """
call add radd sub rsub mul rmul matmul rmatmul truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod pow rpow
lshift rlshift rshift rrshift and rand or ror xor rxor neg pos abs invert lt le gt ge round floor ceil trunc reversed
"""

FORWARDED = frozenset(f"__{name}__" for name in _OPERATORS.split())
"""Operators that Python lets return anything: those that a class defines are forwarded as remote calls."""

_CO_COROUTINE = 0x80 | 0x100

_function_type = type(lambda: None)
_method_descriptors = (
    type(str.join),
    type(object().__str__),
    type(object.__init__),
    type(dict.__dict__["fromkeys"]),
)


class Method:
    """What calling a method needs to know.

    Parameters
    ----------
    name : str
        Its name on the class.
    coroutine : bool
        It is an ``async def``.
    reserved : frozenset of str
        The keywords of a call to it that are mosaic's.
    """

    __slots__ = ("coroutine", "name", "reserved")

    def __init__(self, name: str, coroutine: bool, reserved: frozenset[str]) -> None:
        self.name = name
        self.coroutine = coroutine
        self.reserved = reserved


class _Attribute:
    """The mark of a name that is read, not called."""

    __slots__ = ()


ATTRIBUTE = _Attribute()

_tables: dict[type, dict[str, Method | _Attribute]] = {}


def describe(cls: type, name: str) -> Method | _Attribute | None:
    """Tell what a name is on a class.

    Returns
    -------
    Method, ATTRIBUTE or None
        None where the class does not know the name.
    """
    table = _tables.get(cls)
    if table is None:
        table = _tables[cls] = {}
    found = table.get(name)
    if found is None:
        found = _describe(cls, name)
        if found is not None:
            table[name] = found
    return found


def is_closed(cls: type) -> bool:
    """Tell whether instances can have no attribute that the class does not know (``__slots__`` throughout)."""
    return (
        cls.__dictoffset__ == 0
        and not hasattr(cls, "__getattr__")
        and "__getattribute__" not in _names(cls)
    )


def missing(cls: type, name: str) -> AttributeError:
    """Return the error for a name that a class does not have."""
    return AttributeError(f"{cls.__name__!r} has no attribute {name!r}", name=name)


def _names(cls: type) -> set[str]:
    return {name for base in cls.__mro__ if base is not object for name in base.__dict__}


def _lookup(cls: type, name: str) -> Any:
    for base in cls.__mro__:
        space = base.__dict__
        if name in space:
            return space[name]
    for base in cls.__mro__:
        if name in base.__dict__.get("__annotations__", ()):  # noqa: RUF063 - without importing inspect
            return ATTRIBUTE
    return None


def _describe(cls: type, name: str) -> Method | _Attribute | None:
    found = _lookup(cls, name)
    if found is None:
        # A class attribute may be None as well as missing; both are known only at the object.
        return ATTRIBUTE if any(name in base.__dict__ for base in cls.__mro__) else None
    if getattr(type(found), "_mosaic_injected", False):
        return ATTRIBUTE
    if isinstance(found, (staticmethod, classmethod)):
        found = found.__func__
    elif not isinstance(found, _function_type):
        if isinstance(found, type):
            return Method(name, False, RESERVED)
        if isinstance(found, _method_descriptors):
            return Method(name, False, RESERVED)
        if not callable(found):
            # functools.partialmethod is no callable but makes methods.
            inner = (
                getattr(found, "func", None)
                if type(found).__name__ in {"partialmethod", "singledispatchmethod"}
                else None
            )
            if inner is None:
                return ATTRIBUTE
            found = inner
    return Method(name, is_coroutine_function(found), RESERVED - declared(found))


def is_coroutine_function(function: Any) -> bool:
    """Tell whether calling this gives a coroutine, as `inspect.iscoroutinefunction` does, and cheaply."""
    function = _plain(function)
    code = getattr(function, "__code__", None)
    if code is None:
        call = _type_call(function)
        code = getattr(call, "__code__", None)
        if code is None:
            return False
    return bool(code.co_flags & _CO_COROUTINE)


def _type_call(function: Any) -> Any:
    return getattr(type(function), "__call__", None)  # noqa: B004 - it is the function that is wanted


def declared(function: Any) -> frozenset[str]:
    """Return the names of mosaic's keywords that a function declares as parameters of its own."""
    return RESERVED.intersection(_parameters(function))


def _parameters(function: Any) -> Iterator[str]:
    # A decorator's wrapper hides the parameters of what it wraps: look at both.
    for _ in range(32):
        plain = _plain(function)
        code = getattr(plain, "__code__", None)
        if code is None:
            code = getattr(_type_call(plain), "__code__", None)
        if code is not None:
            yield from code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        function = getattr(plain, "__wrapped__", None)
        if function is None:
            return
    raise MosaicError("a method is wrapped more than 32 times over; does it wrap itself?")


def _plain(function: Any) -> Any:
    # Bound methods and partial functions to the function they call.
    for _ in range(32):
        inner = getattr(function, "__func__", None)
        if inner is None and type(function).__name__ == "partial":
            inner = function.func
        if inner is None:
            return function
        function = inner
    return function


def forwarded(cls: type) -> list[str]:
    """Return the operators that a class defines and that proxies of it forward."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base is not object:
            names.update(FORWARDED.intersection(base.__dict__))
    return sorted(name for name in names if getattr(cls, name, None) is not None)


_derived: dict[tuple[type, type], type] = {}


def forwarding_class(base: type, cls: type) -> type:
    """Return a class of proxies that forward the operators of a user's class.

    Parameters
    ----------
    base : type
        `TesseraProxy` or `ArrayProxy`; its ``_send(name, args, kwargs)`` makes the call.
    cls : type
        The user's class.

    Returns
    -------
    type
        A subclass of ``base`` by the same name; ``base`` itself where there is nothing to forward.
    """
    derived = _derived.get((base, cls))
    if derived is None:
        names = forwarded(cls)
        if not names:
            derived = base
        else:
            space: dict[str, Any] = {name: _forwarder(name) for name in names}
            space["__module__"] = base.__module__
            space["__qualname__"] = base.__qualname__
            space["__doc__"] = base.__doc__
            derived = type(base.__name__, (base,), space)
        _derived[base, cls] = derived
    return derived


def _forwarder(name: str) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._send(name)(*args, **kwargs)

    forward.__name__ = name
    forward.__qualname__ = f"TesseraProxy.{name}"
    return forward
