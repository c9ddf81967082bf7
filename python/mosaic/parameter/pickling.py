"""How parameters are pickled: with their local state or without it, always tied to the same root."""

from __future__ import annotations

import copyreg

from mosaic.core.hosted import hosted
from mosaic.errors import MosaicError
from mosaic.parameter.derive import parameter_class
from mosaic.parameter.link import Link, link_of, plain_class, set_link
from mosaic.parameter.mixin import ParameterMixin
from mosaic.parameter.state import apply_state, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from mosaic.core.proxy import TesseraProxy

_reconstructors = (
    copyreg.__newobj__,  # type: ignore[attr-defined]
    copyreg.__newobj_ex__,  # type: ignore[attr-defined]
    copyreg._reconstructor,  # type: ignore[attr-defined]
)


def reduce(obj: ParameterMixin, protocol: SupportsIndex) -> str | tuple[Any, ...]:
    """Return how to pickle a parameter: tied to its root, which it may be itself."""
    found = link_of(obj)
    if found is not None:
        # Mosaic sends with protocol 5; a copy made here, with 4, is one of the local state.
        if found.cached and protocol.__index__() >= 5:
            return _rebuild_cached, (plain_class(type(obj)), found.proxy)
        return _reduce_with_state(obj, protocol, found.proxy, found.cached)
    root = hosted(obj)
    proxy = None if root is None else root.proxy
    return _reduce_with_state(obj, protocol, proxy, root is not None and root.cached)


def _reduce_with_state(
    obj: ParameterMixin, protocol: SupportsIndex, proxy: TesseraProxy | None, cached: bool
) -> str | tuple[Any, ...]:
    how = super(ParameterMixin, obj).__reduce_ex__(protocol)
    if isinstance(how, str):
        return how
    plain, derived = plain_class(type(obj)), type(obj)
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
        set_link(obj, Link(proxy, cached))
    return obj


class Snapshot:
    """An object's whole state on its way: arrives as an instance that is tied to nothing, or to a given root.

    Parameters
    ----------
    obj : object
        An instance of a tessera class.
    proxy : TesseraProxy, optional
        The root.
    cached : bool
        The instance is sent on without its state.
    """

    __slots__ = ("_cached", "_obj", "_proxy")

    def __init__(self, obj: Any, proxy: TesseraProxy | None = None, cached: bool = False) -> None:
        self._obj = obj
        self._proxy = proxy
        self._cached = cached

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        obj = self._obj
        if isinstance(obj, ParameterMixin):
            return _reduce_with_state(obj, protocol, self._proxy, self._cached)
        how = obj.__reduce_ex__(protocol)
        if isinstance(how, str):
            raise MosaicError(f"{obj!r} pickles by reference: it has no state to send")
        return (_rebuild, (type(obj), how[0], how[1], self._proxy, self._cached), *how[2:])


def _rebuild_cached(plain: type, proxy: TesseraProxy) -> Any:
    """Make the local object of a parameter that came without its state, from this node's copy."""
    from mosaic.parameter.root import node_copy

    obj = node_copy(plain, proxy)
    set_link(obj, Link(proxy, True))
    return obj
