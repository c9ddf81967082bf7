"""`mosaic.tessera`: the decorator of classes whose objects can live in workers.

The class is enriched in place, so that it stays what it is. The names put on it are class methods (`remote`,
`local`, …) and, for its instances, views of the runtime (`runtime`, `logger`, …). What the class
has itself always wins.
"""

from __future__ import annotations

from mosaic.core import network
from mosaic.core import options as _options
from mosaic.core.descriptors import INJECTED, is_injected
from mosaic.core.services import services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    from mosaic.core.host import Tessera

    T = TypeVar("T", bound=type)

_USAGE = "mosaic.tessera decorates a class: '@mosaic.tessera' or '@mosaic.tessera(max_retries=2)' above 'class Name:'"

_OPTIONS = "_mosaic_options"

if TYPE_CHECKING:

    @overload
    def tessera(cls: T, /) -> T: ...
    @overload
    def tessera(**options: Any) -> Callable[[T], T]: ...


def tessera(*args: Any, **options: Any) -> Any:
    """Make objects of a class able to live in workers.

    Parameters
    ----------
    cls : type
        The class; it is enriched in place and returned.
    max_retries : int, optional
        How often a call or construction that raised is run again. Default 0.
    max_restarts : int, optional
        How often a tessera is built anew elsewhere after its worker died. Default 0.
    is_async : bool, optional
        Calls run as soon as their arguments are ready, instead of in call order. Default False.
    runtime : str or RuntimeProxy, optional
        Where to build; default is what the placement strategy picks.
    cached : bool, optional
        For parameters: send the reference only. Default False.

    Returns
    -------
    type
        The same class, with ``remote``, ``local``, ``parameter``, ``local_parameter`` and ``select_worker``. The
        options can also be given to ``remote``, where they win. A warning names what the class has itself by a name
        of mosaic's, and which of the two wins.

    Raises
    ------
    TypeError, ValueError
        It is used on something else than a class, or with options that make no sense.

    Examples
    --------
    >>> import mosaic
    >>> @mosaic.tessera
    ... class Counter:
    ...     def __init__(self, start):
    ...         self.count = start
    ...
    ...     def add(self, amount):
    ...         self.count += amount
    ...         return self.count
    >>> with mosaic.session(num_workers=1) as runtime:
    ...     counter = Counter.remote(10)
    ...     counter.add(5).wait()
    15
    """
    if args:
        if len(args) > 1 or options:
            raise TypeError(f"{_USAGE}; options are keywords")
        return _enrich(args[0], {})
    if not options:
        raise ValueError(f"{_USAGE}; without options leave out the brackets")
    unknown = options.keys() & {"uid", "len", "safe"}
    if unknown:
        raise TypeError(
            f"{', '.join(sorted(unknown))} belongs to one tessera, not to a class: give it to remote()"
        )
    _options.check(options)

    def decorate(cls: T) -> T:
        _enrich(cls, options)
        return cls

    return decorate


def _enrich(cls: Any, options: dict[str, Any]) -> Any:
    if not isinstance(cls, type):
        raise TypeError(f"{_USAGE}, but not {cls!r}")
    inherited = getattr(cls, _OPTIONS, {})
    try:
        setattr(cls, _OPTIONS, {**inherited, **options})
    except TypeError as error:
        raise TypeError(
            f"{cls.__name__} cannot be decorated: {error}. Derive a class from it and decorate that"
        ) from None
    clashes = []
    for name, function in _CLASS_METHODS.items():
        if _is_own(cls, name):
            clashes.append(name)
        elif name not in cls.__dict__:
            setattr(cls, name, classmethod(function))
    for name, descriptor in INJECTED.items():
        if _is_own(cls, name):
            if not name.startswith("_"):
                clashes.append(name)
        elif name not in cls.__dict__:
            setattr(cls, name, descriptor)
    if clashes:
        import warnings

        names = ", ".join(clashes)
        warnings.warn(
            f"{cls.__name__} has its own {names}: the class's own wins over what mosaic.tessera provides by that name",
            UserWarning,
            stacklevel=3,
        )
    _warn_of_proxies(cls)
    return cls


HIDDEN = frozenset(
    {
        *(
            "_built",
            "_host",
            "_init_task",
            "_is_lost",
            "_living",
            "_on",
            "_options",
            "_place",
            "_proxies",
            "_ready",
        ),
        *(
            "_ready_in_time",
            "_ref",
            "_remote_method",
            "_safe",
            "_send",
            "_stopping",
            "_timeout",
            "_user_class",
        ),
    }
)
"""Private names of proxies and arrays, which hide what the user's class has by them."""


def _warn_of_proxies(cls: type) -> None:
    """Warn of names of the class that proxies of it have, too, and mosaic 1.2's had not."""
    messages = []
    if _is_own(cls, "stop"):
        messages.append(
            f"{cls.__name__} has its own stop: on proxies it wins over mosaic's; mosaic.stop_tessera(proxy) frees a "
            "tessera"
        )
    hidden = sorted(name for name in HIDDEN if _is_own(cls, name))
    if hidden:
        messages.append(
            f"proxies hide {', '.join(hidden)} of {cls.__name__}: proxy[{hidden[0]!r}] reaches it"
        )
    if messages:
        import warnings

        for message in messages:
            warnings.warn(message, UserWarning, stacklevel=4)


def _is_own(cls: type, name: str) -> bool:
    """Return whether a class, or a base, has a name that mosaic has not put there."""
    for base in cls.__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            return not (
                is_injected(found)
                or (isinstance(found, classmethod) and found.__func__ is _CLASS_METHODS.get(name))
            )
        if name in base.__dict__.get("__annotations__", ()):  # noqa: RUF063 - without importing inspect
            return True
    return False


def _remote(cls: type, /, *args: Any, **kwargs: Any) -> Any:
    """Build an object of this class in a worker; returns its proxy at once.

    Parameters
    ----------
    *args, **kwargs
        For ``__init__``.
    len : int, optional
        Build that many, spread over the workers; gives an `ArrayProxy`.
    runtime : str or RuntimeProxy, optional
        The worker to build on.
    safe : bool, optional
        With ``len``: an element whose worker dies while the array is being built is left out, with a warning.
        Default True.
    timeout : float, optional
        With ``len``: seconds that awaiting the array waits for its elements; without, it is for ``__init__``.
    max_retries, max_restarts, is_async, uid
        See `mosaic.tessera`.

    Returns
    -------
    TesseraProxy or ArrayProxy
    """
    options, rest = _options.split(getattr(cls, _OPTIONS, {}), kwargs)
    if options["len"] is not None:
        return _remote_array(cls, args, rest, options)
    from mosaic.core.placement import place

    return _construct(cls, args, rest, options, place(options["runtime"]))


def _remote_array(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> Any:
    from mosaic.core.array import ArrayProxy
    from mosaic.core.placement import spread

    count = options["len"].__index__()
    runtime = options["runtime"]
    if runtime is None:
        places = spread(count)
    elif isinstance(runtime, (list, tuple)):
        if len(runtime) != count:
            raise ValueError(f"runtime names {len(runtime)} places for len={count}")
        places = [network.number_of(one) for one in runtime]
    else:
        places = [network.number_of(runtime)] * count
    proxies = []
    for index, place in enumerate(places):
        own = options if options["uid"] is None else {**options, "uid": f"{options['uid']}-{index}"}
        proxies.append(_construct(cls, args, kwargs, own, place))
    return ArrayProxy(cls, proxies, options["safe"], options["timeout"])


def _construct(
    cls: type,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, Any],
    place: int | None,
) -> Any:
    from mosaic.core.proxy import TesseraProxy

    uid = options["uid"]
    if uid is not None:
        from mosaic.core.host import UID

        kwargs = {**kwargs, UID: uid}
    ref, built = network.engine().construct(
        cls,
        cls.__name__,
        args,
        kwargs,
        place=place,
        concurrent=bool(options["is_async"]),
        retries=options["max_retries"],
        restarts=options["max_restarts"],
    )
    return TesseraProxy(cls, ref, options, built, place)


def _local(cls: type, /, *args: Any, **kwargs: Any) -> Tessera:
    """Host an object of this class in this very process; returns its `Tessera`, whose ``proxy`` others may call."""
    from mosaic.core.host import local

    options, rest = _options.split(getattr(cls, _OPTIONS, {}), kwargs)
    return local(cls, args, rest, options)


def _parameter(cls: type, /, *args: Any, **kwargs: Any) -> Any:
    """Make a local object of this class that is tied to a root at the warehouse.

    Parameters
    ----------
    *args, **kwargs
        For ``__init__``, here and at the root.
    len : int, optional
        Make that many; gives a list.
    runtime : str or RuntimeProxy, optional
        Where the root lives; default is the warehouse.
    cached : bool, optional
        Send it without its state: receivers use their node's copy, made by ``push`` and ``publish``.
    max_retries, max_restarts, is_async, uid
        Of the root; see `mosaic.tessera`.

    Returns
    -------
    ParameterMixin or list of ParameterMixin
        An instance of the class, too.

    Examples
    --------
    >>> import mosaic
    >>> @mosaic.tessera
    ... class Field:
    ...     def __init__(self, value):
    ...         self.value = value
    >>> async def main(runtime):
    ...     field = Field.parameter(1)
    ...     field.value = 5
    ...     await field.push("value")
    ...     return (await field.ref.value()).value
    >>> mosaic.run(main, num_workers=1)
    5
    """
    options, rest = _options.split(getattr(cls, _OPTIONS, {}), kwargs)
    return services().make_parameter(cls, args, rest, options)


async def _select_worker(cls: type, /, runtime: object = None) -> str:
    """Return the uid of the worker that the placement strategy picks.

    Parameters
    ----------
    runtime : str or RuntimeProxy, optional
        A worker that has been decided on: its uid is returned.
    """
    from mosaic.core.placement import select_worker

    return await select_worker(runtime)


def _local_parameter(cls: type, /, *args: Any, **kwargs: Any) -> Any:
    """Make a parameter that is its own root, in this very process; see ``parameter``."""
    options, rest = _options.split(getattr(cls, _OPTIONS, {}), kwargs)
    return services().make_local_parameter(cls, args, rest, options)


_CLASS_METHODS: dict[str, Any] = {
    "remote": _remote,
    "local": _local,
    "parameter": _parameter,
    "local_parameter": _local_parameter,
    "select_worker": _select_worker,
}
for _name, _function in _CLASS_METHODS.items():
    _function.__name__ = _name
