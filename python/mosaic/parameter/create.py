"""Makes parameters: ``Klass.parameter``, ``Klass.local_parameter``, ``proxy.make_parameter``."""

from __future__ import annotations

import copyreg
from copy import deepcopy

from mosaic.core import network
from mosaic.core.host import ROOT, UID
from mosaic.core.hosted import object_of
from mosaic.parameter import link
from mosaic.parameter.derive import parameter_class
from mosaic.parameter.pickling import Snapshot
from mosaic.parameter.root import RootBuilder, make_local_one
from mosaic.parameter.state import apply_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mosaic.core.proxy import TesseraProxy


def make(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Any:
    """Make a parameter, or with ``len`` a list of them; see ``Klass.parameter``."""
    return _some(_make_one, link.plain_class(cls), args, kwargs, options)


def make_local(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> Any:
    """Make a parameter that is the root itself; see ``Klass.local_parameter``."""
    return _some(make_local_one, link.plain_class(cls), args, kwargs, options)


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
    extra: dict[str, Any] = {ROOT: RootBuilder(bool(options["cached"]))}
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
    link.set_link(
        obj, link.Link(TesseraProxy(cls, ref, own, built, place), bool(options["cached"]))
    )
    return obj


def of_proxy(
    proxy: TesseraProxy,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    cached: bool,
    living: object = None,
) -> Any:
    """Make a parameter whose root is an existing tessera; see `TesseraProxy.make_parameter`.

    Parameters
    ----------
    proxy : TesseraProxy
        The root.
    args, kwargs
        For the ``__init__`` of the local object.
    cached : bool
        Send the parameter without its state.
    living : object, optional
        The root's live object, where it is known here.
    """
    from mosaic.core.proxy import TesseraProxy

    cls = proxy._user_class
    derived = parameter_class(cls)
    options = {**proxy._options, "is_parameter": True}
    tied = link.Link(TesseraProxy(cls, proxy._ref, options, proxy._built, proxy._place), cached)
    if args or kwargs:
        obj = derived(*args, **kwargs)
        link.set_link(obj, tied)
        return obj
    here = living if living is not None else object_of(proxy._ref.id)
    if here is not None:
        obj = deepcopy(Snapshot(here))
        link.set_link(obj, tied)
        return obj
    obj = copyreg.__newobj__(derived)  # type: ignore[attr-defined]
    link.set_link(obj, tied)
    filling = link.send(obj, "pull", None)
    if filling is None or network.on_event_loop():
        tied.filling = filling
    else:
        apply_state(obj, filling.wait())
    return obj
