"""The link between a parameter and its root, and the calls that are sent along it.

The table of links is keyed by the identity of the local object, so that the object's own state is the user's alone.
"""

from __future__ import annotations

from _weakref import ref as _weak
from functools import partial

from mosaic import _core
from mosaic.core.hosted import hosted
from mosaic.core.losses import losses_as
from mosaic.errors import (
    MosaicError,
    ObjectLostError,
    RuntimeDisconnectedError,
    TesseraStoppedError,
)
from mosaic.parameter.state import apply_state
from mosaic.warehouse.live_reference import resolve_at_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mosaic._core import Task
    from mosaic.core.proxy import TesseraProxy
    from mosaic.parameter.mixin import ParameterMixin

_NONE: frozenset[str] = frozenset()

PLAIN = "_mosaic_plain"
"""Name by which a class of parameters knows the user's class."""


def plain_class(cls: type) -> type:
    """Return the user's class of a class of parameters; any other class as it is."""
    plain: type = getattr(cls, PLAIN, cls)
    return plain


class Link:
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


_links: dict[int, tuple[object, Link]] = {}


def set_link(obj: object, link: Link) -> None:
    """Link a local object to its root."""
    key = id(obj)

    def gone(_: object) -> None:
        _links.pop(key, None)

    _links[key] = _weak(obj, gone), link


def link_of(obj: object) -> Link | None:
    """Return what ties an object to a root that it is not itself, if anything does."""
    found = _links.get(id(obj))
    return None if found is None else found[1]


GONE = (RuntimeDisconnectedError, TesseraStoppedError)
"""What a call on a root fails with that is not there any more."""


def send(self: ParameterMixin, operation: str, *args: Any) -> Task | None:
    """Send an operation to the root of a parameter; None where the parameter is the root."""
    found = link_of(self)
    if found is None:
        if hosted(self) is None:
            raise MosaicError(f"this {plain_class(type(self)).__name__} is tied to no root")
        return None
    method = found.proxy._ref.method("_mosaic_root", reserved=_NONE)
    return method(operation, *[travelling(found.proxy, value) for value in args])


async def settle(self: ParameterMixin) -> None:
    """Wait until the root of a parameter exists, and the state that was asked for is here."""
    found = link_of(self)
    if found is None:
        return
    with losses_as(partial(lost, self), *GONE):
        await found.proxy
        if found.filling is not None:
            state = await found.filling.result()
            if found.filling is not None:
                found.filling = None
                apply_state(self, state)


def travelling(proxy: TesseraProxy, value: Any) -> Any:
    """Return an argument of a call on a root: at the warehouse it may have a live value in mind."""
    return resolve_at_host(value) if proxy._options.get("in_warehouse") else value


async def answer(parameter: ParameterMixin, task: Task | None) -> Any:
    """Return the answer of the root; None where no call was sent."""
    with losses_as(partial(lost, parameter), *GONE):
        return None if task is None else await task.result()


def lost(parameter: ParameterMixin, error: BaseException) -> BaseException:
    """Return the error to raise for one that came from the root: where the root is lost, one that names it."""
    found = link_of(parameter)
    if found is None or _core.engine() is None:
        return error
    # A parameter that came here after its root was lost knows of no host that could have died. What the root's own
    # method raised has a note of where.
    stopped = isinstance(error, TesseraStoppedError) and not getattr(error, "__notes__", None)
    if not stopped and not found.proxy._is_lost:
        return error
    name = plain_class(type(parameter)).__name__
    return ObjectLostError(
        f"the root of the parameter {found.proxy.uid}, a {name}, is lost: {error}"
    )
