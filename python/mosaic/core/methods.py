"""Finds the methods and attributes of a class, once per class and name, without importing `inspect`.

A name on a class is a method (calls are sent), an attribute (reads are sent), or not there at all. Attributes are
what the class and its bases define, annotate, list in ``__slots__`` or store on ``self`` in their methods, and what
was given to ``set_attr``. Of a class with a ``__getattr__`` or ``__getattribute__`` of its own any name may be an
attribute, but for those in `PROBES`.
"""

from __future__ import annotations

from mosaic.core.names import ABOUT_HOSTING, PROBES
from mosaic.errors import MosaicError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from functools import partial
    from typing import Any
else:
    # `functools` itself would import more than workers need.
    from _functools import partial

RESERVED = frozenset({"eager", "is_async", "max_retries", "runtime", "timeout"})
"""Keywords of a call that are mosaic's, unless the method declares a parameter of that name.

A method with ``**kwargs`` declares ``timeout``, too: what simulation codes call that is a limit of their own.
"""

_OPERATORS = """
call add radd sub rsub mul rmul matmul rmatmul truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod pow rpow
lshift rlshift rshift rrshift and rand or ror xor rxor neg pos abs invert lt le gt ge round floor ceil trunc reversed
"""

FORWARDED = frozenset(f"__{name}__" for name in _OPERATORS.split())
"""Operators that Python lets return anything: those that a class defines are forwarded as remote calls."""

_INPLACE = "iadd isub imul imatmul itruediv ifloordiv imod ipow ilshift irshift iand ior ixor setitem delitem"

OPERATORS = FORWARDED | frozenset(f"__{name}__" for name in _INPLACE.split())
"""Operators that may change an object: parameters can have them run on their roots, too."""

_OTHERS = """
new init del repr str bytes format eq ne hash bool getattr getattribute setattr delattr dir get set delete set_name
init_subclass mro_entries prepare instancecheck subclasscheck subclasshook subclasses class_getitem len length_hint
getitem missing iter next contains complex int float index enter exit match_args buffer release_buffer await aiter
anext aenter aexit reduce reduce_ex getstate setstate getnewargs getnewargs_ex getinitargs copy deepcopy replace fspath
sizeof post_init class dict weakref slots module name qualname doc annotations annotate type_params wrapped signature
text_signature self func objclass code closure defaults kwdefaults globals builtins isabstractmethod abstractmethods
bases base mro origin args parameters orig_bases orig_class notes traceback cause context suppress_context file path
loader spec package cached all test static_attributes firstlineno thisclass self_class unittest_skip__ tracebackhide
"""

SPECIAL = OPERATORS | frozenset(f"__{name}__" for name in _OTHERS.split())
"""Names that Python itself gives a meaning, or puts on objects."""

_OF_LIBRARIES = (
    *(
        "__array",
        "__arrow_c_",
        "__attrs_",
        "__clause_",
        "__cuda_array",
        "__cython",
        "__dataclass_",
        "__dataframe",
    ),
    *(
        "__dlpack",
        "__geo_interface",
        "__get_pydantic_",
        "__html",
        "__jax_",
        "__numba",
        "__pretty",
        "__pydantic_",
    ),
    *("__pyx_", "__rich", "__sklearn_", "__tf_", "__torch_", "__unittest", "__zarr"),
)
"""Beginnings of names by which libraries ask any object for an interface of theirs."""

_CO_COROUTINE = 0x80 | 0x100
_CO_VARKEYWORDS = 0x08

_MADE_BY_PYTHON = frozenset(
    f"__{name}__"
    for name in (
        *(
            "abstractmethods",
            "annotate",
            "annotate_func",
            "annotations",
            "annotations_cache",
            "attrs_attrs",
            "bases",
        ),
        *(
            "base",
            "dataclass_fields",
            "dataclass_params",
            "dict",
            "doc",
            "firstlineno",
            "match_args",
            "module",
        ),
        *(
            "orig_bases",
            "parameters",
            "qualname",
            "slots",
            "static_attributes",
            "type_params",
            "weakref",
        ),
    )
)
"""Special attributes that Python and its libraries put on classes: about the class, not about an object of it."""

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
    function : object
        What is called, bound to its class; for its signature and documentation.
    """

    __slots__ = ("coroutine", "function", "name", "reserved")

    def __init__(
        self, name: str, coroutine: bool, reserved: frozenset[str], function: Any = None
    ) -> None:
        self.name = name
        self.coroutine = coroutine
        self.reserved = reserved
        self.function = function

    def described(self, call: Any) -> Any:
        """Return what calls this method, with the method's name, documentation and signature.

        A `functools.partial` forwards a call without a Python frame. Nothing in it refers to a proxy, so that a proxy
        that holds it is freed with its last reference.
        """
        function = self.function
        if function is None:
            return call
        described = partial(call)
        described.__dict__.update(
            __name__=self.name,
            __qualname__=getattr(function, "__qualname__", self.name),
            __module__=getattr(function, "__module__", None),
            __doc__=getattr(function, "__doc__", None),
            __wrapped__=function,
        )
        return described


_method_type: Any = type(Method("", False, RESERVED).described)


class _Attribute:
    """The mark of a name that is read, not called."""

    __slots__ = ()


ATTRIBUTE = _Attribute()

_tables: dict[type, dict[str, Method | _Attribute]] = {}


def describe(cls: type, name: str) -> Method | _Attribute | None:
    """Return what a name is on a class.

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


_given: dict[type, set[str]] = {}
"""Names of attributes that programs gave to objects of a class with ``set_attr``."""


def find(cls: type, name: str) -> Method | _Attribute:
    """Return what a name is on objects of a class.

    Raises
    ------
    AttributeError
        The class does not show the name.
    """
    found = describe(cls, name)
    if found is not None:
        return found
    if _is_given(cls, name):
        return ATTRIBUTE
    if not name.startswith(PROBES):
        from mosaic.core.stored_names import stored_names

        if name in stored_names(cls) or _is_open(cls):
            return ATTRIBUTE
    raise AttributeError(
        f"{cls.__name__!r} shows no attribute {name!r}: neither the class nor what its methods store on self has "
        f"that name; get_attr({name!r}) reads one that only the object itself knows",
        name=name,
    )


def is_probe(name: str) -> bool:
    """Return whether a name is one that Python or a library asks any object for, of whatever class."""
    if name.startswith("__"):
        return name.startswith(_OF_LIBRARIES) or (name in SPECIAL and name not in FORWARDED)
    return name.startswith(PROBES)


def is_shown(cls: type, name: str) -> bool:
    """Return whether a class shows a name, without what was given to ``set_attr``."""
    if describe(cls, name) is not None:
        return True
    from mosaic.core.stored_names import mentions, stored_names

    return mentions(cls, name) and name in stored_names(cls)


def give(cls: type, names: Iterable[str]) -> None:
    """Note that objects of a class are given attributes of these names."""
    known = _given.get(cls)
    if known is None:
        known = _given[cls] = set()
    known.update(names)


def given(cls: type) -> tuple[str, ...]:
    """Return the names of the attributes that objects of a class were given."""
    return tuple(_given.get(cls, ()))


def listed(cls: type) -> set[str]:
    """Return the public names that a class shows, for ``dir`` of proxies."""
    from mosaic.core.stored_names import stored_names

    names = {*dir(cls), *stored_names(cls), *given(cls)}
    for base in cls.__mro__:
        names.update(base.__dict__.get("__annotations__", ()))  # noqa: RUF063 - without importing inspect
    return {name for name in names if not name.startswith("_")}


def _is_given(cls: type, name: str) -> bool:
    return bool(_given) and any(name in _given.get(base, ()) for base in cls.__mro__)


def _is_open(cls: type) -> bool:
    return any(
        "__getattr__" in base.__dict__ or "__getattribute__" in base.__dict__
        for base in cls.__mro__
        if base is not object
    )


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
    if name in _MADE_BY_PYTHON:
        return None
    found = _lookup(cls, name)
    if found is None:
        # A class attribute may be None as well as missing; both are known only at the object.
        return ATTRIBUTE if any(name in base.__dict__ for base in cls.__mro__) else None
    if getattr(type(found), "_mosaic_injected", False):
        return None if name in ABOUT_HOSTING else ATTRIBUTE
    shown = found
    if isinstance(found, (staticmethod, classmethod)):
        shown = found.__func__
        if isinstance(found, classmethod):
            shown = _bound(shown, cls)
        found = found.__func__
    elif isinstance(found, _function_type):
        shown = _bound(found, cls)
    else:
        if isinstance(found, type):
            return Method(name, False, RESERVED, found)
        if isinstance(found, _method_descriptors):
            return Method(name, False, RESERVED, found)
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
        shown = _bound(found, cls)
    return Method(name, is_coroutine_function(found), RESERVED - declared(found), shown)


def _bound(function: Any, cls: type) -> Any:
    """Bind a function to its class, so that its signature is that of a call; None where it cannot be called."""
    return _method_type(function, cls) if callable(function) else None


def is_coroutine_function(function: Any) -> bool:
    """Return whether calling this gives a coroutine, as `inspect.iscoroutinefunction` does, and cheaply."""
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
    names = RESERVED.intersection(_parameters(function))
    return names | {"timeout"} if _takes_any_keyword(function) else names


def takes(function: Any, name: str) -> bool:
    """Return whether a function declares a parameter of a name."""
    return name in _parameters(function)


def _takes_any_keyword(function: Any) -> bool:
    """Return whether a function has ``**kwargs``; of a decorator's wrapper, whether the innermost function has."""
    code = None
    for _ in range(32):
        plain = _plain(function)
        code = getattr(plain, "__code__", None)
        if code is None:
            code = getattr(_type_call(plain), "__code__", None)
        function = getattr(plain, "__wrapped__", None)
        if function is None:
            break
    return code is not None and bool(code.co_flags & _CO_VARKEYWORDS)


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


YIELDING = ("is_proxy", "stop")
"""Names of proxies that give way to what the user's class shows by them; mosaic 1.2's proxies had only the others."""


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
        A subclass of ``base`` by the same name, without the names that give way; ``base`` itself where there is
        nothing to forward.
    """
    derived = _derived.get((base, cls))
    if derived is None:
        space: dict[str, Any] = {name: _forwarder(name) for name in forwarded(cls)}
        space |= {name: _yielding(name) for name in YIELDING if is_shown(cls, name)}
        if not space:
            derived = base
        else:
            space["__module__"] = base.__module__
            space["__qualname__"] = base.__qualname__
            space["__doc__"] = base.__doc__
            derived = type(base.__name__, (base,), space)
        _derived[base, cls] = derived
    return derived


def _yielding(name: str) -> property:
    return property(lambda self: self.__getattr__(name))


def _forwarder(name: str) -> Any:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._send(name)(*args, **kwargs)

    forward.__name__ = name
    forward.__qualname__ = f"TesseraProxy.{name}"
    return forward
